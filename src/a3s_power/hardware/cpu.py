"""How many cores this process may keep busy: by affinity, by what is a core and not half of one, and by quota."""

import os
from pathlib import Path

from a3s_power.hardware import cgroups


def cores(root: Path, allowed: frozenset[int] | None = None) -> int:
    """Physical cores, at least 1. `allowed` are the processors this process may run on, asked for when left out."""
    physical = len(_siblings(root, _affinity() if allowed is None else allowed))
    return max(1, min([physical, *_quotas(root)]))


def processors() -> int:
    """What this process's threads can be bound to; 0 where they cannot be bound."""
    return len(_bindable())


def _affinity() -> frozenset[int]:
    return _bindable() or frozenset(range(os.cpu_count() or 1))


def _bindable() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def _siblings(root: Path, allowed: frozenset[int]) -> set[str]:
    """The processors by core; one of which nothing is known is a core of its own."""
    folder = root / "sys/devices/system/cpu"
    return {cgroups.text(folder / f"cpu{cpu}/topology/thread_siblings_list").strip() or f"{cpu}" for cpu in allowed}


def _quotas(root: Path) -> list[int]:
    """Whole cores' worth of time that each control group may use, where it is limited."""
    found = [_quota(folder) for folder in cgroups.folders(root, "cpu")]
    return [quota for quota in found if quota is not None]


def _quota(folder: Path) -> int | None:
    both = cgroups.text(folder / "cpu.max").split()
    if len(both) == 2 and all(part.isdecimal() for part in both):
        time, period = int(both[0]), int(both[1])
    else:
        time = cgroups.number(folder / "cpu.cfs_quota_us") or 0
        period = cgroups.number(folder / "cpu.cfs_period_us") or 0
    return time // period if time > 0 and period > 0 else None
