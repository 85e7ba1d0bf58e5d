"""`/api/tags`, `/api/copy` and `/api/delete`: the models on disk."""

from typing import Any

import msgspec
from starlette.responses import Response

from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.goform import answer, local_time
from a3s_power.api.ollama.gojson import GoStruct
from a3s_power.api.ollama.wire import sent
from a3s_power.core.errors import BadRequest, InvalidName, ModelNotFound, NotFound
from a3s_power.core.manifest import ConfigBlob
from a3s_power.core.model import Listing
from a3s_power.core.names import ModelName, Reference


async def tags(call: Call) -> Response:
    """The models on disk, newest first."""
    return answer({"models": [Tag.of(listing) for listing in await call.service.library.list()]})


async def copy(call: Call) -> Response:
    """Give a model a second name."""
    body = await sent(call, CopyRequest)
    source, destination = _valid("source", body.source), _valid("destination", body.destination)
    try:
        await call.service.library.copy(source, destination)
    except ModelNotFound:
        raise NotFound(f'model "{body.source}" not found') from None
    return Response()


async def delete(call: Call) -> Response:
    """Remove a model."""
    body = await sent(call, DeleteRequest)
    shown = body.model or body.name
    if not shown:
        raise BadRequest("model is required")
    try:
        await call.service.library.delete(_stub_name(shown))
    except InvalidName:
        raise BadRequest(f'name "{shown}" is invalid') from None
    except ModelNotFound:
        raise ModelNotFound(shown) from None
    return Response()


class CopyRequest(GoStruct, frozen=True, kw_only=True):
    """The body of copy."""

    source: str = ""
    destination: str = ""


class DeleteRequest(GoStruct, frozen=True, kw_only=True):
    """The body of delete; `name` is what older clients send."""

    model: str = ""
    name: str = ""


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is, as lists and show tell it."""

    parent_model: str = ""
    format: str
    family: str
    families: list[str] | None
    parameter_size: str
    quantization_level: str

    @classmethod
    def of(cls, config: ConfigBlob, parent: str = "") -> "Details":
        """The details of a model with this config, made from the model `parent`."""
        return cls(**_said(config, parent))


class _TagDetails(Details, frozen=True, kw_only=True, omit_defaults=True):
    """Those of a list, which tell two sizes more."""

    parent_model: str
    context_length: int = 0
    embedding_length: int = 0


class Tag(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry of the list."""

    name: str
    model: str
    remote_model: str = ""
    remote_host: str = ""
    modified_at: str
    size: int
    digest: str
    details: _TagDetails
    capabilities: list[str] = []

    @classmethod
    def of(cls, listing: Listing) -> "Tag":
        """The entry of a model."""
        config = listing.config
        return cls(
            name=listing.name.short,
            model=listing.name.short,
            remote_model=config.remote_model,
            remote_host=config.remote_host,
            modified_at=local_time(listing.modified),
            size=listing.size,
            digest=listing.digest.hex,
            details=_TagDetails(
                **_said(config, listing.parent),
                context_length=config.context_length,
                embedding_length=config.embedding_length,
            ),
            capabilities=config.capabilities,
        )


def _said(config: ConfigBlob, parent: str) -> dict[str, Any]:
    return {
        "parent_model": parent,
        "format": config.model_format,
        "family": config.model_family,
        "families": config.model_families,
        "parameter_size": config.model_type,
        "quantization_level": config.file_type,
    }


def _valid(what: str, text: str) -> ModelName:
    try:
        return ModelName.parse(text)
    except InvalidName:
        raise BadRequest(f'{what} "{text}" is invalid') from None


def _stub_name(text: str) -> ModelName:
    """The name of a model on disk: a cloud name means the stub that stands for it there."""
    reference = Reference.parse(text)
    if reference.source != "cloud":
        return reference.name
    name, tag = reference.name, reference.name.tag
    without_tag = text.strip().lower().rpartition("/")[2].removesuffix(":cloud").count(":") == 0
    return ModelName(name.host, name.namespace, name.model, "cloud" if without_tag else f"{tag}-cloud")
