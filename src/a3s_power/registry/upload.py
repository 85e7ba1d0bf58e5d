"""Upload: one blob on its way to a registry, in parts, gone on with where the connection broke."""

import hashlib
import http.client
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, Final, NamedTuple

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadAnswer, BadRequest, NotThere, Refused, RegistryFailed, StoreFailed, Unreachable
from a3s_power.log import get_logger
from a3s_power.registry import threads
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.client import Registry, checked, patiently
from a3s_power.registry.connection import Answer, Bytes
from a3s_power.registry.exchange import Exchange
from a3s_power.registry.settings import Settings
from a3s_power.registry.throttle import Throttle
from a3s_power.registry.urls import Url
from a3s_power.store import Store
from a3s_power.store.files import refusals

log = get_logger(__name__)

_CHUNK_BYTES: Final = limits.MIB // 4
_OCTETS: Final = "application/octet-stream"
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,19})")
_LOST: Final = frozenset({410, 416})
_FOR_THE_MOMENT: Final = frozenset({408, 425, 429})
_SESSIONS: Final = 3
_LOOK_SECONDS: Final = 0.1


class Piece(NamedTuple):
    """A part of the blob: its number, and where it begins and ends."""

    number: int
    start: int
    end: int


class Upload:
    """A blob of the store that a registry does not have yet. `completed` may be read from any thread meanwhile."""

    def __init__(
        self,
        digest: Digest,
        store: Store,
        registry: Registry,
        exchange: Exchange,
        *,
        settings: Settings,
        throttle: Throttle,
        cancel: Cancel,
    ) -> None:
        self._digest = digest
        self._store = store
        self._registry = registry
        self._exchange = exchange
        self._settings = settings
        self._throttle = throttle
        self._cancel = cancel
        self._size = store.blobs.size(digest)
        self._sent: dict[int, int] = {}
        self._sums: dict[int, bytes] = {}
        self._redirected = False

    @property
    def completed(self) -> int:
        """Bytes that the registry has, as far as we know."""
        return min(self._size, sum(list(self._sent.values())))

    def run(self, mounted_from: str = "") -> None:
        """Have the registry hold the blob; `mounted_from` is a repository of it that may have it already.

        Raises:
            RegistryFailed: it does not take it.
            BlobNotFound: it is not in the store any more.
        """
        for _ in range(_SESSIONS):
            session = patiently(partial(self._begin, mounted_from), self._settings.patience, self._cancel)
            if session is None:
                return
            try:
                self._commit(self._send_all(session))
            except _SessionLostError as error:
                # An answer that was lost may have been that all is there.
                if self._registry.has(self._digest, self._cancel):
                    return
                log.debug("upload starts anew", blob=self._digest, error=error)
                self._sent.clear()
                self._sums.clear()
            else:
                return
        raise Unreachable("max retries exceeded: the registry forgets what was uploaded")

    def _begin(self, mounted_from: str) -> Url | None:
        """Open a session; its address, or `None` when the registry found the blob in the other repository."""
        url = self._registry.uploads_url
        if mounted_from:
            url = url.asking([("from", mounted_from), ("mount", str(self._digest))])
        with checked(self._registry.ask("POST", url, self._cancel)) as answer:
            if answer.status == http.client.CREATED:
                self._sent = {0: self._size}
                return None
            return _session(answer)

    def _send_all(self, session: Url) -> Url:
        """Send every part, one after the other; those that go elsewhere beside each other. The session's address."""
        step = self._settings.cutting.size(self._size)
        pieces = [Piece(n, at, min(at + step, self._size)) for n, at in enumerate(range(0, self._size, step))]
        elsewhere = _Elsewhere(self._settings.streams, self._cancel)
        for piece in pieces:
            session, target = self._persist(session, piece)
            if target is not None:
                elsewhere.add(partial(self._put, target, piece))
        elsewhere.join()
        return session

    def _persist(self, session: Url, piece: Piece) -> tuple[Url, Url | None]:
        """Send one part, as often as that may help; the next part's address, and where else this one is to go."""
        start = piece.start
        for tries in itertools.count(1):
            try:
                return self._patch(session, piece, start)
            except RegistryFailed as error:
                self._sent[piece.number] = start - piece.start
                self._pause(error, tries)
            session, start = self._resumed(session, piece)
        raise AssertionError

    def _pause(self, error: RegistryFailed, tries: int) -> None:
        """Wait before the next try. Raises what failed when another try would not help."""
        self._cancel.check()
        code = error.code if isinstance(error, Refused) else 0
        if isinstance(error, NotThere) or code in _LOST:
            raise _SessionLostError(str(error)) from error
        if 400 <= code < 500 and code not in _FOR_THE_MOMENT:
            raise error
        if tries >= self._settings.patience.tries:
            raise Unreachable(f"max retries exceeded: {error}") from error
        asked = error.retry_after if isinstance(error, Refused) else 0.0
        self._cancel.wait(self._settings.patience.pause_after(tries, asked))

    def _patch(self, session: Url, piece: Piece, start: int) -> tuple[Url, Url | None]:
        headers = {
            "Content-Type": _OCTETS,
            "Content-Range": f"{start}-{piece.end - 1}",
            "X-Redirect-Uploads": "1",
        }
        with self._open() as file:
            body = _Body(file, piece, start, self._counted, self._passed)
            with self._registry.ask("PATCH", session, self._cancel, headers=headers, body=body) as answer:
                if answer.status == http.client.TEMPORARY_REDIRECT:
                    self._sent[piece.number] = 0
                    self._redirected = True
                    target = answer.target
                    if target is None:
                        raise BadAnswer("the registry sends a part elsewhere and does not say where")
                    return _session(answer), target
                next_session = _session(checked(answer))
            self._sums[piece.number] = body.sum
        return next_session, None

    def _resumed(self, session: Url, piece: Piece) -> tuple[Url, int]:
        """Ask how much of the part arrived: the session's address, and from where to go on."""
        if self._redirected:
            # What went elsewhere does not count in the registry's own answer.
            return session, piece.start
        try:
            with self._registry.ask("GET", session, self._cancel) as answer:
                said = _RANGE.fullmatch(answer.header("Range").strip())
                if answer.status in _LOST or answer.status == http.client.NOT_FOUND:
                    raise _SessionLostError(f"status {answer.status}")
                if answer.status >= 300 or said is None:
                    return session, piece.start
                # A registry that has nothing says the same as one that has a single byte.
                has = int(said[1]) + 1 if int(said[1]) else 0
                if not piece.start <= has <= piece.end:
                    raise _SessionLostError(f"{has} bytes arrived")
                return (_session(answer) if answer.header("Location") else session), has
        except Unreachable:
            return session, piece.start

    def _put(self, target: Url, piece: Piece) -> None:
        """Send a part to where the registry wants it, which is not told who we are."""
        for tries in itertools.count(1):
            try:
                with self._open() as file:
                    body = _Body(file, piece, piece.start, self._counted, self._passed)
                    headers = {"Content-Type": _OCTETS, "Authorization": ""}
                    checked(self._exchange.ask("PUT", target, self._cancel, headers=headers, body=body)).close()
                self._sums[piece.number] = body.sum
            except RegistryFailed as error:
                self._sent[piece.number] = 0
                self._pause(error, tries)
            else:
                return

    def _commit(self, session: Url) -> None:
        sums = [self._sums[number] for number in sorted(self._sums)]
        etag = f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"
        url = session.asking([("digest", str(self._digest)), ("etag", etag)])
        for tries in itertools.count(1):
            try:
                headers = {"Content-Type": _OCTETS}
                checked(self._registry.ask("PUT", url, self._cancel, headers=headers, body=Bytes())).close()
            except RegistryFailed as error:
                self._pause(error, tries)
            else:
                return

    def _open(self) -> BinaryIO:
        return self._store.blobs.open(self._digest)[1]

    def _passed(self, count: int) -> None:
        self._throttle.take(count, self._cancel)

    def _counted(self, piece: Piece, position: int) -> None:
        self._sent[piece.number] = position - piece.start


class _SessionLostError(Exception):
    """The registry knows nothing of the upload any more, or has other bytes of it than it was sent."""


class _Body:
    """A part of a blob as a request's body. `sum` is the MD5 of the whole part, once it was sent."""

    def __init__(
        self,
        file: BinaryIO,
        piece: Piece,
        start: int,
        counted: Callable[[Piece, int], None],
        passed: Callable[[int], None],
    ) -> None:
        self._file = file
        self._piece = piece
        self._start = start
        self._counted = counted
        self._passed = passed
        self.sum = b""

    @property
    def size(self) -> int:
        """Bytes to send."""
        return self._piece.end - self._start

    def chunks(self) -> Iterator[memoryview]:
        """The bytes, piece by piece; each is gone when the next is asked for."""
        total = hashlib.md5(usedforsecurity=False)
        buffer, at = memoryview(bytearray(_CHUNK_BYTES)), self._piece.start
        self._file.seek(at)
        while at < self._piece.end:
            border = self._start if at < self._start else self._piece.end
            with refusals():
                chunk = buffer[: self._file.readinto(buffer[: border - at])]  # type: ignore[attr-defined] # any file can
            if not chunk:
                raise StoreFailed("models folder: a blob is shorter than it was")
            total.update(chunk)
            at += len(chunk)
            if at > self._start:
                yield chunk
                self._passed(len(chunk))
                self._counted(self._piece, at)
        self.sum = total.digest()


class _Elsewhere:
    """Parts that are sent beside each other, so many at once."""

    def __init__(self, streams: int, cancel: Cancel) -> None:
        self._room = threading.Semaphore(streams)
        self._cancel = cancel
        self._threads: list[threading.Thread] = []
        self._problem: BaseException | None = None

    def add(self, work: Callable[[], None]) -> None:
        """Begin a part, once there is room for it. Raises what another one failed with."""
        while not self._room.acquire(timeout=_LOOK_SECONDS):
            self._check()
        self._check()
        self._threads.append(threads.start(partial(self._run, work)))

    def join(self) -> None:
        """Wait for all that was begun. Raises what one failed with."""
        for thread in self._threads:
            thread.join()
        self._check()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            if self._problem is None:
                work()
        # Raised again by the thread that waits.
        except BaseException as error:  # noqa: BLE001
            self._problem = self._problem or error
        finally:
            self._room.release()

    def _check(self) -> None:
        self._cancel.check()
        if self._problem is not None:
            raise self._problem


def _session(answer: Answer) -> Url:
    """Where the upload goes on. Raises BadAnswer when the registry does not say."""
    said = answer.header("Docker-Upload-Location") or answer.header("Location")
    try:
        return answer.url.join(said)
    except (BadRequest, ValueError) as error:
        raise BadAnswer("the registry does not say where to upload") from error
