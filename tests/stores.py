"""Stores with models in them, for tests: made through the store's own ways, or laid out as Ollama would have."""

import io
import os
from collections.abc import Mapping
from pathlib import Path

from a3s_power.core.manifest import CONFIG_TYPE, MODEL, ConfigBlob, Layer, Manifest, write_config, write_manifest
from a3s_power.core.names import ModelName
from a3s_power.gguf.writer import Writable, write
from a3s_power.store import Store
from a3s_power.store import layers as store_layers

LLAMA: Mapping[str, Writable] = {
    "general.architecture": "llama",
    "general.file_type": 7,
    "llama.context_length": 2048,
    "llama.embedding_length": 64,
    "llama.block_count": 2,
    "llama.feed_forward_length": 128,
    "llama.attention.head_count": 4,
}


def gguf(key_values: Mapping[str, Writable] | None = None, **more: Writable) -> bytes:
    """A GGUF without tensors: enough to be read, too little to be run."""
    file = io.BytesIO()
    write(file, {**(LLAMA if key_values is None else key_values), **more})
    return file.getvalue()


def named(text: str) -> ModelName:
    """The name of this text."""
    return ModelName.parse(text)


def add_model(
    store: Store,
    name: str,
    *layers: tuple[str, bytes],
    weights: bytes | None = None,
    config: ConfigBlob | None = None,
    source: str = "",
) -> Manifest:
    """Put a model into the store: weights first unless they are empty, then the layers given as type and content."""
    content = gguf() if weights is None else weights
    parts = [store_layers.put(store.blobs, MODEL, content, source=source)[0]] if content else []
    parts += [store_layers.put(store.blobs, media_type, layer)[0] for media_type, layer in layers]
    config = config or ConfigBlob(model_format="gguf", model_family="llama", file_type="Q8_0")
    config_layer, _ = store_layers.put(store.blobs, CONFIG_TYPE, write_config(config))
    manifest = Manifest(config=config_layer, layers=tuple(parts))
    store.write(named(name), write_manifest(manifest))
    return manifest


def put_layer(store: Store, media_type: str, content: bytes) -> Layer:
    """Put a layer's blob into the store."""
    return store_layers.put(store.blobs, media_type, content)[0]


def files_below(folder: Path) -> set[str]:
    """Every file and link below a folder, as paths relative to it; the lock is no content and left out."""
    found = (Path(top, name).relative_to(folder) for top, _, names in os.walk(folder) for name in names)
    return {str(path) for path in found if path.name != ".lock"}
