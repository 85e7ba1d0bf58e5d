"""Partials: blobs on their way in from elsewhere, in Ollama's form: either program goes on where the other stopped."""

import os
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.log import get_logger
from a3s_power.store.blobs import check_room
from a3s_power.store.files import (
    Place,
    new_file,
    open_regular,
    open_to_write,
    place,
    refusals,
    remove_if_there,
    sync,
    write_all,
)
from a3s_power.store.layout import Layout
from a3s_power.store.lock import StoreLock, taken

log = get_logger(__name__)

_STATE_BYTES: Final = 4096
_BLOCK_BYTES: Final = 512
"""What `st_blocks` counts in, on every system that has it."""


class Part(msgspec.Struct, rename={"number": "N", "offset": "Offset", "size": "Size", "completed": "Completed"}):
    """A stretch of a blob: where it begins, its bytes, and how many of them are there."""

    number: int
    offset: int
    size: int
    completed: int = 0

    @property
    def position(self) -> int:
        """Where its next byte goes."""
        return self.offset + self.completed

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.offset + self.size

    @property
    def done(self) -> bool:
        """Whether all of it is there."""
        return self.completed >= self.size


class Partials:
    """The downloads in the `blobs` folder. `key` is the blob's digest, or of one that is not known yet any other."""

    def __init__(self, layout: Layout, lock: StoreLock) -> None:
        self._layout = layout
        self._lock = lock

    def allotted(self, key: Digest) -> int:
        """Bytes of the disk that the download has already."""
        with refusals():
            try:
                with place(self._layout.blobs) as folder, open_regular(folder, _name(key)) as file:
                    return _allotted(file)
            except FileNotFoundError:
                return 0

    def open(self, key: Digest, size: int) -> "Partial | None":
        """The download of `size` bytes, begun or new; `None` while another one has it open, here or in any process.

        Raises:
            DiskFull: no room for what is missing.
        """
        with refusals(), self._lock.held(), place(self._layout.blobs, create=True) as folder:
            file = open_to_write(folder, _name(key), create=True)
            try:
                if not taken(file.fileno()):
                    file.close()
                    return None
                check_room(folder.path, size - _allotted(file))
                return Partial(self._layout, self._lock, key, size, file)
            except BaseException:
                file.close()
                raise


class Partial:
    """A download that is open, with this one owner. `close` keeps what is there; `commit` makes it the blob."""

    def __init__(self, layout: Layout, lock: StoreLock, key: Digest, size: int, file: FileIO) -> None:
        self._layout = layout
        self._lock = lock
        self._name = _name(key)
        self._file = file
        self.size: Final = size

    def parts(self) -> list[Part]:
        """The parts it was cut into before, in order; none when they are not its whole or the data is not there."""
        with refusals(), place(self._layout.blobs) as folder:
            parts = sorted(self._states(folder), key=lambda part: part.offset)
        whole = os.fstat(self._file.fileno()).st_size == self.size
        if parts and not (whole and _make_up(parts, self.size)):
            log.warning("download starts anew: its state is not that of this blob", blob=self._name)
            return []
        return parts

    def cut(self, parts: list[Part]) -> None:
        """Begin anew with these parts: what is there counts no more. Raises DiskFull and StoreFailed."""
        with refusals(), place(self._layout.blobs) as folder:
            self._forget(folder)
            self._file.truncate(0)
            self._file.truncate(self.size)
        for part in parts:
            self.save(part)

    def save(self, part: Part) -> None:
        """Write down how far a part is. At any time the old or the new state is there. Raises DiskFull, StoreFailed."""
        with refusals(), place(self._layout.blobs) as folder:
            temporary, file = new_file(folder)
            try:
                with file:
                    write_all(file, msgspec.json.encode(part) + b"\n")
                source, target = folder.child(temporary), folder.child(f"{self._name}-{part.number}")
                os.replace(source, target, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
            except BaseException:
                remove_if_there(folder, temporary)
                raise

    def data(self) -> FileIO:
        """The data file, opened once more, for one thread to read or write in it."""
        with refusals(), place(self._layout.blobs) as folder:
            return open_to_write(folder, self._name)

    def commit(self, digest: Digest) -> None:
        """Make the data the blob of this digest, and forget the rest. Whoever opened the data has closed it by now."""
        target = self._layout.blob(digest)
        with refusals():
            os.fsync(self._file.fileno())
            with self._lock.held(), place(self._layout.blobs) as folder:
                self._file.close()
                source, final = folder.child(self._name), folder.child(target.name)
                os.replace(source, final, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
                os.utime(target)
                sync(folder)
                self._forget(folder)

    def discard(self) -> None:
        """Leave nothing of it."""
        with refusals(), self._lock.held(), place(self._layout.blobs) as folder:
            self._forget(folder)
            self._file.close()
            remove_if_there(folder, self._name)

    def close(self) -> None:
        """Let go of it. May be called again, and after `commit` and `discard`."""
        self._file.close()

    def _states(self, folder: Place) -> Iterator[Part]:
        for name in self._state_names(folder):
            unreadable = suppress(FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError)
            with unreadable, open_regular(folder, name) as file:
                yield msgspec.json.decode(file.read(_STATE_BYTES), type=Part)

    def _state_names(self, folder: Place) -> list[str]:
        prefix = f"{self._name}-"
        return [path.name for path in folder.path.iterdir() if path.name.startswith(prefix)]

    def _forget(self, folder: Place) -> None:
        for name in self._state_names(folder):
            remove_if_there(folder, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _name(key: Digest) -> str:
    return f"{key.file_name}-partial"


def _allotted(file: BinaryIO) -> int:
    status = os.fstat(file.fileno())
    return getattr(status, "st_blocks", 0) * _BLOCK_BYTES


def _make_up(parts: list[Part], size: int) -> bool:
    """Whether the parts, in order, lie one behind the other and fill the whole; their numbers tell them apart."""
    at = 0
    for part in parts:
        if part.offset != at or part.size <= 0 or not 0 <= part.completed <= part.size:
            return False
        at = part.end
    return at == size and len({part.number for part in parts}) == len(parts)
