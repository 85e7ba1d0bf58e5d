"""What a machine has, read from made-up system files."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from a3s_power.hardware import cpu, memory
from a3s_power.hardware.machine import Machine

GIB = 1024**3
MEMINFO = f"MemTotal:       {16 * 1024**2} kB\nMemFree:         1048576 kB\nMemAvailable:   {12 * 1024**2} kB\n"


def a_root(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def siblings(*groups: str) -> dict[str, str]:
    return {
        f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list": f"{group}\n"
        for number, group in enumerate(groups)
    }


@pytest.mark.parametrize(
    ("files", "allowed", "cores"),
    [
        pytest.param(siblings("0", "1", "2", "3"), {0, 1, 2, 3}, 4, id="four cores"),
        pytest.param(siblings("0,2", "1,3", "0,2", "1,3"), {0, 1, 2, 3}, 2, id="two cores of two threads"),
        pytest.param(siblings("0,2", "1,3", "0,2", "1,3"), {0, 2}, 1, id="both threads of one core"),
        pytest.param(siblings("0", "1", "2", "3"), {1, 2}, 2, id="half of them allowed"),
        pytest.param({}, {0, 1, 2}, 3, id="nothing known of them"),
        pytest.param(
            siblings("0", "1", "2", "3")
            | {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "250000 100000\n"},
            {0, 1, 2, 3},
            2,
            id="a quota of two and a half",
        ),
        pytest.param(
            siblings("0", "1")
            | {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "50000 100000\n",
            },
            {0, 1},
            1,
            id="a quota of half a core, of the group above",
        ),
        pytest.param(
            siblings("0", "1", "2", "3")
            | {
                "proc/self/cgroup": "3:cpu,cpuacct:/docker/x\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            {0, 1, 2, 3},
            3,
            id="version 1, in a container that sees only its own group",
        ),
        pytest.param(
            siblings("0", "1")
            | {
                "proc/self/cgroup": "3:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            {0, 1},
            2,
            id="version 1 without a quota",
        ),
        pytest.param(
            siblings("0", "1") | {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "much\n"},
            {0, 1},
            2,
            id="a file that says something else",
        ),
    ],
)
def test_cores_are_whole_ones_that_may_be_used(
    tmp_path: Path, files: dict[str, str], allowed: set[int], cores: int
) -> None:
    assert cpu.cores(a_root(tmp_path, files), frozenset(allowed)) == cores


@pytest.mark.parametrize(
    ("files", "total", "free"),
    [
        pytest.param({}, 16 * GIB, 12 * GIB, id="the machine's"),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a\n",
                "sys/fs/cgroup/a/memory.max": f"{4 * GIB}\n",
                "sys/fs/cgroup/a/memory.current": f"{3 * GIB}\n",
                "sys/fs/cgroup/a/memory.stat": f"anon 1\nactive_file {GIB // 4}\ninactive_file {GIB * 3 // 4}\n",
            },
            4 * GIB,
            2 * GIB,
            id="a group's, cached files count as free",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/memory.max": f"{8 * GIB}\n",
                "sys/fs/cgroup/a/memory.current": f"{9 * GIB}\n",
            },
            8 * GIB,
            0,
            id="that of the group above, overdrawn",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a\n",
                "sys/fs/cgroup/a/memory.max": f"{64 * GIB}\n",
                "sys/fs/cgroup/a/memory.current": "0\n",
            },
            16 * GIB,
            12 * GIB,
            id="a limit above what there is",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/x\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
                "sys/fs/cgroup/memory/memory.stat": f"inactive_file 5\ntotal_inactive_file {GIB // 2}\n",
            },
            2 * GIB,
            GIB + GIB // 2,
            id="version 1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
            },
            16 * GIB,
            12 * GIB,
            id="version 1 without a limit",
        ),
    ],
)
def test_memory_is_the_least_that_anybody_allows(tmp_path: Path, files: dict[str, str], total: int, free: int) -> None:
    assert memory.read(a_root(tmp_path, {"proc/meminfo": MEMINFO} | files)) == (total, free)


def test_old_kernels_do_not_say_what_is_available(tmp_path: Path) -> None:
    root = a_root(tmp_path, {"proc/meminfo": "MemTotal: 2048 kB\nMemFree: 1024 kB\n"})
    assert memory.read(root) == (2048 * 1024, 1024 * 1024)


def test_without_system_files_the_system_is_asked(tmp_path: Path) -> None:
    total, free = memory.read(tmp_path)
    assert total > 0
    assert free == total // 2


def test_a_group_path_cannot_lead_out_of_the_groups(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/../../x\n", "x/memory.max": "1\n", "proc/meminfo": MEMINFO}
    assert memory.read(a_root(tmp_path, files))[0] == 16 * GIB


def test_this_machine_has_something() -> None:
    machine = Machine.look()
    assert machine.cores >= 1
    assert 0 < machine.free_bytes <= machine.memory_bytes


@pytest.mark.parametrize(
    ("limit", "room"), [("1610612736", 1024 * 1024**2), ("104857600", 1), ("unlimited", 0), ("", 0)]
)
def test_a_limit_on_addresses_leaves_a_process_what_is_beyond_its_stacks(tmp_path: Path, limit: str, room: int) -> None:
    said = f"Limit Soft Hard\nMax open files 1024 4096 files\nMax address space  {limit}   unlimited  bytes\n"
    assert memory.a_process(a_root(tmp_path, {"proc/self/limits": said})) == room


def test_what_a_process_has_in_memory_is_read_in_pages(tmp_path: Path) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/statm").write_text("1000 25 3 1 0 9 0\n", encoding="ascii")
    assert memory.resident(7, tmp_path) == 25 * os.sysconf("SC_PAGE_SIZE")
    assert memory.resident(8, tmp_path) == 0
