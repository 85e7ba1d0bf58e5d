"""A models folder as Ollama leaves one behind, laid out by hand: old and new, pulled and made, whole and half done."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

_IMAGE: Final = "application/vnd.ollama.image."
_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_LIBRARY: Final = "registry.ollama.ai/library"

NAMES: Final = {
    "gpt-oss:20b-cloud",
    "hf.co/someone/Tiny-GGUF:Q8_0",
    "mine:latest",
    "orca:7b",
    "tiny:latest",
}
"""The models that are listed."""

RUNNABLE: Final = NAMES - {"gpt-oss:20b-cloud"}
"""Those whose weights are on this disk."""

_CONFIG_FIELDS: Final = {
    "model_format": "gguf",
    "model_family": "llama",
    "model_families": ["llama"],
    "model_type": "2.8M",
    "file_type": "Q8_0",
    "architecture": "amd64",
    "os": "linux",
}


def lay_out(root: Path, weights: bytes) -> None:
    """Make the folder; every model that can run has these weights."""
    folder = _Folder(root)
    model = folder.layer("model", weights)
    rootfs = {"type": "layers", "diff_ids": [model["digest"]]}
    pulled = folder.config({**_CONFIG_FIELDS, "rootfs": rootfs})
    template = folder.layer("template", b"{{ .Prompt }}")
    folder.manifest(f"{_LIBRARY}/tiny/latest", {**_head(pulled), "layers": [model, template]}, indent=3)
    folder.manifest(
        "hf.co/someone/Tiny-GGUF/Q8_0",
        {"layers": [model, folder.layer("params", b'{"stop":["<|im_end|>"]}')], "config": pulled, "annotations": {}},
    )
    _mine(folder, model, pulled)
    _orca(folder, weights)
    stub = folder.config(
        {"remote_host": "https://ollama.com:443", "remote_model": "gpt-oss:20b", "capabilities": ["tools"]}
    )
    folder.manifest(f"{_LIBRARY}/gpt-oss/20b-cloud", {**_head(stub), "layers": None})
    (root / "blobs" / f"sha256-{'d' * 64}-partial").write_bytes(bytes(1000))
    (root / "blobs" / f"sha256-{'d' * 64}-partial-0").write_text('{"N":0,"Offset":0,"Size":1000,"Completed":10}\n')
    (root / "blobs" / "sha256-1234567890").write_bytes(b"left over from a killed create")


def _mine(folder: "_Folder", model: dict[str, Any], pulled: dict[str, Any]) -> None:
    """One that Ollama's own create made from another."""
    messages = b'[{"role":"user","content":"Hello"},{"role":"assistant","content":"Hi \\u003c3"}]\n'
    layers = [
        {**model, "from": "tiny:latest"},
        {**folder.layer("license", b"MIT"), "from": "tiny:latest"},
        folder.layer("license", b"and more"),
        folder.layer("system", b"You are Ann."),
        folder.layer("params", b'{"num_ctx":512,"stop":["\\u003c|im_end|\\u003e"],"temperature":0}\n'),
        folder.layer("messages", messages),
    ]
    folder.manifest(f"{_LIBRARY}/mine/latest", {**_head(pulled), "layers": layers}, end="\n")


def _orca(folder: "_Folder", weights: bytes) -> None:
    """One of 2023: blobs with colons, the old name of the template's layer, and layers nobody knows any more."""
    layers = [
        folder.layer("model", weights + bytes(32), old=True),
        folder.layer("prompt", b"{{ .System }} {{ .Prompt }}", old=True),
        folder.layer("embed", b"[[0.1]]", old=True),
        folder.layer("something-new", b"?", old=True),
    ]
    config = folder.config({**_CONFIG_FIELDS, "rootfs": {"type": "layers", "diff_ids": None}}, old=True)
    folder.manifest(f"{_LIBRARY}/orca/7b", {**_head(config), "layers": layers})


def _head(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": config,
    }


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root
        (root / "blobs").mkdir(parents=True)

    def layer(self, kind: str, content: bytes, *, old: bool = False) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (self._root / "blobs" / f"sha256{':' if old else '-'}{digest}").write_bytes(content)
        return {"mediaType": f"{_IMAGE}{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    def config(self, fields: dict[str, Any], *, old: bool = False) -> dict[str, Any]:
        return {**self.layer("config", json.dumps(fields).encode(), old=old), "mediaType": _CONFIG}

    def manifest(self, path: str, fields: dict[str, Any], *, indent: int | None = None, end: str = "") -> None:
        file = self._root / "manifests" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(fields, indent=indent) + end)
