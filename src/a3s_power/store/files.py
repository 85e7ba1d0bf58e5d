"""Files that are opened without following links, and written whole or not at all."""

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from a3s_power.core.errors import DiskFull, StoreFailed
from a3s_power.store.layout import FILE_MODE, FOLDER_MODE

_NO_LINKS: Final = getattr(os, "O_NOFOLLOW", 0)
_COMMON: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _COMMON
# O_NONBLOCK: opening a pipe that somebody put there must not wait for its writer.
_READ: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _NO_LINKS | _COMMON
_WRITE: Final = os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | _NO_LINKS | _COMMON
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINKS | _COMMON
_RELATIVE: Final = os.open in os.supports_dir_fd
# What systems say of a link that may not be followed, of a socket, and of a name that no folder could hold.
_NOT_THERE: Final = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.ENAMETOOLONG})
_FICLONE: Final = 0x40049409  # linux/fs.h
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Place(NamedTuple):
    """A folder in hand. Its children are named relative to `fd`, or by whole paths where the system knows no `fd`."""

    path: Path
    fd: int | None

    def child(self, name: str) -> str:
        """What to hand to a function of `os` together with `dir_fd=fd`."""
        return str(self.path / name) if self.fd is None else name


@contextmanager
def place(root: Path, *parts: str, create: bool = False) -> Iterator[Place]:
    """The folder `parts` below `root`; `root` may be a link, no part may.

    Raises OSError; without `create` a FileNotFoundError for all that is no such folder.
    """
    if create:
        make_folder(root)
    if not _RELATIVE:
        yield Place(_plain_path(root, parts, create=create), None)
        return
    enter = os.open if create else _open
    at = enter(root, _FOLDER)
    try:
        for part in parts:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, FOLDER_MODE, dir_fd=at)
                    os.fsync(at)
            below = enter(part, _FOLDER | _NO_LINKS, dir_fd=at)
            os.close(at)
            at = below
        yield Place(root.joinpath(*parts), at)
    finally:
        os.close(at)


def make_folder(path: Path) -> None:
    """A folder and those above it, if they are not there. Raises StoreFailed."""
    try:
        path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(f"{_reason(error)}: ensure path elements are traversable") from error


def _plain_path(root: Path, parts: tuple[str, ...], *, create: bool) -> Path:
    path = root
    for part in parts:
        path /= part
        if create:
            path.mkdir(FOLDER_MODE, exist_ok=True)
        if path.is_symlink() or not path.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return path


def _open(path: str | Path, flags: int, *, dir_fd: int | None = None) -> int:
    try:
        return os.open(path, flags, FILE_MODE, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
        raise


def open_regular(folder: Place, name: str) -> BinaryIO:
    """A regular file to read. Raises FileNotFoundError for links, folders, pipes and devices too."""
    descriptor = _open(folder.child(name), _READ, dir_fd=folder.fd)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return os.fdopen(descriptor, "rb")


def open_to_write(folder: Place, name: str, *, create: bool = False) -> FileIO:
    """A regular file to read and write, unbuffered; `create` makes it if it is not there.

    Raises FileNotFoundError for links, folders, pipes and devices too.
    """
    flags = _WRITE | os.O_CREAT if create else _WRITE
    descriptor = _open(folder.child(name), flags, dir_fd=folder.fd)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return os.fdopen(descriptor, "r+b", buffering=0)


def new_file(folder: Place) -> tuple[str, BinaryIO]:
    """A new file to write, unbuffered. Ollama names its own so too: both remove such leftovers at start."""
    name = f"sha256-{secrets.randbelow(10**18):018d}"
    descriptor = os.open(folder.child(name), _CREATE, FILE_MODE, dir_fd=folder.fd)
    return name, os.fdopen(descriptor, "wb", buffering=0)


def write_all(file: BinaryIO, content: bytes | memoryview) -> None:
    """Write to an unbuffered file, which may take less than it is given when the disk runs full. Raises OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def remove_if_there(folder: Place, name: str) -> None:
    """Remove a file that may be gone already."""
    with suppress(FileNotFoundError):
        os.unlink(folder.child(name), dir_fd=folder.fd)


def sync(folder: Place) -> None:
    """Have the folder's names on the disk before going on, where the system can promise that."""
    if folder.fd is not None:
        os.fsync(folder.fd)


def write_whole(root: Path, parts: tuple[str, ...], content: bytes) -> None:
    """Write a file below `root` that is at any time the old or the new one, even if the power goes. Raises OSError."""
    *folders, name = parts
    with place(root, create=True) as top:
        partial, file = new_file(top)
        try:
            with file:
                write_all(file, content)
                os.fsync(file.fileno())
            with place(root, *folders, create=True) as folder:
                os.replace(top.child(partial), folder.child(name), src_dir_fd=top.fd, dst_dir_fd=folder.fd)
                sync(folder)
        finally:
            remove_if_there(top, partial)


def share_blocks(source: BinaryIO, target: BinaryIO) -> bool:
    """Make an empty file hold what another does without a byte being copied (a reflink), where the file system can."""
    if sys.platform != "linux":
        return False
    import fcntl  # noqa: PLC0415 -- not on every system

    try:
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    return True


@contextmanager
def refusals() -> Iterator[None]:
    """Tell what the system refuses as StoreFailed, a full disk as DiskFull, without a word about where the store is."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull("no space left on device") from error
        raise StoreFailed(f"models folder: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown error").lower()
