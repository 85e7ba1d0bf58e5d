"""Graphics processors: which there are, with their memory, found without waking one that sleeps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

Kind = Literal["cuda", "rocm"]
"""The library that reaches a card."""

_NVIDIA: Final = ("proc/driver/nvidia", "dev/nvidiactl", "dev/dxg")
"""Where one of these is, there may be a card of NVIDIA; the last one is the door to it from Linux inside Windows."""
_VARIABLES: Final[Mapping[Kind, tuple[tuple[str, ...], ...]]] = {
    "cuda": (("CUDA_VISIBLE_DEVICES",),),
    "rocm": (
        ("ROCR_VISIBLE_DEVICES",),
        ("HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "CUDA_VISIBLE_DEVICES"),
    ),
}
"""What hides cards: each step counts among those that the step before it left, by the first variable that is set."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """A graphics processor. `index` counts those of its kind in the order of their maker's tools.

    Bytes are of its own memory; a `total_bytes` of 0 is not known: the card sleeps, or nobody can tell. `capability` is
    what code for it is built for, as `8.6` or `gfx1100`. `uuid` is empty where the card has none.
    """

    kind: Kind
    index: int
    uuid: str = ""
    name: str = ""
    total_bytes: int = 0
    free_bytes: int = 0
    capability: str = ""
    driver: str = ""
    asleep: bool = False

    @property
    def id(self) -> str:
        """What it is known by from look to look."""
        return self.uuid or f"{self.kind}:{self.index}"


class Found(NamedTuple):
    """The cards that were found, and why others could not be read.

    With `blind` nobody could be asked: a card that is not among them may well be there.
    """

    gpus: tuple[Gpu, ...] = ()
    troubles: tuple[str, ...] = ()
    blind: bool = False


def look(root: Path, environ: Mapping[str, str], libraries: tuple[str, ...] = ()) -> Found:
    """The cards that processes with this environment may use. Where there is no sign of one, nothing is loaded.

    `libraries` are NVML's, tried in turn; its own names where left out. Nothing stays open.
    """
    found: list[Found] = []
    if any((root / sign).exists() for sign in _NVIDIA):
        # Few machines have such cards, and ctypes is slow to import.
        from a3s_power.hardware import nvidia  # noqa: PLC0415

        found.append(nvidia.look(root, libraries or nvidia.LIBRARIES))
    if (root / "sys/class/drm").is_dir():
        from a3s_power.hardware import amd  # noqa: PLC0415

        found.append(amd.look(root))
    gpus = tuple(gpu for one in found for gpu in one.gpus)
    troubles = tuple(trouble for one in found for trouble in one.troubles)
    return Found(visible(gpus, environ), troubles, any(one.blind for one in found))


def visible(gpus: tuple[Gpu, ...], environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Those that CUDA's and ROCm's variables do not hide, in the order that these give them."""
    shown: list[Gpu] = []
    for kind, steps in _VARIABLES.items():
        those = tuple(gpu for gpu in gpus if gpu.kind == kind)
        for names in steps if those else ():
            said = next((environ[name] for name in names if name in environ), None)
            those = those if said is None else _chosen(those, said)
        shown += those
    return tuple(shown)


def _chosen(gpus: tuple[Gpu, ...], said: str) -> tuple[Gpu, ...]:
    """The cards of a list of numbers and beginnings of UUIDs; what comes behind a wrong word does not count."""
    chosen: list[Gpu] = []
    for word in map(str.strip, said.split(",")):
        gpu = _named(gpus, word)
        if gpu is None or gpu in chosen:
            break
        chosen.append(gpu)
    return tuple(chosen)


def _named(gpus: tuple[Gpu, ...], word: str) -> Gpu | None:
    if word.isdecimal():
        return gpus[int(word)] if int(word) < len(gpus) else None
    if word.startswith("MIG-") and gpus and gpus[0].kind == "cuda":
        # A slice of a card, of which nobody tells the size but the engine.
        return Gpu(kind="cuda", index=gpus[0].index, uuid=word, name="MIG slice")
    return next((gpu for gpu in gpus if word and gpu.uuid.lower().startswith(word.lower())), None)
