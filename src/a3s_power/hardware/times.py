"""How long processes, and all of them together, have kept processors busy."""

import os
from pathlib import Path

from a3s_power.hardware import cgroups


def processor_seconds(pid: int, root: Path = Path("/")) -> float:
    """The processor time of a process and its children so far; 0 where nobody can tell."""
    fields = cgroups.text(root / f"proc/{pid}/stat").rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if len(fields) > 12 else 0.0
    children = cgroups.text(root / f"proc/{pid}/task/{pid}/children").split()
    return own + sum(processor_seconds(int(child), root) for child in children)


def all_processors_seconds(root: Path = Path("/")) -> float:
    """The processor time of everything on the machine so far; 0 where nobody can tell."""
    # In order: user, nice, system, idle, iowait, irq, softirq, steal. Guests are counted among the users.
    fields = [int(field) for field in cgroups.text(root / "proc/stat").partition("\n")[0].split()[1:9]]
    return (sum(fields) - sum(fields[3:5])) / os.sysconf("SC_CLK_TCK")
