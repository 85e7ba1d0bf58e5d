"""Cancel: how work in threads is told to stop, and what it waits for is taken from under it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from a3s_power.core.errors import Cancelled


class Cancel:
    """Asked once and for all, from any thread. What is `closing` is closed at that moment."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._closers: set[Callable[[], None]] = set()

    @property
    def asked(self) -> bool:
        """Whether the work shall stop."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Stop the work. Again changes nothing."""
        with self._lock:
            self._asked.set()
            closers, self._closers = self._closers, set()
        for close in closers:
            close()

    def check(self) -> None:
        """Raise Cancelled when the work shall stop."""
        if self.asked:
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Wait, unless the work shall stop. Raises Cancelled then, at once."""
        if self._asked.wait(max(0.0, seconds)):
            raise Cancelled

    @contextmanager
    def closing(self, close: Callable[[], None]) -> Iterator[None]:
        """Have `close` called when the work is stopped inside. It is called from the thread that asks."""
        self.add(close)
        try:
            yield
        finally:
            self.discard(close)

    def add(self, close: Callable[[], None]) -> None:
        """As `closing`, until `discard`; called at once when it is too late."""
        with self._lock:
            if not self.asked:
                self._closers.add(close)
                return
        close()

    def discard(self, close: Callable[[], None]) -> None:
        """Forget what was added."""
        with self._lock, suppress(KeyError):
            self._closers.remove(close)
