"""Gate: all transfers of a process together pass so many bytes a second and no more."""

import threading
import time
from typing import Final

from a3s_power.registry.cancel import Cancel

_STEPS_A_SECOND: Final = 20
_LEAST_STEP_BYTES: Final = 1024


class Gate:
    """A limit in bytes a second; 0 is none. Thread-safe."""

    def __init__(self, bandwidth: int = 0) -> None:
        self._bandwidth = bandwidth
        self._mutex = threading.Lock()
        self._free_at = 0.0

    @property
    def step(self) -> int:
        """Most bytes that should pass at once, so that the flow is even; 0 for any number."""
        return max(_LEAST_STEP_BYTES, self._bandwidth // _STEPS_A_SECOND) if self._bandwidth else 0

    def take(self, count: int, cancel: Cancel) -> None:
        """Wait until these bytes, which have passed, are paid for. Raises Cancelled."""
        if not self._bandwidth:
            return
        now = time.monotonic()
        with self._mutex:
            self._free_at = max(now, self._free_at) + count / self._bandwidth
            wait = self._free_at - now
        cancel.wait(wait)
