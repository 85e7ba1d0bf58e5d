"""Cards of AMD, by the files of the kernel's driver `amdgpu`; one that sleeps is not asked, as that would wake it."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from a3s_power.hardware.cgroups import number, text
from a3s_power.hardware.gpus import Found, Gpu

_VENDOR: Final = "0x1002"
_CARD: Final = re.compile(r"card\d+")
_MEMORY: Final = "mem_info_vram_total"
_OWN_MEMORY: Final = (1, 2)
"""Kinds of memory banks that are a card's own: those that the processor sees, and those that it does not."""


class _Node(NamedTuple):
    """A processor as ROCm sees it, told from what the driver remembers: no card wakes of this."""

    place: int
    capability: str = ""
    unique: int = 0
    memory_bytes: int = 0


def look(root: Path) -> Found:
    """All cards, in the order in which ROCm counts them, those last that it does not know."""
    nodes = _nodes(root)
    unknown = _Node(len(nodes))
    cards = sorted(_cards(root), key=lambda card: (nodes.get(_render(card), unknown).place, _number(card)))
    found = ((card / "device", nodes.get(_render(card), unknown)) for card in cards)
    return Found(tuple(_card(device, index, node) for index, (device, node) in enumerate(found)))


def _cards(root: Path) -> list[Path]:
    return [
        card
        for card in (root / "sys/class/drm").glob("card*")
        if _CARD.fullmatch(card.name)
        and text(card / "device/vendor").strip() == _VENDOR
        and (card / "device" / _MEMORY).exists()
    ]


def _number(card: Path) -> int:
    return int(card.name.removeprefix("card"))


def _render(card: Path) -> int:
    """The number of the card's file for computing, by which ROCm knows it; -1 for none."""
    names = [file.name.removeprefix("renderD") for file in (card / "device/drm").glob("renderD*")]
    return int(names[0]) if names and names[0].isdecimal() else -1


def _nodes(root: Path) -> dict[int, _Node]:
    """ROCm's graphics processors by the number of that file, in its order."""
    found: dict[int, _Node] = {}
    folders = (root / "sys/class/kfd/kfd/topology/nodes").glob("*")
    for folder in sorted((each for each in folders if each.name.isdecimal()), key=lambda each: int(each.name)):
        told = _numbers(folder / "properties")
        if version := told.get("gfx_target_version", 0):
            banks = [_numbers(bank) for bank in (folder / "mem_banks").glob("*/properties")]
            own = sum(bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") in _OWN_MEMORY)
            node = _Node(len(found), _architecture(version), told.get("unique_id", 0), own)
            found[told.get("drm_render_minor", -1)] = node
    return found


def _numbers(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", text(path), re.MULTILINE)}


def _architecture(version: int) -> str:
    """`gfx90a` for 90010."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _card(device: Path, index: int, node: _Node) -> Gpu:
    asleep = text(device / "power/runtime_status").strip() in ("suspended", "suspending")
    unique = f"{node.unique:016x}" if node.unique else ""
    # What sleeps holds nothing in its memory.
    total, used, name = node.memory_bytes, 0, ""
    if not asleep:
        total, used = number(device / _MEMORY) or 0, number(device / "mem_info_vram_used") or 0
        unique = unique or text(device / "unique_id").strip().lower().removeprefix("0x")
        name = text(device / "product_name").strip()
    return Gpu(
        kind="rocm",
        index=index,
        uuid=f"GPU-{unique}" if unique else "",
        name=name or f"AMD {text(device / 'device').strip()}",
        total_bytes=total,
        free_bytes=max(0, total - used),
        capability=node.capability,
        asleep=asleep,
    )
