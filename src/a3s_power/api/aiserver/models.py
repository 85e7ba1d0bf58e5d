"""`GET /models`: the models that are here, and which of them are in memory."""

from typing import Any, Final

from starlette.responses import Response

from a3s_power.api.aiserver.answers import answer
from a3s_power.api.endpoint import Call
from a3s_power.core.manifest import ConfigBlob
from a3s_power.core.model import Listing, Resident

_BACKENDS: Final = {"safetensors": "transformers"}


async def models(call: Call) -> Response:
    """The models, newest first. A load's duration is in nanoseconds, 0 for a model that is not in memory."""
    loaded = {resident.model.name.folded: resident for resident in call.service.status.loaded()}
    found = await call.service.library.list()
    return answer({"models": [_shown(each, loaded.get(each.name.folded)) for each in found]})


def _shown(listing: Listing, resident: Resident | None) -> dict[str, Any]:
    return {
        "model": listing.name.short,
        "description": _description(listing.config),
        "loaded": resident is not None,
        "backend": backend(listing.config),
        "size_bytes": listing.size,
        "load_duration": resident.load_ns if resident else 0,
    }


def backend(config: ConfigBlob) -> str:
    """Which engine runs a model of this format."""
    return _BACKENDS.get(config.model_format, "llamacpp")


def _description(config: ConfigBlob) -> str:
    return " ".join(word for word in (config.model_family, config.model_type, config.file_type) if word)
