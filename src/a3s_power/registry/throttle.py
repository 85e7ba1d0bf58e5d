"""Throttle: all transfers of a process together take so many bytes a second, and fewer while people wait."""

import os
import threading
import time
from collections.abc import Callable
from typing import Final

from a3s_power.registry.cancel import Cancel

COURTESY_BYTES: Final = 25_000_000 * (os.cpu_count() or 1)
"""What may pass in a second while somebody is being answered: as much as answers hardly feel."""

_STEPS_A_SECOND: Final = 20
_LEAST_STEP_BYTES: Final = 1024


class Throttle:
    """A limit in bytes a second; 0 is none. While there is somebody to be `busy` with, it is `courtesy` at most.

    Thread-safe, and so must `busy` be.
    """

    def __init__(
        self, bandwidth: int = 0, *, courtesy: int = COURTESY_BYTES, busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._bandwidth = bandwidth
        self._courtesy = min(bandwidth, courtesy) if bandwidth else courtesy
        self._busy = busy
        self._mutex = threading.Lock()
        self._free_at = 0.0

    @property
    def step(self) -> int:
        """Most bytes that should pass at once, so that the flow is even; 0 for any number."""
        return max(_LEAST_STEP_BYTES, self._bandwidth // _STEPS_A_SECOND) if self._bandwidth else 0

    def take(self, count: int, cancel: Cancel) -> None:
        """Wait until these bytes, which have passed, are paid for. Raises Cancelled."""
        rate = self._courtesy if self._busy() else self._bandwidth
        if not rate:
            return
        now = time.monotonic()
        with self._mutex:
            self._free_at = max(now, self._free_at) + count / rate
            wait = self._free_at - now
        cancel.wait(wait)
