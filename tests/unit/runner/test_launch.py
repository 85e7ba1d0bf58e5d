"""What a child is given: no secret, no proxy, nothing that sets up the engine behind our back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from a3s_power import __version__
from a3s_power.engines import ENGINES
from a3s_power.runner.launch import environment, launch
from a3s_power.runner.link import Lines
from a3s_power.runner.tail import is_error

FOLDER = Path("/private")


@pytest.mark.parametrize(
    "name",
    [
        *("HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "OLLAMA_HOST", "A3S_POWER_API_KEY", "HF_TOKEN"),
        *("LLAMA_ARG_MODEL", "LLAMA_CACHE", "LLAMA_MEDIA_MARKER", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK"),
        *("OPENAI_API_KEY", "GITHUB_TOKEN", "EDITOR"),
    ],
)
def test_a_child_does_not_inherit(name: str) -> None:
    assert name not in environment({name: "x"}, ENGINES["llamacpp"], FOLDER)


@pytest.mark.parametrize(
    "name",
    ["HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_WAIT_POLICY", "PYTHONPATH"],
)
def test_a_child_inherits(name: str) -> None:
    assert environment({name: "x"}, ENGINES["llamacpp"], FOLDER)[name] == "x"


def test_only_an_engine_that_may_start_programs_finds_any() -> None:
    assert environment({"PATH": "/bin"}, ENGINES["llamacpp"], FOLDER)["PATH"] == "/dev/null"
    assert environment({"PATH": "/bin"}, ENGINES["echo"], FOLDER)["PATH"] == "/bin"


def test_what_the_engine_needs_wins_over_what_the_server_has() -> None:
    world = environment({"GOMP_SPINCOUNT": "1", "TMPDIR": "/else"}, ENGINES["llamacpp"], FOLDER)
    assert (world["GOMP_SPINCOUNT"], world["TMPDIR"]) == ("2000", str(FOLDER))
    assert "GOMP_SPINCOUNT" not in environment({}, ENGINES["echo"], FOLDER)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux shows a process's environment")
def test_what_is_said_of_one_child_wins_over_both(tmp_path: Path) -> None:
    said = {"GOMP_SPINCOUNT": "7"}
    launched = launch("llamacpp", ENGINES["llamacpp"], {"GOMP_SPINCOUNT": "1"}, tmp_path, sys.executable, own=said)
    try:
        world = Path(f"/proc/{launched.process.pid}/environ").read_bytes().split(b"\0")
        assert [each for each in world if each.startswith(b"GOMP_SPINCOUNT")] == [b"GOMP_SPINCOUNT=7"]
    finally:
        launched.process.kill()
        launched.process.communicate()
        launched.link.close()


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    # In a process of its own: here other tests' servers open and close files at any time.
    program = """
import sys
from pathlib import Path
from a3s_power.engines import ENGINES
from a3s_power.runner.launch import launch
before = len(list(Path("/proc/self/fd").iterdir()))
try:
    launch("echo", ENGINES["echo"], {}, Path(sys.argv[1]), "/no/such/python", own={})
except FileNotFoundError:
    print(len(list(Path("/proc/self/fd").iterdir())) - before)
"""
    assert subprocess.check_output([sys.executable, "-c", program, str(tmp_path)], text=True) == "0\n"
    assert list(tmp_path.iterdir()) == []


def test_a_child_whose_parent_is_gone_ends_before_it_begins() -> None:
    ended = subprocess.run(runner(parent=1, version=__version__), check=False)
    assert ended.returncode == (3 if sys.platform == "linux" and os.getpid() != 1 else 0)


def test_a_child_of_another_version_than_its_server_says_so_and_ends() -> None:
    ended = subprocess.run(runner(os.getpid(), "0.0.7"), check=False, capture_output=True, text=True)
    assert ended.returncode == 5
    assert f"version {__version__} was put in the place of 0.0.7" in ended.stderr
    assert is_error(ended.stderr.strip())


def runner(parent: int, version: str) -> list[str]:
    asked = ["--fd", "0", "--parent", str(parent), "--engine", "echo", "--version", version]
    return [sys.executable, "-m", "a3s_power.runner", *asked]


def test_a_child_leaves_no_core_dump() -> None:
    program = (
        "import resource; from a3s_power.runner.guard import no_core_dump\n"
        "no_core_dump(); print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "(0, 0)\n"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_come_whole_however_they_were_cut(size: int) -> None:
    seen = list[str]()
    closed = list[bool]()
    lines = Lines(seen.append, lambda: closed.append(True))
    text = "erste\nzw\u00f6lf\n\nlast".encode()
    for at in range(0, len(text), size):
        lines.data_received(text[at : at + size])
    lines.connection_lost(None)
    assert (seen, closed) == (["erste", "zw\u00f6lf", "", "last"], [True])


def test_a_line_without_end_is_not_held_for_ever() -> None:
    lines = Lines(lambda _: None, lambda: None)
    for _ in range(100):
        lines.data_received(b"x" * 10_000)
    assert len(lines._held) <= 65_536
