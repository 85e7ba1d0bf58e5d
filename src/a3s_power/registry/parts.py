"""Parts: the content of one blob, fetched in parts by several threads and hashed by another as it arrives."""

import hashlib
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from io import FileIO
from typing import Final, Protocol

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadAnswer, NotThere, PowerError, Refused, RegistryFailed, Unreachable
from a3s_power.log import get_logger
from a3s_power.registry import threads
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.connection import Answer
from a3s_power.registry.settings import Settings
from a3s_power.registry.throttle import Throttle
from a3s_power.store.files import refusals, write_all
from a3s_power.store.partials import Part, Partial

log = get_logger(__name__)

_BUFFER_BYTES: Final = limits.MIB
_SAVE_SECONDS: Final = 1.0
_PROGRESS_BYTES: Final = limits.MIB
"""A try that brought as much as this does not count as a failed one."""

_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_WORTH_TRYING: Final = frozenset({401, 403, 404, 408, 410, 416, 425, 429})


class Source(Protocol):
    """Where the content of one blob is."""

    def open(self, first: int, last: int, size: int, cancel: Cancel) -> Answer:
        """The answer that holds the bytes from `first` to `last`, of `size` in all; it has a status below 400.

        Raises:
            NotThere: there is no such blob, and asking again would not help.
            RegistryFailed: it cannot be had now.
        """
        ...

    def forget(self) -> None:
        """Look anew where the content is: the last answer was not of use."""
        ...


class NoRanges(Exception):
    """The source only ever gives the whole."""


class Stalled(Unreachable):
    """No byte came for too long."""

    def __init__(self) -> None:
        super().__init__("part stalled")


def plan(size: int, settings: Settings) -> list[Part]:
    """The parts of a blob of `size` bytes, in order."""
    step = settings.cutting.size(size)
    return [
        Part(number=number, offset=offset, size=min(step, size - offset))
        for number, offset in enumerate(range(0, size, step))
    ]


class Fetch:
    """One go at the parts of a blob. `run` returns when all are there, or raises what was in the way."""

    def __init__(
        self,
        partial: Partial,
        parts: list[Part],
        source: Source,
        *,
        settings: Settings,
        throttle: Throttle,
        cancel: Cancel,
    ) -> None:
        self._partial = partial
        self._parts = parts
        self._source = source
        self._settings = settings
        self._throttle = throttle
        self._stop = Cancel()
        self._cancel = cancel
        self._todo = iter([part for part in parts if not part.done])
        self._mutex = threading.Lock()
        self._arrived = threading.Event()
        self._problem: BaseException | None = None
        self._digest = ""

    def run(self) -> Digest:
        """The digest of the whole.

        Raises:
            NoRanges: it must be fetched as one part.
            RegistryFailed, StoreFailed: why it cannot be had; what arrived stays.
        """
        missing = sum(not part.done for part in self._parts)
        work = [self._hash, *[self._fetch] * min(self._settings.streams, missing)]
        with self._cancel.closing(self._stop.ask), self._stop.closing(self._arrived.set):
            for thread in [threads.start(partial(self._guarded, one)) for one in work]:
                thread.join()
        self._cancel.check()
        if self._problem is not None:
            raise self._problem
        return Digest(self._digest)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do the work; its error, the first of all, stops the others."""
        try:
            work()
        # A thread's error is raised again by the one that waits for it.
        except BaseException as error:  # noqa: BLE001
            with self._mutex:
                self._problem = self._problem or error
            self._stop.ask()

    def _hash(self) -> None:
        digest, buffer = hashlib.sha256(), memoryview(bytearray(_BUFFER_BYTES))
        at = 0
        with self._partial.data() as data:
            for part in self._parts:
                while at < part.end:
                    while part.position == at:
                        self._arrived.wait()
                        self._stop.check()
                        self._arrived.clear()
                    with refusals():
                        count = data.readinto(buffer[: part.position - at])
                    digest.update(buffer[:count])
                    at += count
        self._digest = digest.hexdigest()

    def _fetch(self) -> None:
        buffer = memoryview(bytearray(min(_BUFFER_BYTES, self._throttle.step or _BUFFER_BYTES)))
        with self._partial.data() as data:
            while part := self._next():
                self._persist(part, data, buffer)

    def _next(self) -> Part | None:
        with self._mutex:
            return next(self._todo, None)

    def _persist(self, part: Part, data: FileIO, buffer: memoryview) -> None:
        """Fetch a part, trying again as long as that may help."""
        patience, tries = self._settings.patience, 0
        while not part.done:
            before = part.completed
            try:
                self._attempt(part, data, buffer)
            except (RegistryFailed, TimeoutError) as error:
                failure = Stalled() if isinstance(error, TimeoutError) else error
                self._stop.check()
                tries = 1 if part.completed - before >= _PROGRESS_BYTES else tries + 1
                _raise_if_hopeless(failure)
                if tries >= patience.tries:
                    _give_up(failure)
                log.debug("part is tried again", part=part.number, error=failure, tries=tries)
                self._source.forget()
                if not isinstance(failure, Stalled):
                    asked = failure.retry_after if isinstance(failure, Refused) else 0.0
                    self._stop.wait(patience.pause_after(tries, asked))

    def _attempt(self, part: Part, data: FileIO, buffer: memoryview) -> None:
        saved, before = time.monotonic(), part.completed
        try:
            with self._source.open(part.position, part.end - 1, self._partial.size, self._stop) as answer:
                self._check(answer, part)
                answer.start_bulk(self._settings.patience.stall)
                data.seek(part.position)
                while not part.done:
                    count = answer.readinto(buffer[: part.end - part.position])
                    with refusals():
                        write_all(data, buffer[:count])
                    part.completed += count
                    self._arrived.set()
                    self._throttle.take(count, self._stop)
                    if time.monotonic() - saved > _SAVE_SECONDS:
                        self._partial.save(part)
                        saved = time.monotonic()
        finally:
            if part.completed != before:
                self._partial.save(part)

    def _check(self, answer: Answer, part: Part) -> None:
        """Raise NoRanges or BadAnswer unless the answer holds what was asked for, or a beginning of it."""
        size = self._partial.size
        if answer.status == 200:
            if (part.position, part.end) != (0, size):
                raise NoRanges
            expected = size
        elif answer.status == 206:
            expected = _ranged(answer, part, size)
        else:
            raise BadAnswer(f"unexpected status code {answer.status}")
        if answer.length not in (None, expected):
            raise BadAnswer(f"{answer.url.bare} is {answer.length} bytes long and not {expected}")


def _ranged(answer: Answer, part: Part, size: int) -> int:
    """Bytes of the range that the answer says it holds. Raises BadAnswer when it is not the one asked for."""
    said = answer.header("Content-Range").strip()
    form = _RANGE.fullmatch(said)
    if form is None or int(form[1]) != part.position or not part.position <= int(form[2]) < part.end:
        raise BadAnswer(f"{answer.url.bare} answered the range {said!r} to one from {part.position} to {part.end - 1}")
    if form[3] not in ("*", str(size)):
        raise BadAnswer(f"{answer.url.bare} is {form[3]} bytes long and not {size}")
    return int(form[2]) - int(form[1]) + 1


def _raise_if_hopeless(failure: PowerError) -> None:
    hopeless = isinstance(failure, Refused) and 400 <= failure.code < 500 and failure.code not in _WORTH_TRYING
    if hopeless or isinstance(failure, NotThere):
        raise failure


def _give_up(failure: RegistryFailed) -> None:
    raise Unreachable(f"max retries exceeded: {failure}") from failure
