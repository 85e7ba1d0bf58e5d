"""`POST /pull`: the one route that downloads, unless the model is here already."""

from typing import Any, Final, Literal

import msgspec
from starlette.responses import Response

from a3s_power.api.aiserver import names
from a3s_power.api.aiserver.answers import answer
from a3s_power.api.asked import decoded, reader
from a3s_power.api.endpoint import Call
from a3s_power.api.streams import while_here
from a3s_power.core import limits
from a3s_power.core.errors import ModelNotFound
from a3s_power.core.model import Description
from a3s_power.core.names import DEFAULT_TAG, ModelName
from a3s_power.core.requests import Chat, Pull

_TAGS: Final = {"q4": "Q4_K_M", "fp16": "F16", "fp32": "F32", "no": "F16"}
"""What a wish for a precision means among the GGUF files of a repository; `auto` leaves the choice to the pull."""

_WHOLE: Final = frozenset({"F32", "F16", "BF16"})


class PullRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body. With `init` the model is brought into memory, too."""

    model: str | None = None
    quantize: Literal["auto", "q4", "fp16", "fp32", "no"] | None = None
    init: bool | None = None

    def wanted(self, name: ModelName) -> ModelName:
        """What to have here: a repository in the precision that is asked for, unless its name says which."""
        repository, tag = names.on_hub(name), _TAGS.get(self.quantize or "auto")
        if repository is None or tag is None or name.tag != DEFAULT_TAG:
            return repository or name
        return ModelName(repository.host, repository.namespace, repository.model, tag)


_read: Final = reader(PullRequest)


async def pull(call: Call) -> Response:
    """Have a model here, and say where it lies."""
    body = await decoded(call, _read, limits.OTHER_BODY_BYTES)
    name = names.read(body.model)
    wanted = body.wanted(name)
    # What goes by the very name is as good as the repository of that id, where nobody asks for a precision.
    known_as = name if wanted == names.on_hub(name) else wanted
    found = await while_here(call.receive, lambda: _brought(call, known_as, wanted))
    if body.init:
        await while_here(call.receive, lambda: _load(call, found.model.name))
    return answer({"status": "ok", "model": body.model, "cached": True, "backend": _backend(found)})


async def _brought(call: Call, known_as: ModelName, wanted: ModelName) -> Description:
    here = await names.find(call.service.library, known_as)
    if here is not None:
        return here
    async with call.service.transfers.pull(Pull(source=wanted.short)) as events:
        async for _ in events:
            pass
    found = await names.find(call.service.library, wanted)
    if found is None:
        raise ModelNotFound(wanted.short)
    return found


async def _load(call: Call, name: ModelName) -> None:
    async with call.service.inference.chat(Chat(model=name, shown=name.short)) as events:
        async for _ in events:
            pass


def _backend(found: Description) -> dict[str, Any]:
    model = found.model
    return {
        "local_path": model.files.weights,
        "preferred_quantized": model.config.file_type.upper() not in _WHOLE,
        "size_bytes": model.manifest.size,
    }
