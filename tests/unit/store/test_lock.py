"""The store's lock: one holder at a time, and the same thread as often as it likes."""

import errno
import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from a3s_power.core.errors import StoreFailed
from a3s_power.store.lock import StoreLock


def _count_with(locks: list[StoreLock], path: Path) -> int:
    """Raise a number in a file many times from several threads, without any help but the locks."""
    path.write_text("0")
    together = threading.Barrier(len(locks))

    def raise_it(lock: StoreLock) -> None:
        together.wait(10)
        for _ in range(50):
            with lock.held():
                number = int(path.read_text())
                with lock.held():
                    path.write_text(str(number + 1))

    with ThreadPoolExecutor(len(locks)) as pool:
        list(pool.map(raise_it, locks))
    return int(path.read_text())


def test_threads_with_one_lock_take_turns(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path / ".lock")
    assert _count_with([lock] * 4, tmp_path / "number") == 200


def test_holders_of_different_locks_on_one_file_take_turns(tmp_path: Path) -> None:
    locks = [StoreLock(tmp_path / ".lock") for _ in range(4)]
    assert _count_with(locks, tmp_path / "number") == 200


def test_an_error_inside_lets_go_of_it(tmp_path: Path) -> None:
    first, second = StoreLock(tmp_path / ".lock"), StoreLock(tmp_path / ".lock")
    with pytest.raises(KeyError), first.held(), first.held():
        raise KeyError
    with second.held():
        assert (tmp_path / ".lock").is_file()


def test_its_folder_is_made_when_it_is_first_needed(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path / "deep/models/.lock")
    assert list(tmp_path.iterdir()) == []
    with lock.held():
        assert (tmp_path / "deep/models/.lock").stat().st_mode & 0o777 & ~0o644 == 0


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"), StoreLock(tmp_path / ".lock").held():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailed, match="ensure path elements"), StoreLock(tmp_path / "file/models/.lock").held():
        pass


def test_where_the_file_system_has_no_locks_threads_still_take_turns_and_the_log_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert _count_with([StoreLock(tmp_path / ".lock")] * 4, tmp_path / "number") == 200
    assert caplog.messages == ["this file system has no locks: only one server may use the models folder"]


def test_another_refusal_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="Input/output"), StoreLock(tmp_path / ".lock").held():
        pass
