"""Builds of a source package of ten lines: by a real compiler, interrupted, without tools, and of another file."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import msgspec
import pytest

from a3s_power.core.errors import NotAllowed, NotSupported, PowerError
from a3s_power.native import build as building
from a3s_power.native.build import Order, build
from a3s_power.native.shelf import Shelf
from a3s_power.native.source import PINNED, Source, fetch, unpack
from a3s_power.native.tools import find
from tests.shared import REPOSITORY

_TOOLS = ("c++", "cmake", "ninja")
needs_tools = pytest.mark.skipif(not all(map(shutil.which, _TOOLS)), reason="no compiler, cmake or ninja here")

_CMAKE = """\
cmake_minimum_required(VERSION 3.5)
project(fake CXX)
foreach(name llama-server llama-bench)
  add_executable(${name} main.cpp)
endforeach()
"""
_MAIN = "int main() { return 0; }\n"
_SLOW = """\
cmake_minimum_required(VERSION 3.5)
project(fake NONE)
add_custom_target(llama-server COMMAND sh -c "echo $$ > begun && exec sleep 600" VERBATIM
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
add_custom_target(llama-bench)
"""


def _package(folder: Path, files: dict[str, str]) -> tuple[Path, Source]:
    """A source package with these files in its tree, and one that would be written elsewhere."""
    path = folder / "fake-1.0.tar.gz"
    inside = {f"fake-1.0/tree/{name}": text for name, text in files.items()}
    with tarfile.open(path, "w:gz") as package:
        for name, text in {**inside, "fake-1.0/other.py": "", "fake-1.0/tree/../../outside": ""}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            package.addfile(member, io.BytesIO(text.encode()))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path, Source(project="fake", version="1.0", file=path.name, sha256=digest, tree="tree")


def _order(package: Path, source: Source) -> Order:
    return Order(environ=os.environ, processor="AMD EPYC (TM)", jobs=2, said=str(package), source=source)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "engines")


@pytest.fixture(autouse=True)
def _tests_need_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "ROOM_BYTES", 1_000_000)


@needs_tools
def test_a_build_stands_on_the_shelf_and_leaves_nothing_else(tmp_path: Path, shelf: Shelf) -> None:
    package, source = _package(tmp_path, {"CMakeLists.txt": _CMAKE, "main.cpp": _MAIN})
    told: list[tuple[str, int, int]] = []
    made = build(_order(package, source), shelf, lambda *step: told.append(step))
    assert (made.name, made.version, made.backend) == ("1.0-amd-epyc", "1.0", "cpu")
    assert shelf.built() == [made]
    assert subprocess.run([shelf.program(made.name)], check=False).returncode == 0
    assert sorted(path.name for path in shelf.folder.iterdir()) == [made.name]
    assert sorted(path.name for path in (shelf.folder / made.name).iterdir()) == [
        *("engine.json", "llama-bench", "llama-server")
    ]
    assert not (tmp_path / "outside").exists()
    steps = [(done, total) for what, done, total in told if what == "building"]
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1] > 0
    # Again, over the first: somebody may be using that one.
    again = build(_order(package, source), shelf, lambda *_: None)
    assert [one.name for one in shelf.built()] == [again.name]
    assert again.built > made.built


@needs_tools
def test_a_failed_build_shows_its_last_lines_and_leaves_nothing(tmp_path: Path, shelf: Shelf) -> None:
    package, source = _package(tmp_path, {"CMakeLists.txt": _CMAKE, "main.cpp": "no program\n"})
    with pytest.raises(PowerError, match=r"ninja failed:\n(.*\n)*.*error"):
        build(_order(package, source), shelf, lambda *_: None)
    assert list(shelf.folder.iterdir()) == []


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path, shelf: Shelf) -> None:
    package, source = _package(tmp_path, {"CMakeLists.txt": _CMAKE})
    other = msgspec.structs.replace(source, sha256="0" * 64)
    with pytest.raises(PowerError, match=f"is not the source this version builds: its sha256 is {source.sha256}"):
        fetch(other, str(package), tmp_path, os.environ, offline=False)


def test_a_package_without_the_tree_is_refused(tmp_path: Path, shelf: Shelf) -> None:
    package, source = _package(tmp_path, {"README": "nothing to build\n"})
    with pytest.raises(PowerError, match="holds no tree"):
        unpack(package, source, tmp_path / "into")


def test_without_room_nothing_is_begun(tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "ROOM_BYTES", 1 << 60)
    monkeypatch.setattr(building, "find", lambda *_: None)
    package, source = _package(tmp_path, {})
    with pytest.raises(PowerError, match=r"a build takes .* and .* are free"):
        build(_order(package, source), shelf, lambda *_: None)


@pytest.mark.parametrize(
    ("release", "install"),
    [
        ("ID=debian\n", "apt install g++"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "apt install g++"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install gcc-c++"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "zypper install gcc-c++"),
        ("ID=arch\n", "pacman -S gcc"),
        ("ID=alpine\n", "apk add g++ linux-headers"),
        ("ID=unheard-of\n", "install g++ or clang++"),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="there it is the same for all")
def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, release: str, install: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(release)
    with pytest.raises(NotSupported) as caught:
        find({"PATH": str(tmp_path)}, root=tmp_path)
    assert str(caught.value) == f"a build takes a C++ compiler, and there is none: {install}"


def _programs(folder: Path, *names: str) -> dict[str, str]:
    """A search path with these programs."""
    for name in names:
        path = folder / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return {"PATH": str(folder)}


def test_the_card_and_its_toolkit_decide_what_is_built_for(tmp_path: Path) -> None:
    environ = _programs(tmp_path, "clang++", "nvcc", "cmake")
    # A toolkit without its card is of no use.
    found = find(environ, root=tmp_path)
    assert (found.backend, found.compiler, found.cmake, found.ninja) == (
        *("cpu", str(tmp_path / "clang++"), str(tmp_path / "cmake")),
        "",
    )
    assert find(environ, "cuda", root=tmp_path).backend == "cuda"
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    assert find(environ, root=tmp_path).backend == "cuda"
    assert find(environ, "cpu", root=tmp_path).backend == "cpu"
    with pytest.raises(NotSupported, match="hipcc is not there"):
        find(environ, "hip", root=tmp_path)


def test_offline_only_a_file_will_do(tmp_path: Path) -> None:
    package, source = _package(tmp_path, {"CMakeLists.txt": _CMAKE})
    assert fetch(source, str(package), tmp_path, {}, offline=True) == package
    for said in ("", "https://example.com/fake-1.0.tar.gz"):
        with pytest.raises(NotAllowed, match=r"offline: fake-1\.0\.tar\.gz was not fetched"):
            fetch(source, said, tmp_path, {}, offline=True)


def test_pip_fetches_it_and_runs_nothing_of_it(tmp_path: Path) -> None:
    poison = tmp_path / "ran"
    setup = f"open({str(poison)!r}, 'w')\n"
    path = tmp_path / "index" / "fake-1.0.tar.gz"
    path.parent.mkdir()
    backend = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    with tarfile.open(path, "w:gz") as package:
        for name, text in {"setup.py": setup, "pyproject.toml": backend, "PKG-INFO": ""}.items():
            member = tarfile.TarInfo(f"fake-1.0/{name}")
            member.size = len(text)
            package.addfile(member, io.BytesIO(text.encode()))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    source = Source(project="fake", version="1.0", file=path.name, sha256=digest, tree="tree")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environ = kept | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(path.parent), "PIP_CONFIG_FILE": os.devnull}
    for number, said in enumerate(["", path.as_uri()]):
        work = tmp_path / f"work-{number}"
        work.mkdir()
        found = fetch(source, said, work, environ, offline=False)
        assert found.read_bytes() == path.read_bytes()
    assert not poison.exists()
    other, work = msgspec.structs.replace(source, version="2.0"), tmp_path / "work"
    work.mkdir()
    with pytest.raises(PowerError, match=r"pip could not fetch fake-1.0.tar.gz: .*fake==2.0.*--source"):
        fetch(other, "", work, environ, offline=False)


def test_the_pinned_source_is_of_the_engines_own_version() -> None:
    locked = (REPOSITORY / "requirements.lock").read_text()
    entry = locked[locked.index(f"\n{PINNED.project}=={PINNED.version} ") :]
    assert f"--hash=sha256:{PINNED.sha256}" in entry[: entry.index("\n    #")]
    assert f'"{PINNED.project}=={PINNED.version}"' in (REPOSITORY / "pyproject.toml").read_text()


_INTERRUPTED = """
import signal, sys
from pathlib import Path
from a3s_power.native import build as building
from a3s_power.native.shelf import Shelf
from tests.unit.native import test_build as made
signal.signal(signal.SIGINT, signal.default_int_handler)
building.ROOM_BYTES = 1_000_000
folder = Path(sys.argv[1])
package, source = made._package(folder, {"CMakeLists.txt": made._SLOW})
try:
    building.build(made._order(package, source), Shelf(folder / "engines"), lambda *step: None)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(not all(map(shutil.which, _TOOLS[1:])), reason="no cmake or ninja here")
def test_an_interrupted_build_leaves_nothing(tmp_path: Path, shelf: Shelf) -> None:
    process = subprocess.Popen([sys.executable, "-c", _INTERRUPTED, str(tmp_path)], cwd=REPOSITORY)
    deadline, pid = time.monotonic() + 60, ""
    while not pid:
        assert process.poll() is None
        assert time.monotonic() < deadline
        pid = "".join(path.read_text().strip() for path in shelf.folder.glob(".building-*/source/begun"))
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert list(shelf.folder.iterdir()) == []
    while Path(f"/proc/{pid}/cmdline").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_killed_build_left_goes_with_the_next_one(shelf: Shelf) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, os.getpid()):
        (shelf.folder / f".building-{pid}-x").mkdir(parents=True)
    building._sweep(shelf.folder)
    assert [path.name for path in shelf.folder.iterdir()] == [f".building-{os.getpid()}-x"]
