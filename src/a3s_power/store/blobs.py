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
from a3s_power.core.errors import BadFile, BadManifest, BlobNotFound, DigestMismatch, DiskFull
from a3s_power.core.sizes import human_bytes
from a3s_power.gguf.reader import open_regular as open_elsewhere
from a3s_power.store.files import (
    new_file,
    open_regular,
    place,
    refusals,
    remove_if_there,
    share_blocks,
    sync,
    write_all,
)
from a3s_power.store.layout import Layout
from a3s_power.store.lock import StoreLock
from a3s_power.store.references import Reference, References, hashed

_CHUNK_BYTES: Final = limits.MIB
_KEEP_FREE_SHARE: Final = 50
"""On a small disk a fiftieth of it is kept free instead of DISK_KEEP_FREE_BYTES."""

_LOOK_EVERY_BYTES: Final = 64 * limits.MIB
"""How much is written to a blob of unknown size between two looks at the room that is left."""


class Blobs:
    """The `blobs` folder, and the files elsewhere that its blobs may refer to.

    Nothing of another kind than a regular file is ever read under a digest. A file that others may change is looked at
    before each use; if it is not what it was, all that is asked of its blob raises BadFile, and `has` denies it.
    """

    def __init__(self, layout: Layout, lock: StoreLock) -> None:
        self._layout = layout
        self._lock = lock
        self._references = References(layout)

    def path(self, digest: Digest) -> Path:
        """Where the blob's own file lies, whether or not it is there."""
        return self._layout.blob(digest)

    def find(self, digest: Digest) -> Path:
        """Where the content is. Raises BlobNotFound."""
        own = self.path(digest)
        there = _size(own) is not None
        with refusals():
            reference = self._references.of(digest)
            if reference is not None and there is not bool(reference.path):
                own = Path(reference.path) if reference.path else own
                self._references.check(digest, reference, own)
            elif not there:
                raise BlobNotFound(digest)
        return own

    def has(self, digest: Digest) -> bool:
        """Whether the blob is there."""
        try:
            self.find(digest)
        except (BlobNotFound, BadFile):
            return False
        return True

    def size(self, digest: Digest) -> int:
        """Bytes of the blob. Raises BlobNotFound."""
        size = _size(self.find(digest))
        if size is None:
            raise BlobNotFound(digest)
        return size

    def open(self, digest: Digest) -> tuple[int, BinaryIO]:
        """Size in bytes, and the content to read. Raises BlobNotFound."""
        path = self.find(digest)
        with refusals():
            try:
                with place(path.parent) as folder:
                    file = open_regular(folder, path.name)
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
        """Remove the blob if it is there, whoever needs it. A file that it refers to stays where it lies."""
        with refusals(), place(self._layout.blobs) as folder:
            remove_if_there(folder, digest.file_name)
            self._references.remove(digest)

    def keep(self, digest: Digest) -> bool:
        """Whether the blob is there; its time is now, so that no start-up takes it for forgotten."""
        with refusals(), self._lock.held():
            if not self.has(digest):
                return False
            self._references.touch(digest)
            return True

    def clone(self, source: BinaryIO) -> Digest | None:
        """Store a whole file by sharing its blocks; `None` where the file system cannot, and nothing is stored then."""
        writer = self.writing()
        try:
            return writer.commit()[0] if writer.clone(source) else None
        finally:
            writer.close()

    def link(self, source: Path, *, hard: bool) -> tuple[Digest, bool]:
        """Make a file a blob without copying it, by a hard link or a reference; its digest, and whether that was done.

        It is not where the blob is there already.

        Whoever changes the file changes the blob; that is noticed at its next use. `source` is an absolute path that
        is no link.

        Raises:
            BadFile: it is no regular file, or was changed while it was read.
            OSError: it cannot be read or linked, as when the models folder is on another file system.
        """
        with open_elsewhere(source) as file:
            status = os.fstat(file.fileno())
            digest = hashed(file)
            reference = Reference.of(status, "" if hard else str(source))
            if not reference.describes(os.fstat(file.fileno())):
                raise BadFile("the file was changed while it was read")
        with self._lock.held(), place(self._layout.blobs, create=True) as folder:
            if self.keep(digest):
                return digest, False
            self._references.write(digest, reference)
            remove_if_there(folder, digest.file_name)
            if hard:
                os.link(source, folder.child(digest.file_name), dst_dir_fd=folder.fd)
                if not os.path.samestat(self.path(digest).lstat(), status):
                    self.remove(digest)
                    raise BadFile("the file was replaced while it was read")
                sync(folder)
        return digest, True


class BlobWriter:
    """A blob being written: `write` its pieces, then `commit`; or leave the `with` block, which does that.

    Without a commit nothing stays. After it `digest` and `created` say what became of it.
    """

    def __init__(self, layout: Layout, lock: StoreLock, expected: Digest | None, size: int | None) -> None:
        self._layout = layout
        self._lock = lock
        self._references = References(layout)
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

    def clone(self, source: BinaryIO) -> bool:
        """Take all of a file by sharing its blocks, and hash it; False where that cannot be, and nothing is taken."""
        if not share_blocks(source, self._file):
            return False
        with refusals(), os.fdopen(os.dup(self._file.fileno()), "rb") as file:
            file.seek(0)
            self._hash = hashlib.file_digest(file, "sha256")
            self._written = file.tell()
        return True

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
            linked = self._references.of(self.digest) is not None
            created = linked or _size(target) != self._written
            if created:
                partial, final = folder.child(self._partial), folder.child(target.name)
                os.replace(partial, final, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
                sync(folder)
                self._references.remove(self.digest)
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
