"""What a new model begins with: the layers of another model, or uploaded files, each of them checked."""

from collections.abc import Mapping
from typing import Any

import msgspec

from a3s_power.core.errors import BadFile, BadRequest
from a3s_power.core.manifest import DRAFT, PROJECTOR, ConfigBlob, Layer
from a3s_power.core.model import Facts, Model
from a3s_power.create import files as uploads
from a3s_power.create.adapters import adapter, check_adapter
from a3s_power.create.convert.start import converted, is_safetensors
from a3s_power.create.making import Making
from a3s_power.create.split import joined
from a3s_power.gguf.facts import facts
from a3s_power.gguf.layout import Header, quoted
from a3s_power.gguf.reader import read_header


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What there is before the request's own layers.

    `header` and `facts` are those of the weights; a model of tensors or one that runs elsewhere has none. `draft` is
    the header of a draft model that was uploaded.
    """

    layers: tuple[Layer, ...]
    config: ConfigBlob = ConfigBlob()
    header: Header | None = None
    draft: Header | None = None
    facts: Facts = Facts(architecture="")
    parameters: dict[str, Any] = {}


def from_model(model: Model) -> Source:
    """Everything of another model; each layer says whose it was."""
    return Source(
        layers=tuple(msgspec.structs.replace(layer, source=model.name.short) for layer in model.manifest.layers),
        config=model.config,
        header=read_header(model.files.weights) if model.files.weights else None,
        facts=model.facts,
        parameters=model.parameters,
    )


def from_files(files: Mapping[str, str], making: Making) -> Source:
    """A model from uploaded files: its weights, and projectors and adapters beside them.

    Raises:
        BadRequest: neither GGUFs nor safetensors among the files.
        BadFile: a file that is broken or hostile or cannot be converted, or parts that do not belong together.
        BlobNotFound: a file was not uploaded.
        NotSupported: the packages that converting needs are not installed.
    """
    found = _models(files, making)
    weights = [file for file in found if file.kind == "model"]
    if not weights:
        raise BadFile("none of the files is a model")
    if len(weights) > 1:
        raise BadFile("more than one of the files is a model")
    header = weights[0].header
    for file in found:
        if file.kind == "adapter":
            check_adapter(file.header, header)
    # The weights first, then what is laid over them: the order in which an engine opens them.
    found.sort(key=lambda file: list(uploads.MEDIA_TYPES).index(file.kind))
    return Source(layers=tuple(file.layer for file in found), header=header, facts=facts(header))


def with_files(source: Source, files: Mapping[str, str], making: Making) -> Source:
    """A model with uploaded projectors and adapters on top; new projectors stand in for the old ones.

    Raises:
        BadRequest: one of the files is a model itself, or none that could be here.
        BadFile, BlobNotFound: as `from_files`.
    """
    if is_safetensors(files):
        raise BadRequest("'from' names a model: the files beside it can only be projectors and adapters in GGUF")
    added = joined(_read(uploads.ggufs(files, making.store), making), making)
    for file in added:
        if file.kind == "model":
            raise BadRequest(f"'from' names a model, and the file {quoted(file.name)} is another one")
        if file.kind == "adapter" and source.header is not None:
            check_adapter(file.header, source.header)
    replaced = {PROJECTOR} & {file.layer.media_type for file in added}
    kept = [layer for layer in source.layers if layer.media_type not in replaced]
    return msgspec.structs.replace(source, layers=(*kept, *(file.layer for file in added)))


def with_draft(source: Source, files: Mapping[str, str], making: Making) -> Source:
    """The source with an uploaded draft model, which stands in for one it had. Raises as `from_files`."""
    if not files:
        return source
    drafts = from_files(files, making)
    if len(drafts.layers) > 1:
        raise BadRequest("a draft model is one model, without projectors and adapters")
    layer = msgspec.structs.replace(drafts.layers[0], media_type=DRAFT)
    kept = [layer for layer in source.layers if layer.media_type != DRAFT]
    return msgspec.structs.replace(source, layers=(*kept, layer), draft=drafts.header)


def _models(files: Mapping[str, str], making: Making) -> list[uploads.File]:
    """All as GGUFs: uploaded ones as they are, the parts of one merged, safetensors converted."""
    if not is_safetensors(files):
        return joined(_read(uploads.ggufs(files, making.store), making), making)
    ggufs = {name: digest for name, digest in files.items() if name.endswith(".gguf")}
    weights = converted({name: digest for name, digest in files.items() if name not in ggufs}, making)
    return [weights, *joined(_read(ggufs, making), making)]


def _read(files: Mapping[str, str], making: Making) -> list[uploads.File]:
    return [uploads.read(name, digest, making) for name, digest in files.items()]


def with_adapters(source: Source, adapters: Mapping[str, str], making: Making) -> Source:
    """The source with an uploaded adapter on top. Raises BadRequest, BadFile and BlobNotFound."""
    if not adapters:
        return source
    return msgspec.structs.replace(source, layers=(*source.layers, adapter(adapters, source.header, making)))
