import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from a3s_power.core.errors import EngineFailed, PowerError
from a3s_power.create.child import Children


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "source"
    path.write_bytes(b"abc")
    with path.open("rb") as file:
        yield file.fileno()


@pytest.fixture
def children(tmp_path: Path) -> Children:
    """Children that may run modules of their own: the programs of these tests."""
    programs = {
        "echoes": (
            "import sys\n"
            "size = int.from_bytes(sys.stdin.buffer.read(8), 'little')\n"
            "sys.stdout.buffer.write(sys.stdin.buffer.read(size) * 2)\n"
        ),
        "complains": "import sys\nsys.exit('no\\nreason at all')\n",
        "explains": (
            'import sys\nprint(\'GGML_ASSERT\', file=sys.stderr)\nsys.exit(\'{"kind": "BadFile", "message": "odd"}\')\n'
        ),
        "ends": "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n",
        "stays": "import signal\nsignal.pause()\n",
    }
    for name, program in programs.items():
        (tmp_path / f"{name}.py").write_text(program)
    return Children({"PYTHONPATH": str(tmp_path)})


def _ask(children: Children, program: str, source: int, told: bytes | None, size: int) -> list[int]:
    """How large the pieces of the answer are."""
    with children.running(program, source=source) as child:
        if told is not None:
            child.send(told)
        return [len(piece) for piece in child.answer(size, 4096)]


def test_a_child_is_told_and_answers(children: Children, source: int) -> None:
    assert _ask(children, "echoes", source, b"abc" * 1000, 6000) == [4096, 1904]


_WITHOUT = "SIGILL, because this processor lacks instructions that llama.cpp's prebuilt library uses"


@pytest.mark.parametrize(
    ("program", "kind", "message"),
    [
        ("complains", "EngineFailed", "the process that reads the weights ended with status 1: reason at all"),
        ("explains", "BadFile", "odd"),
        ("ends", "EngineFailed", f"the process that reads the weights ended with {_WITHOUT}"),
    ],
)
def test_a_child_that_fails_says_why(children: Children, source: int, program: str, kind: str, message: str) -> None:
    with pytest.raises(PowerError) as caught:
        _ask(children, program, source, None, 1)
    assert (caught.value.kind, caught.value.message) == (kind, message)


def test_a_child_that_fails_at_its_end_fails_too(children: Children, source: int) -> None:
    with pytest.raises(EngineFailed, match="status 1"):
        _ask(children, "complains", source, None, 0)


def test_a_child_that_has_ended_cannot_be_told_anything(children: Children, source: int) -> None:
    with pytest.raises(EngineFailed, match="status 1"):
        _ask(children, "complains", source, bytes(1 << 20), 1)


def test_an_answer_that_is_cut_off_is_a_failure(children: Children, source: int) -> None:
    with pytest.raises(EngineFailed, match="ended with status 0"):
        _ask(children, "echoes", source, b"abc", 7)


def _leave(children: Children, source: int, seen: list[subprocess.Popen[bytes]]) -> None:
    with children.running("stays", source=source) as child:
        seen.append(child.process)
        raise LookupError


def test_who_leaves_early_leaves_no_child(children: Children, source: int) -> None:
    seen: list[subprocess.Popen[bytes]] = []
    with pytest.raises(LookupError):
        _leave(children, source, seen)
    assert [process.returncode for process in seen] == [-9]


def test_the_end_comes_to_all(children: Children, source: int) -> None:
    timer = threading.Timer(0.2, children.end)
    timer.start()
    with pytest.raises(EngineFailed, match="nobody waits for this model any more"):
        _ask(children, "stays", source, None, 1)
    timer.join()
    with pytest.raises(EngineFailed, match="nobody waits for this model any more"):
        _ask(children, "echoes", source, b"abc", 6)
