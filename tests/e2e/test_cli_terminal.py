"""The command on a terminal: nothing a model or a server says drives it, lines break between words, waiting is seen."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.scripted import Answer, Asked, Scripted, scripted
from tests.served import DEADLINE, environment

_ATTACKS = (
    "\x1b]52;c;QkFTRTY0\x07",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[6n",
    "\x1b]8;;http://evil\x07",
    "\x1bPq\x1b\\",
    "\x9b31m\x9d",
    "\r" + "\b" * 100 + "\x07",
    "\x1b[201~",
)


def _on_terminal(home: Path, server: Scripted, *args: str, columns: int = 40, typed: bytes = b"") -> tuple[int, str]:
    """Run a command whose standard streams are all one terminal; its status, and all that stood there in the end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    world = environment(home, {"OLLAMA_HOST": server.address, "PYTHONUTF8": "1"})
    command = [sys.executable, "-m", "a3s_power", *args]
    with subprocess.Popen(command, env=world, cwd=home, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, typed)
        written = b"".join(iter(lambda: _read(ours), b""))
        status = process.wait(DEADLINE)
    os.close(ours)
    return status, written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    """The next bytes, none at the end: Linux reports that as an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def _world(*lines: Mapping[str, Any]) -> dict[str, Answer]:
    done = {"response": "", "done": True, "eval_count": 1, "eval_duration": 1}
    return {
        "POST /api/show": Answer({"capabilities": ["completion"]}),
        "POST /api/generate": Answer(lines=(*lines, done)),
    }


@pytest.mark.parametrize("attack", _ATTACKS)
@pytest.mark.parametrize("cut", [1, 2, 1000])
def test_an_answer_cannot_drive_the_terminal(tmp_path: Path, attack: str, cut: int) -> None:
    pieces = [attack[at : at + cut] for at in range(0, len(attack), cut)]
    with scripted(_world(*({"response": piece} for piece in pieces))) as server:
        status, written = _on_terminal(tmp_path, server, "run", "m", "hi", "--nowordwrap", columns=400)
    assert status == 0
    assert written.endswith("\n\n")
    assert written.isprintable() or not [char for char in written if not char.isprintable() and char != "\n"]
    shown = "".join(f"\\x{ord(char):02x}" if ord(char) < 32 or 127 <= ord(char) < 160 else char for char in attack)
    assert written.strip("\n") == shown.replace("\\x0d", "")


def test_thinking_and_tool_calls_cannot_either(tmp_path: Path) -> None:
    call = {"function": {"name": "f\x1b[2J", "arguments": {"a": "\x1b[2J"}}}
    with scripted(_world({"thinking": "\x1b[2J"}, {"tool_calls": [call]})) as server:
        status, written = _on_terminal(tmp_path, server, "run", "m", "hi", columns=400)
    assert status == 0
    assert "\x1b[2J" not in written
    assert written.count("\\x1b[2J") == 2


def test_errors_of_a_server_cannot_either(tmp_path: Path) -> None:
    with scripted({"POST /api/show": Answer({"error": "\x1b]0;t\x07bad\nworse"}, 500)}) as server:
        status, written = _on_terminal(tmp_path, server, "show", "m", columns=400)
    assert (status, written) == (1, "Error: \\x1b]0;t\\x07bad\nworse\n")


def test_lines_break_between_words(tmp_path: Path) -> None:
    with scripted(_world(*({"response": f"{word} "} for word in ["lengthy"] * 10))) as server:
        _, wrapped = _on_terminal(tmp_path, server, "run", "m", "hi")
        _, whole = _on_terminal(tmp_path, server, "run", "m", "hi", "--nowordwrap")
    assert whole == "lengthy " * 10 + "\n\n"
    assert (
        wrapped
        == ("lengthy " * 4 + "len\x1b[3D\x1b[K\nlengthy ") + "lengthy " * 3 + "len\x1b[3D\x1b[K\nlengthy lengthy \n\n"
    )


def test_creating_shows_its_lines_and_leaves_them(tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text("FROM m")
    answer = Answer(lines=({"status": "creating \x1b]0;t\x07"}, {"status": "success"}))
    with scripted({"POST /api/create": answer}) as server:
        status, written = _on_terminal(tmp_path, server, "create", "mine", columns=400)
    assert status == 0
    assert "\x1b]" not in written
    last = written.rpartition("\x1b[1G")[2]
    assert (
        last
        == "gathering model components \x1b[K\ncreating \\x1b]0;t\\x07 \x1b[K\nsuccess \x1b[K\x1b[?25h\x1b[?2026l\n"
    )


_DIGEST = "sha256:" + "ab" * 32


def test_pulling_shows_a_bar_for_each_layer_and_leaves_them(tmp_path: Path) -> None:
    """Section 8 of the sheet; OUT-15: what a registry says cannot drive the terminal."""
    lines = (
        {"status": "pulling \x1b]0;t\x07manifest"},
        {"status": "pulling abababababab", "digest": _DIGEST, "total": 2_000_000_000, "completed": 500_000_000},
        {"status": "pulling abababababab", "digest": _DIGEST, "total": 2_000_000_000, "completed": 2_000_000_000},
        {"status": "pulling x", "digest": "x\x1b[2J", "total": 1, "completed": 1},
        {"status": "success"},
    )
    with scripted({"POST /api/pull": Answer(lines=lines)}) as server:
        status, written = _on_terminal(tmp_path, server, "pull", "m", columns=80)
    assert (status, "\x1b]" in written, "\x1b[2J" in written) == (0, False, False)
    first, bar, other, last = written.rpartition("\x1b[1G")[2].splitlines()
    assert first == "pulling \\x1b]0;t\\x07manifest \x1b[K"
    assert bar.startswith("pulling abababababab: 100% ▕████")
    assert bar.endswith("█▏   2 GB                         \x1b[K")
    assert other.startswith("pulling x\\x1b[2J: 100% ▕")
    assert last == "success \x1b[K\x1b[?25h\x1b[?2026l"


@pytest.mark.parametrize(("typed", "taken"), [(b"y\n", True), (b"n\n", False), (b"\n", False), (b"\x04", False)])
def test_what_a_search_found_is_asked_about(tmp_path: Path, typed: bytes, taken: bool) -> None:
    """OUT-13."""

    def answer(asked: Asked) -> Answer:
        if asked.body.get("consent"):
            return Answer(lines=({"status": "pulling from hf.co/u/r/m.gguf"}, {"status": "success"}))
        return Answer(lines=({"error": "A search found x", "found": "hf.co/u/r:Q4_K_M"},))

    with scripted({"POST /api/pull": answer}) as server:
        status, written = _on_terminal(tmp_path, server, "pull", "lama", columns=400, typed=typed)
    assert "A search of the hub found hf.co/u/r:Q4_K_M. Pull it? [y/N] " in written
    assert status == (0 if taken else 1)
    assert [body.get("consent", False) for body in server.bodies("/api/pull")] == [False, True][: 1 + taken]


def test_something_else_than_what_was_found_is_left(tmp_path: Path) -> None:
    """OUT-13: a search may find something else a moment later."""

    def answer(asked: Asked) -> Answer:
        if asked.body.get("consent"):
            return Answer(lines=({"status": "pulling from hf.co/evil/r/m.gguf"}, {"status": "success"}))
        return Answer(lines=({"error": "A search found x", "found": "hf.co/u/r:Q4_K_M"},))

    with scripted({"POST /api/pull": answer}) as server:
        status, written = _on_terminal(tmp_path, server, "pull", "lama", columns=400, typed=b"y\n")
    assert status == 1
    assert "Error: this is not hf.co/u/r:Q4_K_M, so it is left: pulling from hf.co/evil/r/m.gguf" in written
