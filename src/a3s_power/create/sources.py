"""What a new model begins with: the layers of another model, or uploaded GGUF files, each of them checked."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from a3s_power.core import manifest as types
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadFile, BadRequest, BlobNotFound
from a3s_power.core.events import Progress
from a3s_power.core.manifest import ConfigBlob, Layer
from a3s_power.core.model import Facts, Model
from a3s_power.gguf.facts import facts, kind_of
from a3s_power.gguf.layout import Header, Kind, quoted
from a3s_power.gguf.reader import is_gguf, read_header
from a3s_power.log import get_logger
from a3s_power.store import Store

log = get_logger(__name__)

Report = Callable[[Progress], None]

_MEDIA_TYPES: Final[dict[Kind, str]] = {
    "model": types.MODEL,
    "projector": types.PROJECTOR,
    "adapter": types.ADAPTER,
}
_SPLIT_NAME: Final = re.compile(r".*-[0-9]{5}-of-(?!00001)[0-9]{5}\.gguf")
_COMPANIONS: Final = (".json", ".jinja", "tokenizer.model")
"""What lies beside a GGUF in a folder and is not needed, because the GGUF holds it."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What there is before the request's own layers.

    `header` and `facts` are those of the weights; a model of tensors or one that runs elsewhere has none.
    """

    layers: tuple[Layer, ...]
    config: ConfigBlob = ConfigBlob()
    header: Header | None = None
    facts: Facts = Facts(architecture="")
    parameters: dict[str, Any] = {}


class _File(msgspec.Struct, frozen=True):
    """An uploaded GGUF as a layer."""

    layer: Layer
    header: Header
    kind: Kind


def from_model(model: Model) -> Source:
    """Everything of another model; each layer says whose it was."""
    return Source(
        layers=tuple(msgspec.structs.replace(layer, source=model.name.short) for layer in model.manifest.layers),
        config=model.config,
        header=read_header(model.files.weights) if model.files.weights else None,
        facts=model.facts,
        parameters=model.parameters,
    )


def from_files(files: Mapping[str, str], store: Store, report: Report) -> Source:
    """A model from uploaded files: its weights, and projectors and adapters beside them.

    Raises:
        BadRequest: no GGUF among the files, or something this version cannot use.
        BadFile: a GGUF that is broken, hostile, or part of a split one.
        BlobNotFound: a file was not uploaded.
    """
    found = [_read(name, digest, store, report) for name, digest in _ggufs(files, store).items()]
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
    found.sort(key=lambda file: list(_MEDIA_TYPES).index(file.kind))
    return Source(layers=tuple(file.layer for file in found), header=header, facts=facts(header))


def with_adapters(source: Source, adapters: Mapping[str, str], store: Store, report: Report) -> Source:
    """The source with an uploaded adapter on top. Raises BadRequest, BadFile and BlobNotFound."""
    if not adapters:
        return source
    (name, digest), *others = _ggufs(adapters, store).items()
    if others:
        raise BadRequest("only one adapter is currently supported")
    file = _read(name, digest, store, report)
    if file.kind != "adapter":
        raise BadFile(f"{quoted(name)} is not an adapter")
    if source.header is not None:
        check_adapter(file.header, source.header)
    return msgspec.structs.replace(source, layers=(*source.layers, file.layer))


def check_adapter(adapter: Header, model: Header) -> None:
    """Raise BadFile unless the adapter's tensors fit the model's, as llama.cpp demands it."""
    if adapter.architecture != model.architecture:
        raise BadFile(f"the adapter is for {adapter.architecture} and the model is {model.architecture}")
    shapes = {tensor.name: tensor.shape for tensor in model.tensors}
    parts = {tensor.name: tensor.shape for tensor in adapter.tensors}
    for name in parts:
        base, _, half = name.rpartition(".")
        if half not in ("lora_a", "lora_b") or f"{base}.lora_a" not in parts or f"{base}.lora_b" not in parts:
            raise BadFile(f"tensor {quoted(name)} is no half of an adapter's pair")
        if base not in shapes:
            raise BadFile(f"the adapter's tensor {quoted(base)} does not exist in the model")
        if not _fits(base, shapes[base], parts[f"{base}.lora_a"], parts[f"{base}.lora_b"]):
            raise BadFile(f"the adapter's tensor {quoted(base)} has another shape than the model's")


def _fits(name: str, base: tuple[int, ...], down: tuple[int, ...], up: tuple[int, ...]) -> bool:
    """llama.cpp refuses most pairs that do not fit, and ends itself over the rest."""
    if not len(base) == len(down) == len(up) >= 2 or not base[2:] == down[2:] == up[2:]:
        return False
    if name == "token_embd.weight":
        # An embedding is a look-up: its first half is stored the other way round.
        return down[0] == up[0] and (up[1], down[1]) == base
    return down[1] == up[0] and (down[0], up[1]) == base[:2]


def _ggufs(files: Mapping[str, str], store: Store) -> dict[str, str]:
    """The files without what merely lies beside them. Raises BadRequest when they are no GGUFs."""
    needed = {name: digest for name, digest in files.items() if not _companion(name)}
    for name, digest in needed.items():
        if name.endswith(".safetensors"):
            raise BadRequest("converting safetensors is not available in this version")
        if name.endswith(".gguf") or _begins_as_gguf(Digest.parse(digest), store):
            return needed
    raise BadRequest("unknown type")


def _begins_as_gguf(digest: Digest, store: Store) -> bool:
    try:
        _, file = store.blobs.open(digest)
    except BlobNotFound:
        return False
    with file:
        return is_gguf(file)


def _companion(name: str) -> bool:
    if not name.endswith(_COMPANIONS):
        return False
    log.info("file beside a GGUF is not used", file=name)
    return True


def _read(name: str, digest: str, store: Store, report: Report) -> _File:
    """Check an uploaded GGUF. The blob itself becomes the layer, unchanged."""
    report(Progress("parsing GGUF"))
    blob = Digest.parse(digest)
    size, content = store.blobs.open(blob)
    with content:
        if not is_gguf(content):
            raise BadFile("supplied file was not in GGUF format")
        header = read_header(content)
    if _SPLIT_NAME.fullmatch(name) or not header.architecture or header.key_values.get("split.count", 1) != 1:
        raise BadFile("split GGUF files are not supported in this version: merge them into one file first")
    kind = kind_of(header)
    return _File(Layer(media_type=_MEDIA_TYPES[kind], digest=str(blob), size=size), header, kind)
