"""The models and blobs on this disk, for the edges: the store's work done in threads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from a3s_power.aio import in_thread
from a3s_power.core.digests import Digest
from a3s_power.core.manifest import FILE
from a3s_power.core.model import Description, Listing
from a3s_power.core.names import ModelName
from a3s_power.gguf import facts, reader
from a3s_power.service.ports import BlobUpload
from a3s_power.store import Store
from a3s_power.store.blobs import BlobWriter


class LocalLibrary:
    """Models by their names, on this disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self) -> list[Listing]:
        """All models, newest first."""
        return await in_thread(self._store.models.list)

    async def show(self, name: ModelName, *, verbose: bool = False) -> Description:
        """One model in full. Raises ModelNotFound."""
        return await in_thread(self._describe, name, verbose)

    async def copy(self, source: ModelName, destination: ModelName) -> None:
        """A second name for a model. Raises ModelNotFound."""
        await in_thread(self._store.copy, source, destination)

    async def delete(self, name: ModelName) -> None:
        """Remove a model and the blobs that only it used. Raises ModelNotFound."""
        await in_thread(self._store.delete, name)

    def _describe(self, name: ModelName, verbose: bool) -> Description:  # noqa: FBT001 -- called by position in a thread
        model = self._store.models.read(name)
        if not model.files.weights:
            kept = model.manifest.of_type(FILE)
            return Description(model=model, info={"general.architecture": model.facts.architecture} if kept else {})
        header = reader.read_header(model.files.weights, arrays=verbose)
        projector = None
        if model.files.projectors:
            projector = facts.model_info(reader.read_header(model.files.projectors[0]), verbose=verbose)
        return Description(
            model=model,
            info=facts.model_info(header, verbose=verbose),
            tensors=facts.tensor_list(header),
            projector_info=projector,
        )


class LocalBlobs:
    """Content under its digest, on this disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def has(self, digest: Digest) -> bool:
        """Whether the blob is there."""
        return await in_thread(self._store.blobs.has, digest)

    @asynccontextmanager
    async def upload(self, digest: Digest, size: int | None) -> AsyncIterator[BlobUpload]:
        """Store what is written inside. Raises DigestMismatch on leaving, DiskFull when `size` does not fit."""
        writer = await in_thread(self._store.blobs.writing, digest, size)
        try:
            yield _Upload(writer)
            await in_thread(writer.commit)
        finally:
            await in_thread(writer.close)

    async def open(self, digest: Digest) -> tuple[int, BinaryIO]:
        """Size in bytes, and the content to read. Raises BlobNotFound."""
        return await in_thread(self._store.blobs.open, digest)

    async def remove(self, digest: Digest) -> None:
        """Remove a blob no model refers to. Raises BlobNotFound, and InUse when one does."""
        await in_thread(self._store.remove_blob, digest)


class _Upload:
    """A blob on its way in: its bytes are hashed and written in a thread."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer

    async def write(self, chunk: bytes) -> None:
        await in_thread(self._writer.write, chunk)
