"""The processor's name, and those of its instructions that only a build for it makes use of."""

import platform
import re
from pathlib import Path
from typing import Final

_WIDE: Final = {"avx512f": "AVX-512", "amx_tile": "AMX"}
_VENDORS: Final = re.compile(r"\((R|TM)\)|\bCPU\b|\bProcessor\b|@.*|\d+-Core", re.IGNORECASE)


def wide(cpuinfo: Path) -> str:
    """`AVX-512`, `AMX`, or both, where `/proc/cpuinfo` tells of them; empty without."""
    flags = _said(cpuinfo, "flags").split()
    return " and ".join(name for flag, name in _WIDE.items() if flag in flags)


def name(cpuinfo: Path) -> str:
    """What the processor calls itself, short; the kind of machine where it has no name."""
    return " ".join(_VENDORS.sub(" ", _said(cpuinfo, "model name")).split()) or platform.machine()


def _said(cpuinfo: Path, key: str) -> str:
    try:
        text = cpuinfo.read_text("utf-8")
    except OSError:
        return ""
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "")
