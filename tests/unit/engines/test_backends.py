"""What native code is built for, by what it is linked with: files of a real linker, and files that are none."""

import shutil
import subprocess
from pathlib import Path

import pytest

from a3s_power.engines import backends

LIBRARIES = {
    "cuda": "libcuda.so.1",
    "cudart": "libcudart-2a7f1b3c.so.12.8",
    "rocm": "libamdhip64.so.7",
    "vulkan": "libvulkan.so.1",
    "other": "libcudbg.so.1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library for each of those, linked with a library of its name."""
    compiler = shutil.which("cc") or pytest.skip("no C compiler here")
    place = tmp_path_factory.mktemp("linked")
    (place / "empty.c").write_text("int there(void) { return 0; }\n")
    make: list[str | Path] = [compiler, "-shared", "-fPIC", place / "empty.c"]
    for name, needed in LIBRARIES.items():
        subprocess.run([*make, "-o", place / needed, f"-Wl,-soname,{needed}"], check=True)
        linked: list[str | Path] = ["-Wl,--no-as-needed", place / needed]
        subprocess.run([*make, "-o", place / f"libggml-{name}.so", *linked], check=True)
    return place


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("cuda", {"cuda"}), ("cudart", {"cuda"}), ("rocm", {"rocm"}), ("vulkan", {"vulkan"}), ("other", set())],
)
def test_a_library_is_built_for_what_it_is_linked_with(folder: Path, name: str, kinds: set[str]) -> None:
    assert backends.of_file(folder / f"libggml-{name}.so") == kinds


def test_a_program_runs_on_what_its_libraries_run_on(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin/llama-server"
    for place in (program, tmp_path / "lib/libggml-cuda.so", tmp_path / "bin/libggml-vulkan.so"):
        place.parent.mkdir(exist_ok=True)
        shutil.copy(folder / ("empty.c" if place is program else place.name), place)
    assert backends.of_program(program) == {"cuda", "vulkan"}
    assert backends.of_choice("llamaserver", str(program)) == {"cuda", "vulkan"}


def test_nobody_knows_what_a_script_starts(tmp_path: Path) -> None:
    script = tmp_path / "llama-server"
    script.write_text("#!/bin/sh\nexec /opt/llama-server\n")
    assert backends.of_program(script) == {"other"}
    assert backends.of_program(tmp_path / "missing") == frozenset()


@pytest.mark.parametrize(
    "content",
    [b"", b"#!/bin/sh\n", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + b"\xff" * 58, b"\x7fELF\x01\x01" + b"\0" * 60],
    ids=["empty", "a script", "cut off", "wild numbers", "of 32 bits"],
)
def test_a_file_that_is_something_else_is_built_for_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.so").write_bytes(content)
    assert backends.of_file(tmp_path / "x.so") == frozenset()


def test_what_is_not_there_is_built_for_nothing(tmp_path: Path) -> None:
    assert backends.of_file(tmp_path / "missing.so") == frozenset()
    assert backends.of_package("no_such_package_anywhere") == frozenset()
    assert backends.of_choice("echo") == frozenset()
    assert backends.of_choice("no such engine") == frozenset()
