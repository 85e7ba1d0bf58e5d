"""What doctor says of graphics processors."""

import pytest

from a3s_power.cli.cards import told, wheel
from a3s_power.hardware.gpus import Found, Gpu

GIB = 1024**3
CARD = Gpu(
    kind="cuda",
    index=0,
    uuid="GPU-0",
    name="NVIDIA L4",
    total_bytes=24 * GIB,
    free_bytes=20 * GIB,
    capability="8.9",
    driver="570.86.15",
)
AMD = Gpu(kind="rocm", index=1, name="AMD 0x744c", capability="gfx1100", asleep=True)
BROKEN = ("NVML cannot be used: Driver/library version mismatch",)
NONE: frozenset[str] = frozenset()


def kinds(*names: str) -> frozenset[str]:
    return frozenset(names)


def test_cards_that_the_engine_uses_are_told_in_a_line() -> None:
    assert told(Found((CARD,)), kinds("cuda"), required=True) == (
        True,
        "cuda:0 NVIDIA L4 (21 GB free of 25 GB, 8.9, driver 570.86.15)",
        "",
    )


def test_an_engine_for_processors_only_is_told_with_what_to_install() -> None:
    said = told(Found((CARD,)), NONE, required=False)
    assert said.ok
    assert said.seen.endswith("; the engine in use is built for processors only")
    assert said.advice == "install the wheel for CUDA 12.8: docs/engines.md"
    assert not told(Found((CARD,)), NONE, required=True).ok


def test_an_engine_for_other_cards_is_none_for_these() -> None:
    said = told(Found((AMD,)), kinds("cuda"), required=False)
    assert "rocm:1 AMD 0x744c (gfx1100, asleep); the engine in use is built for cuda" in said.seen
    assert told(Found((AMD,)), kinds("vulkan"), required=False).advice == ""


@pytest.mark.parametrize(
    ("found", "kinds", "required", "ok", "seen"),
    [
        (Found(), NONE, False, True, "no card: models run on the processor"),
        (Found(), kinds("cuda"), True, False, "no card, and gpu.require asks for one"),
        (Found(), kinds("vulkan"), True, True, "the engine in use looks itself what cards there are"),
        (Found(troubles=BROKEN), kinds("cuda"), False, False, BROKEN[0]),
        (Found(troubles=BROKEN), NONE, False, True, BROKEN[0]),
    ],
)
def test_no_card_is_no_fault_unless_one_is_wanted(
    found: Found, kinds: frozenset[str], required: bool, ok: bool, seen: str
) -> None:
    assert told(found, kinds, required=required)[:2] == (ok, seen)


def test_a_lost_card_is_told_beside_the_others() -> None:
    said = told(Found((CARD,), ("graphics processor 1: GPU is lost",)), kinds("cuda"), required=False)
    assert (said.ok, said.seen.endswith("; graphics processor 1: GPU is lost")) == (False, True)
    assert said.advice


@pytest.mark.parametrize(
    ("kind", "capability", "name"),
    [
        ("cuda", "6.1", "CUDA 12.8"),
        ("cuda", "12.0", "CUDA 12.8"),
        ("cuda", "12.1", "CUDA 13.2"),
        ("cuda", "", "CUDA 12.8"),
        ("rocm", "gfx1201", "ROCm 7.2.4"),
        ("rocm", "gfx90a", "Vulkan"),
        ("rocm", "", "Vulkan"),
    ],
)
def test_the_wheel_is_chosen_by_what_the_card_can_do(kind: str, capability: str, name: str) -> None:
    assert wheel(Gpu(kind=kind, index=0, capability=capability)) == name  # type: ignore[arg-type]  # a table
