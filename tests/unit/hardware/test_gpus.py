"""Graphics processors: what is read of them, what hides them, and that nothing of it goes wrong aloud."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from a3s_power.hardware import gpus
from a3s_power.hardware.gpus import Gpu
from a3s_power.hardware.machine import Machine
from tests.cards import FakeNvml, a_root, compiled

GIB = 1024**3
FIRST = "GPU-00000000-1111-2222-3333-444444444444"
SECOND = "GPU-00000001-1111-2222-3333-444444444444"
NVIDIA = {"proc/driver/nvidia/version": "NVRM version: 570\n"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    """Compiled once."""
    return compiled(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(library: FakeNvml) -> Iterator[FakeNvml]:
    """Nothing goes wrong in it, and nobody has left it open."""
    library.library.fake_reset()
    yield library
    assert library.opened == 0


def found(root: Path, nvml: FakeNvml, environ: dict[str, str] | None = None) -> gpus.Found:
    return gpus.look(root, environ or {}, (nvml.path,))


def test_nvml_tells_of_each_card(nvml: FakeNvml, tmp_path: Path) -> None:
    first, second = found(a_root(tmp_path, NVIDIA), nvml).gpus
    assert first == Gpu(
        kind="cuda",
        index=0,
        uuid=FIRST,
        name="Fake Card 0",
        total_bytes=24 * GIB,
        free_bytes=8 * GIB,
        capability="8.6",
        driver="570.86.15",
    )
    assert (second.index, second.uuid, second.capability) == (1, SECOND, "8.9")


def test_what_is_free_is_read_anew_at_each_look(nvml: FakeNvml, tmp_path: Path) -> None:
    root = a_root(tmp_path, NVIDIA)
    before = found(root, nvml).gpus[0].free_bytes
    nvml.library.fake_free(3 * GIB)
    assert (before, found(root, nvml).gpus[0].free_bytes) == (8 * GIB, 3 * GIB)


def test_without_a_sign_of_a_card_nothing_is_loaded(nvml: FakeNvml, tmp_path: Path) -> None:
    assert found(tmp_path, nvml) == gpus.Found()


def test_a_driver_of_another_version_is_a_reason_and_no_error(nvml: FakeNvml, tmp_path: Path) -> None:
    nvml.library.fake_init(18)
    cards = found(a_root(tmp_path, NVIDIA), nvml)
    assert cards == gpus.Found(troubles=("NVML cannot be used: Driver/library version mismatch",), blind=True)


def test_a_lost_card_hides_no_other(nvml: FakeNvml, tmp_path: Path) -> None:
    nvml.library.fake_lost(0)
    cards = found(a_root(tmp_path, NVIDIA), nvml)
    assert [gpu.uuid for gpu in cards.gpus] == [SECOND]
    assert not cards.blind
    assert cards.troubles == ("graphics processor 0: GPU is lost",)


def test_one_that_cannot_count_says_so(nvml: FakeNvml, tmp_path: Path) -> None:
    nvml.library.fake_count(999)
    cards = found(a_root(tmp_path, NVIDIA), nvml)
    assert cards == gpus.Found(troubles=("NVML does not answer: Unknown Error",), blind=True)


def test_a_card_without_memory_of_its_own_is_of_unknown_size(nvml: FakeNvml, tmp_path: Path) -> None:
    nvml.library.fake_without_memory(1)
    first, second = found(a_root(tmp_path, NVIDIA), nvml).gpus
    assert (first.total_bytes, second.total_bytes) == (24 * GIB, 0)


def test_a_missing_library_is_a_reason(tmp_path: Path) -> None:
    cards = gpus.look(a_root(tmp_path, NVIDIA), {}, (str(tmp_path / "libmissing.so"),))
    assert cards.gpus == ()
    assert cards.troubles[0].startswith("NVML cannot be loaded: ")
    assert "libmissing.so" in cards.troubles[0]


def test_a_broken_library_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "libbroken.so").write_bytes(b"no library at all")
    cards = gpus.look(a_root(tmp_path, NVIDIA), {}, (str(tmp_path / "libbroken.so"),))
    assert cards.gpus == ()
    assert "libbroken.so" in cards.troubles[0]


def test_a_library_that_is_something_else_is_a_reason(tmp_path: Path) -> None:
    cards = gpus.look(a_root(tmp_path, NVIDIA), {}, ("libc.so.6",))
    assert cards == gpus.Found(troubles=("NVML cannot be used: it has no nvmlInit_v2",), blind=True)


def test_cards_that_sleep_are_not_woken_by_nvml(nvml: FakeNvml, tmp_path: Path) -> None:
    device = "sys/bus/pci/devices/0000:01:00.0"
    files = {
        f"{device}/vendor": "0x10de\n",
        f"{device}/class": "0x030000\n",
        f"{device}/power/runtime_status": "suspended\n",
        "proc/driver/nvidia/gpus/0000:01:00.0/information": (
            "Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   \t\t 130\nGPU UUID: \t GPU-0a1b2c3d\nDevice Minor: \t 0\n"
        ),
    }
    root = a_root(tmp_path, files)
    asleep = Gpu(kind="cuda", index=0, uuid="GPU-0a1b2c3d", name="NVIDIA GeForce RTX 4090", asleep=True)
    assert found(root, nvml).gpus == (asleep,)
    (root / device / "power/runtime_status").write_text("active\n")
    assert [gpu.uuid for gpu in found(root, nvml).gpus] == [FIRST, SECOND]


def amd(card: int, minor: int, **changed: str) -> dict[str, str]:
    """The files of a card as `amdgpu` writes them, some of them changed."""
    device = f"sys/class/drm/card{card}/device"
    files = {
        "vendor": "0x1002\n",
        "device": "0x744c\n",
        "power/runtime_status": "active\n",
        "mem_info_vram_total": f"{24 * GIB}\n",
        "mem_info_vram_used": f"{GIB}\n",
        "unique_id": f"a1b2c3d4e5f6000{card}\n",
        "product_name": "Radeon RX 7900 XTX\n",
        f"drm/renderD{minor}/dev": "",
    }
    return {f"{device}/{name}": content for name, content in (files | changed).items()}


def kfd(node: int, minor: int, version: int, unique: int = 0) -> dict[str, str]:
    """The files of a processor as ROCm's part of the driver writes them."""
    folder = f"sys/class/kfd/kfd/topology/nodes/{node}"
    return {
        f"{folder}/properties": f"unique_id {unique}\ndrm_render_minor {minor}\ngfx_target_version {version}\n",
        f"{folder}/mem_banks/0/properties": f"heap_type 1\nsize_in_bytes {20 * GIB}\nflags 0\n",
        f"{folder}/mem_banks/1/properties": f"heap_type 0\nsize_in_bytes {64 * GIB}\nflags 0\n",
    }


CPU_NODE = {"sys/class/kfd/kfd/topology/nodes/0/properties": "cpu_cores_count 16\ngfx_target_version 0\n"}


def test_a_card_of_amd_is_read_from_its_drivers_files(tmp_path: Path) -> None:
    root = a_root(tmp_path, amd(1, 128) | CPU_NODE | kfd(1, 128, 110000))
    assert gpus.look(root, {}).gpus == (
        Gpu(
            kind="rocm",
            index=0,
            uuid="GPU-a1b2c3d4e5f60001",
            name="Radeon RX 7900 XTX",
            total_bytes=24 * GIB,
            free_bytes=23 * GIB,
            capability="gfx1100",
        ),
    )


def test_cards_are_counted_as_rocm_counts_them(tmp_path: Path) -> None:
    nodes = CPU_NODE | kfd(2, 129, 90010) | kfd(10, 128, 100302)
    root = a_root(tmp_path, amd(0, 128) | amd(1, 129) | amd(2, 130) | nodes)
    cards = gpus.look(root, {}).gpus
    assert [(gpu.index, gpu.uuid[-1], gpu.capability) for gpu in cards] == [
        (0, "1", "gfx90a"),
        (1, "0", "gfx1032"),
        (2, "2", ""),
    ]


def test_a_card_of_amd_that_sleeps_is_not_read(tmp_path: Path) -> None:
    sleeping = {"power/runtime_status": "suspended\n", "mem_info_vram_used": "this would have woken it"}
    root = a_root(tmp_path, amd(0, 128, **sleeping) | kfd(1, 128, 110000, unique=0xA1B2))
    (card,) = gpus.look(root, {}).gpus
    assert (card.asleep, card.uuid, card.name) == (True, "GPU-000000000000a1b2", "AMD 0x744c")
    assert (card.total_bytes, card.free_bytes) == (20 * GIB, 20 * GIB)


def test_of_a_sleeping_card_that_rocm_does_not_know_the_size_is_unknown(tmp_path: Path) -> None:
    (card,) = gpus.look(a_root(tmp_path, amd(0, 128, **{"power/runtime_status": "suspended\n"})), {}).gpus
    assert (card.id, card.total_bytes) == ("rocm:0", 0)


def test_screens_and_others_cards_are_no_cards_of_amd(tmp_path: Path) -> None:
    files = {
        "sys/class/drm/card0/device/vendor": "0x8086\n",
        "sys/class/drm/card1-DP-1/status": "connected\n",
        "sys/class/drm/card2/device/vendor": "0x1002\n",
        "sys/class/drm/version": "drm 1.1.0\n",
    }
    assert gpus.look(a_root(tmp_path, files), {}) == gpus.Found()


CUDA = tuple(Gpu(kind="cuda", index=index, uuid=f"GPU-{index}{index}aa") for index in range(3))
ROCM = tuple(Gpu(kind="rocm", index=index, uuid=f"GPU-{index}{index}bb") for index in range(3))


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, "00aa 11aa 22aa 00bb 11bb 22bb"),
        ({"CUDA_VISIBLE_DEVICES": "2,0", "HIP_VISIBLE_DEVICES": "0"}, "22aa 00aa 00bb"),
        ({"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "1"}, "11bb"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ""),
        ({"CUDA_VISIBLE_DEVICES": "GPU-11, 0", "HIP_VISIBLE_DEVICES": ""}, "11aa 00aa"),
        ({"CUDA_VISIBLE_DEVICES": "0,7,1", "HIP_VISIBLE_DEVICES": ""}, "00aa"),
        ({"CUDA_VISIBLE_DEVICES": "0,0,1", "HIP_VISIBLE_DEVICES": ""}, "00aa"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-1-2", "ROCR_VISIBLE_DEVICES": ""}, "1-2"),
        ({"CUDA_VISIBLE_DEVICES": "none", "ROCR_VISIBLE_DEVICES": "GPU-22BB,1", "HIP_VISIBLE_DEVICES": "1"}, "11bb"),
        ({"CUDA_VISIBLE_DEVICES": "none", "GPU_DEVICE_ORDINAL": "2"}, "22bb"),
    ],
)
def test_cards_are_hidden_by_the_variables_of_their_makers(environ: dict[str, str], shown: str) -> None:
    cards = gpus.visible(CUDA + ROCM, environ)
    assert [gpu.uuid.partition("-")[2] for gpu in cards] == shown.split()


def test_a_machine_looks_for_cards_only_when_told_for_whom(nvml: FakeNvml, tmp_path: Path) -> None:
    root = a_root(tmp_path, NVIDIA)
    assert Machine.look(root).gpus == ()
    hidden = Machine.look(root, {"CUDA_VISIBLE_DEVICES": "1"}, (nvml.path,))
    assert [gpu.uuid for gpu in hidden.gpus] == [SECOND]
    assert hidden.gpu_troubles == ()
