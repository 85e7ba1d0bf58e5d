"""Tunings: what was measured of an engine's settings here, by type and size of the weights, kept for the next loads."""

import functools
import itertools
from pathlib import Path
from typing import Final

from a3s_power.core.model import Facts
from a3s_power.engines.builds import build
from a3s_power.engines.tuning import Rates
from a3s_power.hardware import instructions
from a3s_power.scheduler.remembered import Remembered

_CPUINFO: Final = Path("/proc/cpuinfo")
_SPEEDS: Final = ("prompt", "first", "behind")
_SETTINGS: Final = tuple(itertools.product((False, True), repeat=2))


class Tunings:
    """The rates of settings by processor, engine, its version, type of weights, and size of the model.

    `file` is JSON; one that cannot be read is started anew, with a warning.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._speeds = Remembered(file, "speeds of settings")
        self._known: dict[str, tuple[Rates, ...]] = {}
        self.save = self._speeds.save

    def of(self, facts: Facts, engine: str, program: str = "") -> tuple[Rates, ...]:
        """What was measured of models of this kind; empty where nothing was."""
        key = _key(facts, engine, program)
        if key not in self._known:
            self._known[key] = tuple(rates for setting in _SETTINGS for rates in self._read(key, *setting))
        return self._known[key]

    def learn(self, facts: Facts, engine: str, program: str, measured: tuple[Rates, ...]) -> None:
        """These are the speeds of models of this kind."""
        key = _key(facts, engine, program)
        self._known[key] = measured
        for rates in measured:
            for name in _SPEEDS:
                self._speeds.learn(_place(key, rates.repack, rates.flash_attention, name), getattr(rates, name))

    def _read(self, key: str, repack: bool, flash_attention: bool) -> list[Rates]:  # noqa: FBT001 -- one setting
        speeds = [self._speeds.get(_place(key, repack, flash_attention, name)) or 0 for name in _SPEEDS]
        return [Rates(repack, flash_attention, *speeds)] if all(speeds) else []


def _place(key: str, repack: bool, flash_attention: bool, name: str) -> str:  # noqa: FBT001 -- one setting
    return f"{key} {repack:d}{flash_attention:d} {name}"


def _key(facts: Facts, engine: str, program: str) -> str:
    # Twice as large is another class: what fits into the processor's own memories is so for one and not for the next.
    size = facts.parameters.bit_length()
    return f"{_processor()} {engine} {build(engine, program)} {facts.file_type} {size}"


@functools.cache
def _processor() -> str:
    return instructions.name(_CPUINFO)
