"""Machine: the cores and the memory that models may use here."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec

from a3s_power.hardware import cpu, memory
from a3s_power.hardware.gpus import Found, Gpu
from a3s_power.hardware.gpus import look as look_for_gpus

ROOT: Final = Path("/")
_X86: Final = frozenset({"x86_64", "AMD64", "i386", "i686"})


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What this process may use. `cores` are physical ones; bytes are of main memory, 0 where nobody can tell.

    `processors` are all that threads can be bound to, halves of cores included, 0 where they cannot be bound.
    `process_bytes` is what a single process may take, 0 for no limit.

    `gpu_troubles` say why graphics processors could not be read that may be there; with `gpus_blind` nobody could be
    asked for them.
    """

    x86: bool
    cores: int
    memory_bytes: int
    free_bytes: int
    processors: int = 0
    process_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    gpu_troubles: tuple[str, ...] = ()
    gpus_blind: bool = False

    @classmethod
    def look(cls, root: Path = ROOT, environ: Mapping[str, str] | None = None, nvml: tuple[str, ...] = ()) -> Self:
        """Read it from the files below `root`, limits of control groups first. Reads a few dozen small files.

        Graphics processors are looked for where the environment is given that is to use them, and never woken.
        """
        total, free = memory.read(root)
        found = Found() if environ is None else look_for_gpus(root, environ, nvml)
        return cls(
            x86=platform.machine() in _X86,
            cores=cpu.cores(root),
            memory_bytes=total,
            free_bytes=free,
            processors=cpu.processors(),
            process_bytes=memory.a_process(root),
            gpus=found.gpus,
            gpu_troubles=found.troubles,
            gpus_blind=found.blind,
        )
