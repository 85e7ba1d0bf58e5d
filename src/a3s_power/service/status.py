"""How this machine is: what is in memory, and since when it serves."""

import time

from a3s_power.core.model import Resident
from a3s_power.scheduler.loop import Scheduler


class LocalStatus:
    """The scheduler's view, and the clock since the service was opened."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._since = time.monotonic()

    def loaded(self) -> list[Resident]:
        """The models in memory, the one that stays longest first."""
        return self._scheduler.resident()

    def uptime_seconds(self) -> float:
        """Since the service was opened."""
        return time.monotonic() - self._since
