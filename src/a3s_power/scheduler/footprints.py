"""Footprints: what models were seen to take here when they had been loaded, kept for their next loads."""

import functools
from importlib import metadata
from pathlib import Path

from a3s_power.engines import ENGINES
from a3s_power.engines.engine import LoadOptions
from a3s_power.scheduler.need import Need
from a3s_power.scheduler.remembered import Remembered


class Footprints:
    """Bytes by weights, version of the engine, context, slots, type of cache, and what is loaded beside the weights.

    `file` is JSON; one that cannot be read is started anew, with a warning.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._bytes = Remembered(file, "footprints of models")
        self.save = self._bytes.save

    def seen(self, need: Need, options: LoadOptions) -> int:
        """What the child took with these options; 0 where that was never measured."""
        return int(self._bytes.get(_key(need, options)) or 0)

    def measured(self, need: Need, options: LoadOptions, taken: int) -> None:
        """So many bytes are taken by a child that was just loaded."""
        self._bytes.learn(_key(need, options), taken)


def _key(need: Need, options: LoadOptions) -> str:
    files = need.model.files
    beside = (len(files.projectors), len(files.adapters), options.gpu_layers, int(options.embedding))
    parts = (need.model.weights.hex, need.engine, _version(need.engine), options.context_length, options.parallel)
    return " ".join(map(str, (*parts, options.kv_cache_type, *beside)))


@functools.cache
def _version(engine: str) -> str:
    library = ENGINES[engine].requires if engine in ENGINES else ""
    try:
        return metadata.version(library) if library else "-"
    except metadata.PackageNotFoundError:
        return "-"
