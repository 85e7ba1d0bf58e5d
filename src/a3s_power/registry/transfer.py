"""Downloads: blobs that are on their way, each one job however many wait for it, stopped when nobody does any more."""

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadAnswer, BadFile, BlobNotFound, RegistryFailed, Unreachable
from a3s_power.registry import threads
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.parts import Fetch, NoRanges, Source, plan
from a3s_power.registry.settings import Settings
from a3s_power.registry.throttle import Throttle
from a3s_power.store import Store
from a3s_power.store.partials import Part, Partial

PROGRESS_SECONDS: Final = 0.06
_BUSY_SECONDS: Final = 0.2


class Wanted(msgspec.Struct, frozen=True):
    """A blob to fetch: its digest, or one that only names the download where not `known`; its bytes; its source."""

    digest: Digest
    size: int
    source: Source
    known: bool = True


class Downloads:
    """The downloads into one store. Thread-safe."""

    def __init__(self, store: Store, settings: Settings, throttle: Throttle) -> None:
        self._store = store
        self._settings = settings
        self._throttle = throttle
        self._mutex = threading.Lock()
        self._jobs: dict[Digest, _Job] = {}

    def fetch(self, wanted: Wanted, cancel: Cancel) -> Generator[int, None, Digest]:
        """Have the blob in the store, and its digest. Yields now and then how many bytes are there, last of all their
        full number. Who wants what is on its way already waits for it with the others.

        Raises:
            RegistryFailed, StoreFailed: why it cannot be had. What arrived stays for the next try.
            Cancelled: `cancel` was asked; the download goes on as long as others wait for it.
        """
        while True:
            with self._joined(wanted) as (job, own):
                try:
                    yield from job.follow(cancel)
                except RegistryFailed:
                    # The source of whoever began failed, or had been left alone: ours may do better.
                    if own or cancel.asked:
                        raise
                else:
                    return job.digest

    @contextmanager
    def _joined(self, wanted: Wanted) -> Iterator[tuple["_Job", bool]]:
        """The job for this blob, and whether it was begun for us."""
        with self._mutex:
            job = self._jobs.get(wanted.digest)
            own = job is None or job.over
            if job is None or job.over:
                job = self._jobs[wanted.digest] = _Job(wanted, self._store, self._settings, self._throttle)
                threads.start(partial(self._run, job))
            job.waiting += 1
        try:
            yield job, own
        finally:
            with self._mutex:
                job.waiting -= 1
                if not job.waiting:
                    job.cancel.ask()

    def _run(self, job: "_Job") -> None:
        job.run()
        with self._mutex:
            if self._jobs.get(job.wanted.digest) is job:
                del self._jobs[job.wanted.digest]


class _Job:
    """One blob on its way, in a thread of its own. `waiting` is how many want it."""

    def __init__(self, wanted: Wanted, store: Store, settings: Settings, throttle: Throttle) -> None:
        self.wanted: Final = wanted
        self.cancel: Final = Cancel()
        self.waiting = 0
        self.digest = wanted.digest
        self._store = store
        self._settings = settings
        self._throttle = throttle
        self._parts: list[Part] = []
        self._ended = threading.Event()
        self._error: BaseException | None = None

    @property
    def over(self) -> bool:
        """Whether it is too late to join."""
        return self._ended.is_set() or self.cancel.asked

    def follow(self, cancel: Cancel) -> Iterator[int]:
        """How many bytes are there, whenever that has changed, until all are; raises what came in between."""
        told = -1
        while not self._ended.wait(PROGRESS_SECONDS):
            cancel.check()
            there = sum(part.completed for part in self._parts)
            if there not in (told, self.wanted.size):
                yield (told := there)
        if self._error is not None:
            raise self._error
        yield self.wanted.size

    def run(self) -> None:
        """Fetch the blob."""
        try:
            self.digest = self._fetched()
        # Raised again in each thread that waits.
        except BaseException as error:  # noqa: BLE001
            self._error = error
        finally:
            self._ended.set()

    def _fetched(self) -> Digest:
        while not self._is_there():
            partial = self._store.partials.open(self.wanted.digest, self.wanted.size)
            if partial is not None:
                with partial:
                    return self._complete(partial)
            self.cancel.wait(_BUSY_SECONDS)
        return self.wanted.digest

    def _is_there(self) -> bool:
        return self.wanted.known and is_there(self._store, self.wanted.digest, self.wanted.size)

    def _complete(self, partial: Partial) -> Digest:
        if self._is_there():
            partial.discard()
            return self.wanted.digest
        digest = self._content(partial)
        if self.wanted.known and digest != self.wanted.digest:
            partial.discard()
            raise BadAnswer(f"digest mismatch, file must be downloaded again: want {self.wanted.digest}, got {digest}")
        partial.commit(digest)
        return digest

    def _content(self, partial: Partial) -> Digest:
        """The digest of all the content, which is there then; what came before is not fetched again."""
        self._parts = partial.parts()
        if not self._parts:
            self._cut(partial, plan(partial.size, self._settings))
        patience = self._settings.patience
        for tries in range(1, patience.tries + 1):
            try:
                return self._fetch(partial).run()
            except NoRanges:
                self._cut(partial, [Part(number=0, offset=0, size=partial.size)])
                self.cancel.wait(patience.pause_after(tries) if tries > 1 else 0.0)
        raise Unreachable("max retries exceeded: the connection broke, and only the whole can be asked for")

    def _fetch(self, partial: Partial) -> Fetch:
        return Fetch(
            partial,
            self._parts,
            self.wanted.source,
            settings=self._settings,
            throttle=self._throttle,
            cancel=self.cancel,
        )

    def _cut(self, partial: Partial, parts: list[Part]) -> None:
        partial.cut(parts)
        self._parts = parts


def is_there(store: Store, digest: Digest, size: int) -> bool:
    """Whether the blob is in the store, whole: one of another size is what a power cut left."""
    try:
        return store.blobs.size(digest) == size
    except (BlobNotFound, BadFile):
        return False
