"""Which of this machine's models a name means: its own name, or the id of a repository of Hugging Face."""

from typing import Final

from a3s_power.api.asked import local_name
from a3s_power.core.errors import BadRequest, ModelNotFound, NotFound
from a3s_power.core.model import Description
from a3s_power.core.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName
from a3s_power.service.ports import Library

HUB: Final = "hf.co"
_HUB_HOSTS: Final = frozenset({HUB, "huggingface.co"})


def read(text: str | None) -> ModelName:
    """The name in a request. Raises BadRequest and NotAllowed."""
    if not text:
        raise BadRequest("model is required")
    if "://" in text:
        raise BadRequest("model must be the name of a model or the id of a repository")
    return local_name(text)


def on_hub(name: ModelName) -> ModelName | None:
    """The same as a repository of the hub; `None` for a name that is none."""
    if name.host.lower() in _HUB_HOSTS:
        return name
    is_id = name.host.lower() == DEFAULT_HOST and name.namespace.lower() != DEFAULT_NAMESPACE
    return ModelName(HUB, name.namespace, name.model, name.tag) if is_id else None


async def find(library: Library, name: ModelName) -> Description | None:
    """The model that is here under this name, or of this repository: whichever quantisation, unless the name says."""
    for wanted in (name, on_hub(name)):
        if wanted is not None:
            try:
                return await library.show(wanted)
            except ModelNotFound:
                continue
    return await _of_repository(library, name) if name.tag == DEFAULT_TAG else None


async def _of_repository(library: Library, name: ModelName) -> Description | None:
    repository = on_hub(name)
    if repository is None:
        return None
    wanted = repository.folded.parts[1:3]
    for listing in await library.list():
        if listing.name.host.lower() in _HUB_HOSTS and listing.name.folded.parts[1:3] == wanted:
            return await library.show(listing.name)
    return None


async def present(library: Library, text: str | None) -> Description:
    """The model that a request names. Raises NotFound with what to do about it, and what `read` raises."""
    found = await find(library, read(text))
    if found is None:
        raise NotFound(f"model '{text}' is not here: POST /pull brings it, nothing else does")
    return found
