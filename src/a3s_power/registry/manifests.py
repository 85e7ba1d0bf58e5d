"""Manifests of registries: read with mistrust, before anything of what they name is fetched. Pure."""

from typing import Any, Final

import msgspec

from a3s_power.core import limits
from a3s_power.core import manifest as types
from a3s_power.core.errors import BadManifest, NotSupported
from a3s_power.core.manifest import Manifest, read_manifest
from a3s_power.core.names import ModelName

_MODEL_TYPES: Final = "application/vnd.ollama.image."
_SMALL: Final = {
    types.TEMPLATE: limits.TEMPLATE_BYTES,
    types.PROMPT: limits.TEMPLATE_BYTES,
    types.CONFIG_TYPE: limits.CONFIG_BYTES,
    types.SYSTEM: limits.SMALL_LAYER_BYTES,
    types.PARAMS: limits.SMALL_LAYER_BYTES,
    types.LICENSE: limits.SMALL_LAYER_BYTES,
    types.MESSAGES: limits.SMALL_LAYER_BYTES,
}


def sound(name: ModelName, content: bytes) -> Manifest:
    """What the manifest says. Raises BadManifest for what cannot be a model, NotSupported for one of tensors."""
    _check_digests(name, content)
    manifest = read_manifest(content)
    if manifest.of_type(types.TENSOR):
        raise NotSupported("this model requires MLX support, but the MLX runtime is not available")
    if not any(layer.media_type.startswith((_MODEL_TYPES, types.FILE)) for layer in manifest.layers):
        raise BadManifest(f"{name.short} is no model: none of its layers is of a type {_MODEL_TYPES}…")
    for layer in (*manifest.layers, manifest.config):
        most = _SMALL.get(types.CONFIG_TYPE if layer is manifest.config else layer.media_type)
        if most is not None and layer.size > most:
            raise BadManifest(f"layer {layer.digest} is larger than {most} bytes")
    return manifest


def _check_digests(name: ModelName, content: bytes) -> None:
    """Say what is wrong with a layer without a digest as Ollama does, before the manifest is read as a whole."""
    try:
        layers = msgspec.json.decode(content, type=_Digests).layers or []
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
    if any(not layer.get("digest") for layer in layers):
        raise BadManifest(f"{name.namespace}/{name.model}: digest is empty")


class _Digests(msgspec.Struct, frozen=True):
    layers: list[dict[str, Any]] | None = None
