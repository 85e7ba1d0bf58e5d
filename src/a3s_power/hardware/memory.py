"""Main memory in total and free: what the machine has, or what its control groups leave of it."""

import os
import re
import sys
from pathlib import Path
from typing import Final

from a3s_power.core.limits import MIB
from a3s_power.hardware import cgroups

_ADDRESSES: Final = re.compile(r"^Max address space +(\d+)", re.MULTILINE)
_UNUSED_ADDRESSES: Final = 512 * MIB
"""Without a limit a child was seen to use 700 to 1,100 MiB more than it took, and with one at least 310."""


def read(root: Path) -> tuple[int, int]:
    """Total and free bytes, both 0 where nobody can tell. Free counts what the system can drop at once."""
    totals, frees = [], []
    for total, free in (_machine(root), *map(_group, cgroups.folders(root, "memory"))):
        if total:
            totals.append(total)
            frees.append(free)
    return min(totals, default=0), min(frees, default=0)


def a_process(root: Path) -> int:
    """The bytes of main memory that a process may take which runs an engine, by its limit on addresses; 0 for none.

    Far more addresses than memory are used: for the stacks and the heaps of threads, and for code.
    """
    limit = _ADDRESSES.search(cgroups.text(root / "proc/self/limits"))
    return max(1, int(limit[1]) - _UNUSED_ADDRESSES) if limit else 0


def resident(pid: int, root: Path = Path("/")) -> int:
    """The bytes that a process and its children have in main memory, mapped files included; 0 if nobody can tell."""
    counts = cgroups.text(root / f"proc/{pid}/statm").split()
    pages = int(counts[1]) if len(counts) > 1 and counts[1].isdecimal() else 0
    own = pages * os.sysconf("SC_PAGE_SIZE") if pages else 0
    # An engine may be a program of its own, which the first thread started.
    children = cgroups.text(root / f"proc/{pid}/task/{pid}/children").split()
    return own + sum(resident(int(child), root) for child in children)


def _machine(root: Path) -> tuple[int, int]:
    lines = _numbers(root / "proc/meminfo")
    if "MemTotal" in lines:
        return lines["MemTotal"] * 1024, lines.get("MemAvailable", lines.get("MemFree", 0)) * 1024
    if sys.platform != "win32" and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        # Nobody says how much is free here; half of it is a guess that has done no harm.
        return total, total // 2
    return 0, 0


def _group(folder: Path) -> tuple[int, int]:
    """A control group's limit, 0 for none, and what is left of it; cached files count as left, read twice or once."""
    for limit_file, used_file, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        limit = cgroups.number(folder / limit_file)
        if limit is not None:
            used, kinds = cgroups.number(folder / used_file) or 0, _numbers(folder / "memory.stat")
            cached = sum(kinds.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
            return limit, max(0, min(limit, limit - used + cached))
    return 0, 0


def _numbers(path: Path) -> dict[str, int]:
    """The lines of a file that are a name and a number."""
    return {name: int(value) for name, value in re.findall(r"^(\w+):?\s+(\d+)", cgroups.text(path), re.MULTILINE)}
