"""Caches: how much main memory a child may fill with prompts of late, beside what its model takes; pure."""

from typing import Final

from a3s_power.core.limits import MIB

AUTOMATIC: Final = -1
_MOST_MIB: Final = 1024
_SHARE: Final = 10
"""One part in so many of what the load leaves free."""


def prompt_cache_mib(asked: int, free_bytes: int, taken_bytes: int) -> int:
    """MiB for prompts of a child that takes so many bytes of the free ones; `asked` is the operator's word."""
    if asked != AUTOMATIC:
        return asked
    return min(_MOST_MIB, max(0, free_bytes - taken_bytes) // _SHARE // MIB)


def unfilled_bytes(cache_mib: int, taken_bytes: int, takes_bytes: int) -> int:
    """What a child that took so many bytes when it had been loaded, and takes so many now, may still fill."""
    return max(0, cache_mib * MIB - max(0, takes_bytes - taken_bytes))
