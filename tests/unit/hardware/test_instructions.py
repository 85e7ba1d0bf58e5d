"""What a processor calls itself, and which of its instructions the prebuilt engine makes no use of."""

import platform
from pathlib import Path

import pytest

from a3s_power.hardware.instructions import name, wide


@pytest.mark.parametrize(
    ("text", "found", "called"),
    [
        ("model name\t: AMD EPYC 9B14 96-Core Processor\nflags\t\t: fpu avx2 avx512f\n", "AVX-512", "AMD EPYC 9B14"),
        (
            "model name : Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz\nflags : avx512f amx_tile\n",
            "AVX-512 and AMX",
            "Intel Xeon Gold 6430",
        ),
        ("model name\t: Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz\nflags\t: avx avx2\n", "", "Intel Core i7-8650U"),
        ("Features : asimd\n", "", platform.machine()),
    ],
    ids=["amd", "xeon", "laptop", "arm"],
)
def test_a_processor_is_read(tmp_path: Path, text: str, found: str, called: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert (wide(tmp_path / "cpuinfo"), name(tmp_path / "cpuinfo")) == (found, called)


def test_where_nothing_is_told_nothing_is_known(tmp_path: Path) -> None:
    assert (wide(tmp_path / "cpuinfo"), name(tmp_path / "cpuinfo")) == ("", platform.machine())
