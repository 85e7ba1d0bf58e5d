"""Workers: threads for a child's jobs, each used again by the next job, because starting one delays the first token."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

_NAME: Final = "job"


class Workers:
    """As many threads as there were ever jobs at once. A job never waits for another one to end."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._counting = threading.Lock()
        self._idle = 0

    def do(self, work: Callable[[], object]) -> None:
        """Begin work in a thread that has none, or in a new one. It must not raise."""
        with self._counting:
            found = self._idle > 0
            self._idle -= found
        if found:
            self._work.put(work)
        else:
            threading.Thread(target=self._life, args=(work,), name=_NAME, daemon=True).start()

    def _life(self, work: Callable[[], object]) -> None:
        while True:
            work()
            # What it held, such as a prompt, must not stay until the next one comes.
            del work
            with self._counting:
                self._idle += 1
            work = self._work.get()
