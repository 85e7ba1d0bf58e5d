"""Manifest, Layer and the config blob: the JSON documents of a model, in Ollama's form."""

from typing import Annotated, Any, Final

import msgspec

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadManifest, InvalidDigest
from a3s_power.core.names import is_plain_path

MANIFEST_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE: Final = "application/vnd.docker.container.image.v1+json"

_IMAGE: Final = "application/vnd.ollama.image."
MODEL: Final = f"{_IMAGE}model"
PROJECTOR: Final = f"{_IMAGE}projector"
ADAPTER: Final = f"{_IMAGE}adapter"
DRAFT: Final = f"{_IMAGE}draft"
TEMPLATE: Final = f"{_IMAGE}template"
PROMPT: Final = f"{_IMAGE}prompt"
"""The old name of TEMPLATE."""
SYSTEM: Final = f"{_IMAGE}system"
PARAMS: Final = f"{_IMAGE}params"
LICENSE: Final = f"{_IMAGE}license"
MESSAGES: Final = f"{_IMAGE}messages"
TENSOR: Final = f"{_IMAGE}tensor"
JSON: Final = f"{_IMAGE}json"

FILE: Final = "application/vnd.a3s.power.file"
"""Our own: a file, under its name, of a model that is kept as it was uploaded."""

MANY: Final = (TENSOR, FILE)
"""Of these a model may have any number."""


class Layer(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"media_type": "mediaType", "source": "from"}
):
    """A blob with a meaning. `source` is the model or file it came from; `name` the tensor or file of tensor models."""

    media_type: str
    digest: str
    size: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    source: str = ""
    name: str = ""

    @property
    def blob(self) -> Digest:
        """The digest, checked when the manifest was read."""
        return Digest.parse(self.digest)


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a model is made of: its config and its layers, in the order of the file."""

    schema_version: int = 2
    media_type: str = MANIFEST_TYPE
    config: Layer
    layers: tuple[Layer, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all layers and the config, as the manifest says."""
        return self.config.size + sum(layer.size for layer in self.layers)

    @property
    def blobs(self) -> frozenset[Digest]:
        """Every blob the model needs."""
        return frozenset(layer.blob for layer in (self.config, *self.layers))

    def of_type(self, *media_types: str) -> list[Layer]:
        """The layers of these types, in order."""
        return [layer for layer in self.layers if layer.media_type in media_types]


class ConfigBlob(msgspec.Struct, frozen=True, kw_only=True):
    """The config document: what a model is, in the order in which Ollama writes it."""

    model_format: str = ""
    model_family: str = ""
    model_families: list[str] | None = None
    model_type: str = ""
    file_type: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    remote_host: str = ""
    remote_model: str = ""
    capabilities: list[str] = []
    context_length: int = 0
    embedding_length: int = 0
    base_name: str = ""
    architecture: str = "amd64"
    os: str = "linux"


_OPTIONAL_CONFIG: Final = (
    *("renderer", "parser", "requires", "remote_host", "remote_model"),
    *("capabilities", "context_length", "embedding_length", "base_name"),
)
_GO_ESCAPES: Final = (
    *((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")),
    *(("\u2028".encode(), b"\\u2028"), ("\u2029".encode(), b"\\u2029")),
)


def go_json(value: Any, *, order: str | None = None) -> bytes:  # noqa: ANN401 -- any JSON value or struct
    """Compact JSON as Go's encoder writes it: `<`, `>`, `&` and the two line separators escaped.

    `order="sorted"` sorts the keys of every object, as Go does with maps.
    """
    encoded = msgspec.json.encode(value, order="sorted" if order == "sorted" else None)
    for plain, escaped in _GO_ESCAPES:
        if plain in encoded:
            encoded = encoded.replace(plain, escaped)
    return encoded


def _fields(content: bytes) -> dict[str, Any]:
    """A JSON object without its nulls, which Go writes for empty lists and reads as absent."""
    fields = msgspec.json.decode(content, type=dict[str, Any])
    return {key: value for key, value in fields.items() if value is not None}


def read_manifest(content: bytes) -> Manifest:
    """A manifest from its file's or the registry's bytes.

    Raises:
        BadManifest: not a manifest, over its limits, or with a digest that is none.
    """
    if len(content) > limits.MANIFEST_BYTES:
        raise BadManifest(f"manifest is larger than {limits.MANIFEST_BYTES} bytes")
    try:
        manifest = msgspec.convert(_fields(content), Manifest)
        if len(manifest.layers) > limits.LAYERS and not manifest.of_type(*MANY):
            raise BadManifest(f"manifest has more than {limits.LAYERS} layers")
        _check_names([layer.name for layer in manifest.of_type(FILE)])
        _ = manifest.blobs
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, InvalidDigest) as error:
        raise BadManifest(f"manifest cannot be read: {error}") from error
    return manifest


def _check_names(names: list[str]) -> None:
    """Raise BadManifest unless all names of files can lie in one folder, and nowhere else."""
    if len(set(names)) != len(names) or not all(map(is_plain_path, names)):
        raise BadManifest("manifest has files under names that cannot be")


def write_manifest(manifest: Manifest) -> bytes:
    """The manifest as a locally made one is stored: compact, with a newline."""
    return go_json(manifest) + b"\n"


def read_config(content: bytes) -> ConfigBlob:
    """A config blob; fields it does not know are ignored, nulls count as absent.

    Raises:
        BadManifest: not JSON of that shape, or too large.
    """
    if len(content) > limits.CONFIG_BYTES:
        raise BadManifest(f"config is larger than {limits.CONFIG_BYTES} bytes")
    try:
        return msgspec.convert(_fields(content), ConfigBlob)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadManifest(f"config cannot be read: {error}") from error


def write_config(config: ConfigBlob) -> bytes:
    """The config blob as it is stored: empty optional fields left out, a newline at the end."""
    fields = msgspec.structs.asdict(config)
    return go_json({key: value for key, value in fields.items() if value or key not in _OPTIONAL_CONFIG}) + b"\n"
