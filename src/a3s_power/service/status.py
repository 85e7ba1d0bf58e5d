"""How this machine is: what is in memory and what could not be, its engines, and since when it serves."""

import time
from collections.abc import Mapping
from importlib import metadata

from a3s_power.core.model import EngineState, FailedLoad, Resident
from a3s_power.engines import ENGINES
from a3s_power.scheduler.loop import Scheduler
from a3s_power.telemetry.metrics import METRICS, MODEL_MEMORY, MODELS_LOADED, QUEUE_DEPTH, Counters, Metric, Values


class LocalStatus:
    """The scheduler's view, what was counted, the table of engines, and the clock since the service was opened."""

    def __init__(self, scheduler: Scheduler, counters: Counters) -> None:
        self._scheduler = scheduler
        self._counters = counters
        self._since = time.monotonic()

    def loaded(self) -> list[Resident]:
        """The models in memory, the one that stays longest first."""
        return self._scheduler.resident()

    def degraded(self) -> tuple[str, ...]:
        """Graphics processors that are gone, or cannot be read."""
        return self._scheduler.degraded

    def failed(self) -> list[FailedLoad]:
        """The models whose last load failed, the latest at the end."""
        return self._scheduler.failed()

    def engines(self) -> list[EngineState]:
        """The engines that need a library, and whether that is here. Nothing is imported to find out."""
        return [
            EngineState(
                name=name, formats=tuple(sorted(info.formats)), library=info.requires, version=_version(info.requires)
            )
            for name, info in ENGINES.items()
            if info.requires
        ]

    def metrics(self) -> Mapping[Metric, Values]:
        """The values of every metric, as they are now."""
        loaded = self.loaded()
        counted = {metric: self._counters.values(metric) for metric in METRICS if metric.kind != "gauge"}
        return {
            **counted,
            QUEUE_DEPTH: {(): self._scheduler.waiting},
            MODELS_LOADED: {(): len(loaded)},
            MODEL_MEMORY: {(each.model.name.full,): each.memory_bytes for each in loaded},
        }

    def uptime_seconds(self) -> float:
        """Since the service was opened."""
        return time.monotonic() - self._since


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""
