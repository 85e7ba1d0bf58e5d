"""What doctor says of graphics processors: which there are, whether the engine in use can use them, what to install."""

from typing import Final, NamedTuple

from a3s_power.core.sizes import human_bytes
from a3s_power.hardware.gpus import Found, Gpu

_ROCM: Final = frozenset(
    {
        *("gfx950", "gfx1030", "gfx1031", "gfx1032", "gfx1100", "gfx1101", "gfx1102"),
        *("gfx1150", "gfx1151", "gfx1200", "gfx1201"),
    }
)
"""What the engine's wheel for ROCm 7.2.4 has code for."""
_NEWEST: Final = "12.1"
"""The capability that only the wheel for CUDA 13.2 has code for; the one for 12.8 has some for all others."""
_PAGE: Final = "docs/engines.md"


class Told(NamedTuple):
    """Whether it is well, what was seen, and what to do."""

    ok: bool
    seen: str
    advice: str = ""


def told(found: Found, kinds: frozenset[str], *, required: bool) -> Told:
    """What to say of these cards to who uses an engine that is built for those kinds of them."""
    cards = "; ".join(map(_card, found.gpus))
    troubles = "; ".join(found.troubles)
    if not found.gpus:
        return _without(troubles, kinds, required=required)
    usable = kinds & {"vulkan", "other", *(gpu.kind for gpu in found.gpus)}
    if not usable:
        seen = f"{cards}; the engine in use is built for {_built(kinds)}"
        return Told(not required, seen, f"install the wheel for {wheel(found.gpus[0])}: {_PAGE}")
    return Told(not troubles, "; ".join(part for part in (cards, troubles) if part), _mend(troubles))


def wheel(gpu: Gpu) -> str:
    """Which of the engine's wheels has code for this card."""
    if gpu.kind == "cuda":
        return "CUDA 13.2" if gpu.capability == _NEWEST else "CUDA 12.8"
    return "ROCm 7.2.4" if gpu.capability in _ROCM else "Vulkan"


def _without(troubles: str, kinds: frozenset[str], *, required: bool) -> Told:
    if troubles:
        return Told(not kinds, troubles, _mend(troubles))
    if kinds - {"cuda", "rocm"}:
        return Told(ok=True, seen="the engine in use looks itself what cards there are")
    if required:
        return Told(ok=False, seen="no card, and gpu.require asks for one", advice="see a3s-power config show")
    return Told(ok=True, seen="no card: models run on the processor")


def _card(gpu: Gpu) -> str:
    known = [f"{human_bytes(gpu.free_bytes)} free of {human_bytes(gpu.total_bytes)}"] if gpu.total_bytes else []
    known += [gpu.capability] if gpu.capability else []
    known += [f"driver {gpu.driver}"] if gpu.driver else []
    known += ["asleep"] if gpu.asleep else []
    return f"{gpu.kind}:{gpu.index} {gpu.name} ({', '.join(known) or 'of unknown size'})"


def _built(kinds: frozenset[str]) -> str:
    return " and ".join(sorted(kinds)) if kinds else "processors only"


def _mend(troubles: str) -> str:
    return "look at the driver; a restart of the machine ends a mismatch of versions" if troubles else ""
