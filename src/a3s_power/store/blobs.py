"""Blobs: content under its digest, there whole or not at all."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadManifest, BlobNotFound, DigestMismatch, DiskFull
from a3s_power.core.sizes import human_bytes
from a3s_power.store.files import new_file, open_regular, place, refusals, remove_if_there, sync, write_all
from a3s_power.store.layout import Layout
from a3s_power.store.lock import StoreLock

_CHUNK_BYTES: Final = limits.MIB
_KEEP_FREE_SHARE: Final = 50
"""On a small disk a fiftieth of it is kept free instead of DISK_KEEP_FREE_BYTES."""

_LOOK_EVERY_BYTES: Final = 64 * limits.MIB
"""How much is written to a blob of unknown size between two looks at the room that is left."""


class Blobs:
    """The `blobs` folder. Nothing of another kind than a regular file is ever read under a digest."""

    def __init__(self, layout: Layout, lock: StoreLock) -> None:
        self._layout = layout
        self._lock = lock

    def path(self, digest: Digest) -> Path:
        """Where the blob lies, whether or not it is there."""
        return self._layout.blob(digest)

    def has(self, digest: Digest) -> bool:
        """Whether the blob is there."""
        return _size(self.path(digest)) is not None

    def size(self, digest: Digest) -> int:
        """Bytes of the blob. Raises BlobNotFound."""
        size = _size(self.path(digest))
        if size is None:
            raise BlobNotFound(digest)
        return size

    def open(self, digest: Digest) -> tuple[int, BinaryIO]:
        """Size in bytes, and the content to read. Raises BlobNotFound."""
        with refusals():
            try:
                with place(self._layout.blobs) as folder:
                    file = open_regular(folder, digest.file_name)
            except FileNotFoundError:
                raise BlobNotFound(digest) from None
        return os.fstat(file.fileno()).st_size, file

    def read(self, digest: Digest, most: int) -> bytes:
        """A small blob's content. Raises BlobNotFound, and BadManifest when it is larger than `most` bytes."""
        size, file = self.open(digest)
        with file:
            if size > most:
                raise BadManifest(f"layer {digest} is larger than {most} bytes")
            return file.read(size)

    def put(
        self, source: bytes | BinaryIO | Iterable[bytes], expected: Digest | None = None, size: int | None = None
    ) -> tuple[Digest, bool]:
        """Store what `source` holds; its digest, and whether the blob is new. A blob that is there is not read again.

        Raises:
            DigestMismatch: the content is another than `expected`; nothing is left of it.
            DiskFull: no room for `size` bytes.
        """
        if isinstance(source, bytes):
            expected, size = expected or Digest.of(source), len(source)
        if expected is not None and self.keep(expected):
            return expected, False
        with self.writing(expected, size) as writer:
            for chunk in _chunks(source):
                writer.write(chunk)
        return writer.digest, writer.created

    def writing(self, expected: Digest | None = None, size: int | None = None) -> "BlobWriter":
        """A blob on its way in, for content that arrives in pieces. Raises DiskFull when `size` bytes do not fit."""
        return BlobWriter(self._layout, self._lock, expected, size)

    def check_room(self, size: int) -> None:
        """Raise DiskFull when there is no room for `size` bytes more."""
        with refusals(), place(self._layout.blobs, create=True) as folder:
            check_room(folder.path, size)

    def remove(self, digest: Digest) -> None:
        """Remove the blob if it is there, whoever refers to it."""
        with refusals(), place(self._layout.blobs) as folder:
            remove_if_there(folder, digest.file_name)

    def keep(self, digest: Digest) -> bool:
        """Whether the blob is there; its time is now, so that no start-up takes it for forgotten."""
        with refusals(), self._lock.held():
            if not self.has(digest):
                return False
            os.utime(self.path(digest))
            return True


class BlobWriter:
    """A blob being written: `write` its pieces, then `commit`; or leave the `with` block, which does that.

    Without a commit nothing stays. After it `digest` and `created` say what became of it.
    """

    def __init__(self, layout: Layout, lock: StoreLock, expected: Digest | None, size: int | None) -> None:
        self._layout = layout
        self._lock = lock
        self._expected = expected
        self._hash = hashlib.sha256()
        self._written = 0
        self._look_again = 0 if size is None else max(size, _LOOK_EVERY_BYTES)
        self.created = False
        with refusals(), place(layout.blobs, create=True) as folder:
            check_room(folder.path, size or 0)
            self._partial, self._file = new_file(folder)

    @property
    def digest(self) -> Digest:
        """The digest of what was written so far."""
        return Digest(self._hash.hexdigest())

    def write(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes. Raises DiskFull."""
        self._hash.update(chunk)
        self._written += len(chunk)
        with refusals():
            if self._written > self._look_again:
                check_room(self._layout.blobs, len(chunk))
                self._look_again = self._written + _LOOK_EVERY_BYTES
            write_all(self._file, chunk)

    def commit(self) -> tuple[Digest, bool]:
        """Make the blob appear; its digest, and whether it is new. Raises DigestMismatch when it was to be another."""
        digest = self.digest
        try:
            if self._expected not in (None, digest):
                raise DigestMismatch(f'digest mismatch, expected "{self._expected}", got "{digest}"')
            with refusals():
                os.fsync(self._file.fileno())
                self._file.close()
                self.created = self._appear(self._layout.blob(digest))
        finally:
            self.close()
        return digest, self.created

    def _appear(self, target: Path) -> bool:
        """Put the file in its place, unless it is there already; its time is now in both cases."""
        with self._lock.held(), place(self._layout.blobs) as folder:
            # One of another size is what a power cut left of a blob that was not written by us.
            created = _size(target) != self._written
            if created:
                partial, final = folder.child(self._partial), folder.child(target.name)
                os.replace(partial, final, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
                sync(folder)
            os.utime(target)
        return created

    def close(self) -> None:
        """Give up what was not committed. May be called at any time, and again."""
        self._file.close()
        with refusals(), place(self._layout.blobs) as folder:
            remove_if_there(folder, self._partial)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error_type is None:
            self.commit()
        else:
            self.close()


def _size(path: Path) -> int | None:
    """Bytes of a regular file; `None` where there is none, or something else."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def check_room(folder: Path, size: int) -> None:
    """Raise DiskFull when `size` bytes more would leave less free than is kept on the disk of this folder."""
    total, _, free = shutil.disk_usage(folder)
    keep = min(limits.DISK_KEEP_FREE_BYTES, total // _KEEP_FREE_SHARE)
    if free - size < keep:
        raise DiskFull(
            f"not enough disk space: {human_bytes(size)} to write, {human_bytes(free)} free, "
            f"{human_bytes(keep)} of it to be kept"
        )


def _chunks(source: bytes | BinaryIO | Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(source, bytes):
        return (source,)
    if hasattr(source, "read"):
        return iter(partial(source.read, _CHUNK_BYTES), b"")
    return source
