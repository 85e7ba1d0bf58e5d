"""Which build of an engine is in force: what was learnt of one says nothing of the next."""

import functools
import os
from importlib import metadata

from a3s_power.engines import ENGINES


def build(engine: str, program: str = "") -> str:
    """What tells one build of an engine from another, in a word; `program` is the path of one that is a program."""
    if program:
        try:
            there = os.stat(program)  # noqa: PTH116 -- on the way of every request
        except OSError:
            return "-"
        return f"{there.st_size}-{there.st_mtime_ns}"
    return _version(engine)


@functools.cache
def _version(engine: str) -> str:
    library = ENGINES[engine].requires if engine in ENGINES else ""
    try:
        return metadata.version(library) if library else "-"
    except metadata.PackageNotFoundError:
        return "-"
