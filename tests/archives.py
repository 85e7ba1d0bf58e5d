"""Archives made by hand, as a friend, a mistaken person or an enemy would make them."""

import io
import tarfile
from typing import Any

from a3s_power.core.digests import Digest
from a3s_power.core.manifest import (
    CONFIG_TYPE,
    MODEL,
    SYSTEM,
    ConfigBlob,
    Layer,
    Manifest,
    write_config,
    write_manifest,
)

PLACE = "manifests/registry.ollama.ai/library/moved/latest"
WEIGHTS = b"GGUF, more or less"
SAID = b"Be brief."
CONFIG = write_config(ConfigBlob(model_format="gguf"))


def layer(media_type: str, content: bytes, **said: Any) -> Layer:
    """What a manifest says of a blob."""
    fields: dict[str, Any] = {"media_type": media_type, "digest": str(Digest.of(content)), "size": len(content)}
    return Layer(**fields | said)


def manifest(*layers: Layer) -> bytes:
    """A manifest of these layers, or of the usual ones."""
    usual = (layer(MODEL, WEIGHTS), layer(SYSTEM, SAID))
    return write_manifest(Manifest(config=layer(CONFIG_TYPE, CONFIG), layers=layers or usual))


def place(content: bytes) -> str:
    """Where a blob lies."""
    return f"blobs/{Digest.of(content).file_name}"


def file(name: str, content: bytes, **changes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A file of an archive; `changes` are to its header."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in changes.items():
        setattr(info, field, value)
    return info, content


HEAD = file(PLACE, manifest())
BLOBS = tuple(file(place(content), content) for content in (CONFIG, WEIGHTS, SAID))


def archive(*files: tuple[tarfile.TarInfo, bytes], format: int = tarfile.USTAR_FORMAT) -> bytes:  # noqa: A002 -- tarfile's word
    """A tar file of these; the standard library wrote it, so that not only our own hand is read."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as tar:
        for info, content in files:
            tar.addfile(info, io.BytesIO(content) if content else None)
    return target.getvalue()


WHOLE = archive(HEAD, *BLOBS)
