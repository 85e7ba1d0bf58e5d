"""Machine: the cores and the memory that models may use here."""

import platform
from pathlib import Path
from typing import Final, Self

import msgspec

from a3s_power.hardware import cpu, memory

ROOT: Final = Path("/")
_X86: Final = frozenset({"x86_64", "AMD64", "i386", "i686"})


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What this process may use. `cores` are physical ones; bytes are of main memory, 0 where nobody can tell."""

    x86: bool
    cores: int
    memory_bytes: int
    free_bytes: int

    @classmethod
    def look(cls, root: Path = ROOT) -> Self:
        """Read it from the files below `root`, limits of control groups first. Reads a few dozen small files."""
        total, free = memory.read(root)
        return cls(x86=platform.machine() in _X86, cores=cpu.cores(root), memory_bytes=total, free_bytes=free)
