"""`GET /v1/models` and `GET /v1/models/{name}`: the models on disk, with the context of those in memory."""

from datetime import datetime
from typing import Any

from starlette.responses import Response

from a3s_power.api.asked import local_name
from a3s_power.api.endpoint import Call
from a3s_power.api.openai.answers import answer
from a3s_power.core.errors import ModelNotFound
from a3s_power.core.names import ModelName


async def list_models(call: Call) -> Response:
    """All of them, newest first."""
    in_memory = _contexts(call)
    found = [
        _shown(listing.name.short, listing.name, listing.modified, listing.config.context_length, in_memory)
        for listing in await call.service.library.list()
    ]
    return answer({"object": "list", "data": found})


async def show_model(call: Call) -> Response:
    """One of them, under the name it was asked for by."""
    text = call.path_params["model"]
    try:
        model = (await call.service.library.show(local_name(text))).model
    except ModelNotFound:
        raise ModelNotFound(text) from None
    return answer(_shown(text, model.name, model.modified, model.facts.context_length, _contexts(call)))


def _contexts(call: Call) -> dict[ModelName, int]:
    """What one request may use of the context of each model in memory."""
    return {resident.model.name.folded: resident.context_length for resident in call.service.status.loaded()}


def _shown(
    text: str, name: ModelName, modified: datetime, trained: int, in_memory: dict[ModelName, int]
) -> dict[str, Any]:
    """A model. How much context it has in effect is known once it is loaded, the most it could have before."""
    effective = in_memory.get(name.folded)
    return {
        "id": text,
        "object": "model",
        "created": int(modified.timestamp()),
        "owned_by": name.namespace,
        **({"max_context_length": trained} if trained else {}),
        **({"context_length": effective} if effective else {}),
    }
