"""Footprints: what models take here, as it was foretold or seen when they had been loaded; kept for later loads."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from a3s_power.core.model import ModelFiles
from a3s_power.engines.builds import build
from a3s_power.engines.engine import Forecast, LoadOptions
from a3s_power.engines.llamacpp_params import Settings
from a3s_power.scheduler.need import Need
from a3s_power.scheduler.remembered import Remembered

Seen = Callable[[LoadOptions, Settings], int]
"""What a child takes in all after a load with these options, which come to these settings; 0 where nobody knows."""

_WEIGHTLESS: Final = {"threads": 0, "threads_batch": 0, "prompt_cache_mib": 0, "shift": False}
"""Settings that change nothing of it, or that it leaves out."""
_KEYS: Final = 1024


class Footprints:
    """Bytes by weights, engine and its version, the files beside the weights, and every setting that takes memory.

    `file` is JSON; one that cannot be read is started anew, with a warning.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._bytes = Remembered(file, "footprints of models")
        self._untouched: dict[str, int] = {}
        self.save = self._bytes.save

    def seen(self, need: Need, options: LoadOptions, chosen: Settings) -> int:
        """What the child takes when it has answered; 0 where that was never measured."""
        return int(self._bytes.get(_key(need, options, chosen)) or 0)

    def foretold(self, need: Need, options: LoadOptions, chosen: Settings, forecast: Forecast) -> None:
        """The engine's own word, before a load."""
        key = _key(need, options, chosen)
        self._bytes.learn(key, forecast.memory_bytes)
        self._untouched[key] = forecast.untouched_bytes

    def measured(self, need: Need, options: LoadOptions, chosen: Settings, taken: int, untouched: int) -> None:
        """So many bytes are taken by a child that was just loaded, and so many more will be when it answers.

        The engine's own word on the latter goes first.
        """
        key = _key(need, options, chosen)
        self._bytes.learn(key, taken + self._untouched.get(key, untouched))


def _key(need: Need, options: LoadOptions, chosen: Settings) -> str:
    own = (options.program, options.arguments, need.drafting.key if chosen.draft else "")
    return _spelled(need.model.weights.hex, need.engine, need.model.files, own, chosen)


@functools.lru_cache(_KEYS)
def _spelled(weights: str, engine: str, files: ModelFiles, own: tuple[object, ...], chosen: Settings) -> str:
    """The file's names are those of blobs, by digest; where the store lies does not matter."""
    named = [Path(path).name for path in files.projectors], [(Path(path).name, by) for path, by in files.adapters]
    rest = msgspec.json.encode((named, own, msgspec.structs.replace(chosen, **_WEIGHTLESS)))
    return " ".join((weights, engine, build(engine), hashlib.sha256(rest).hexdigest()[:16]))
