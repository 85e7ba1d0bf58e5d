"""One writer at a time: a lock that the threads of a process and several processes share."""

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from a3s_power.log import get_logger
from a3s_power.store.files import make_folder
from a3s_power.store.layout import FILE_MODE

log = get_logger(__name__)

_UNSUPPORTED: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

_BEYOND_EVERY_END: Final = 2**62

if sys.platform == "win32":
    import msvcrt

    def _acquire(descriptor: int) -> None:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            except OSError as error:
                # LK_LOCK gives up after ten seconds.
                if error.errno != errno.EDEADLOCK:
                    raise
            else:
                return

    def _try_acquire(descriptor: int) -> None:
        # Windows' locks keep others from reading too, so the byte that is locked lies beyond every file's end.
        os.lseek(descriptor, _BEYOND_EVERY_END, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _acquire(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _try_acquire(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def taken(descriptor: int) -> bool:
    """Lock an open file for its descriptor's life; whether it was free. Where there are no locks it always was."""
    try:
        _try_acquire(descriptor)
    except OSError as error:
        return error.errno in _UNSUPPORTED
    return True


class StoreLock:
    """Held around every change of manifests and every removal of blobs; reading needs none.

    The system lets go of it when the process ends, however it ends. A thread that holds it may take it again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.RLock()
        self._depth = 0
        self._alone = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and keep it inside. Raises OSError or StoreFailed where the lock file cannot be made."""
        with self._mutex, ExitStack() as stack:
            if self._depth == 0:
                stack.enter_context(self._file_lock())
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        make_folder(self._path.parent)
        descriptor = os.open(self._path, _FLAGS, FILE_MODE)
        try:
            try:
                _acquire(descriptor)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._go_on_alone()
            yield
        finally:
            os.close(descriptor)

    def _go_on_alone(self) -> None:
        """The threads of this process still exclude each other."""
        if not self._alone:
            self._alone = True
            log.warning("this file system has no locks: only one server may use the models folder")
