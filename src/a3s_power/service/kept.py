"""Responses kept for those who go on from them: one SQLite file, bounded, out of which the longest unused go first."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from a3s_power.aio import in_thread
from a3s_power.core.errors import BadRequest, NotFound, StoreFailed, TooLarge
from a3s_power.core.limits import CHAT_BODY_BYTES, MIB
from a3s_power.service.ports import Kept

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE responses (
    id TEXT PRIMARY KEY, previous TEXT NOT NULL, used REAL NOT NULL, size INTEGER NOT NULL,
    items BLOB NOT NULL, answer BLOB NOT NULL
);
CREATE INDEX by_use ON responses (used, size);
"""
_BESIDE_BYTES: Final = 256
"""What a row takes beside its texts, generously."""


class LocalResponses:
    """Responses in a file that only its owner may read. Every method does its work in a thread, one at a time.

    At most `count` are kept and `size` bytes of them, each until it has not been used for `seconds`.

    Raises StoreFailed where the file cannot be used.
    """

    def __init__(self, file: Path, *, count: int, size: int, seconds: float) -> None:
        self._file = file
        self._count = count
        self._size = size
        self._seconds = seconds
        self._lock = threading.Lock()
        try:
            self._database = _opened(file)
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(f"{file}: responses cannot be kept: {error}") from error

    async def keep(self, kept: Kept) -> None:
        """Keep a response; others go where there is no room. Raises TooLarge for one that is too large alone."""
        await in_thread(self._keep, kept)

    async def find(self, number: str) -> Kept:
        """A response by its id. Raises NotFound."""
        return await in_thread(self._find, number)

    async def chain(self, number: str) -> tuple[Kept, ...]:
        """A response and all that it goes on from, the first one first.

        Raises NotFound where one of them is not here, BadRequest where they are too large together.
        """
        return await in_thread(self._chain, number)

    async def remove(self, number: str) -> None:
        """Forget a response. Raises NotFound."""
        await in_thread(self._remove, number)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _keep(self, kept: Kept) -> None:
        size = len(kept.items) + len(kept.answer) + _BESIDE_BYTES
        if size > self._size:
            raise TooLarge(f"a response of {size} bytes is larger than all that are kept may be together")
        with self._changing() as database:
            database.execute(
                "INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)",
                (kept.id, kept.previous, time.time(), size, kept.items, kept.answer),
            )
            self._make_room(database)

    def _make_room(self, database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM responses WHERE used < ?", (self._oldest(),))
        count, size = database.execute("SELECT count(*), total(size) FROM responses").fetchone()
        unused = database.execute("SELECT rowid, size FROM responses ORDER BY used, rowid")
        gone: list[tuple[int]] = []
        while count > self._count or size > self._size:
            row, bytes_ = unused.fetchone()
            gone.append((row,))
            count, size = count - 1, size - bytes_
        database.executemany("DELETE FROM responses WHERE rowid = ?", gone)

    def _find(self, number: str) -> Kept:
        with self._changing() as database:
            found = self._one(database, number)
            _use(database, [found])
        return found

    def _chain(self, number: str) -> tuple[Kept, ...]:
        found: list[Kept] = []
        left = CHAT_BODY_BYTES
        with self._changing() as database:
            while number:
                one = self._one(database, number)
                left -= len(one.items) + len(one.answer)
                if left < 0:
                    raise BadRequest(f"what the response goes on from is larger than {CHAT_BODY_BYTES // MIB} MiB")
                found.append(one)
                number = one.previous
            _use(database, found)
        return tuple(reversed(found))

    def _one(self, database: sqlite3.Connection, number: str) -> Kept:
        row = database.execute(
            "SELECT id, previous, items, answer FROM responses WHERE id = ? AND used >= ?", (number, self._oldest())
        ).fetchone()
        if row is None:
            raise NotFound(f"Response with id '{number}' not found.")
        return Kept(*row)

    def _remove(self, number: str) -> None:
        with self._changing() as database:
            gone = database.execute("DELETE FROM responses WHERE id = ? AND used >= ?", (number, self._oldest()))
            if not gone.rowcount:
                raise NotFound(f"Response with id '{number}' not found.")

    def _oldest(self) -> float:
        """The time of use before which nothing is kept."""
        return time.time() - self._seconds

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """The database; what is done inside is done whole or not at all."""
        with self._lock:
            try:
                with self._database:
                    yield self._database
            except sqlite3.Error as error:
                raise StoreFailed(f"{self._file}: {error}") from error


def _use(database: sqlite3.Connection, found: list[Kept]) -> None:
    """Note that these were used just now."""
    now = time.time()
    database.executemany("UPDATE responses SET used = ? WHERE id = ?", [(now, kept.id) for kept in found])


def _opened(file: Path) -> sqlite3.Connection:
    """The database, made if it is not there. Its journal gets the permissions of the file itself."""
    file.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
    file.chmod(0o600)
    database = sqlite3.connect(file, check_same_thread=False)
    # Pages of what is gone are overwritten and given back to the file system.
    database.executescript("PRAGMA auto_vacuum = FULL; PRAGMA secure_delete = ON; PRAGMA journal_mode = WAL;")
    database.execute("PRAGMA synchronous = NORMAL")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    elif version != _VERSION:
        raise sqlite3.DatabaseError(f"the file is of version {version}, and only {_VERSION} is known")
    return database
