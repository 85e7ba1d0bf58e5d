"""Models as archives, for the edges: the store's packing and unpacking done in threads."""

from collections.abc import AsyncIterator, Iterator

from anyio import CancelScope

from a3s_power.aio import in_thread
from a3s_power.core.names import ModelName
from a3s_power.store import Store
from a3s_power.store.archive import Unpacking, pack


class LocalArchives:
    """The models of this disk, out and in."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def pack(self, name: ModelName, *, blobs: bool = True) -> tuple[int, AsyncIterator[bytes]]:
        """Size in bytes, and the archive as it is read. Raises ModelNotFound."""
        packed = await in_thread(lambda: pack(self._store, name, blobs=blobs))
        return packed.size, _in_threads(packed.pieces)

    async def unpack(self, content: AsyncIterator[bytes]) -> ModelName:
        """Put in the model of an archive; its name. Raises BadFile, DigestMismatch and DiskFull, and leaves nothing."""
        unpacking = await in_thread(Unpacking, self._store)
        try:
            async for piece in content:
                await in_thread(unpacking.feed, piece)
            return await in_thread(unpacking.finish)
        finally:
            with CancelScope(shield=True):
                await in_thread(unpacking.close)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await in_thread(next, pieces, b""):
        yield piece
