"""A command on a real pseudo-terminal: keys are sent, and the screen is read back as a person would see it."""

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyte

from tests.served import DEADLINE, environment

_PIECE = 65536
_HISTORY = 5000
_OWN_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("a3s_power", run_name="__main__", alter_sys=True)
"""


_OWN_SHELL = """
import fcntl, os, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execl(%r, "bash", "--norc", "--noprofile", "-i")
"""


class Terminal:
    """A running command and the screen it writes on. `written` is all it wrote, with what drives a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int, columns: int, rows: int) -> None:
        self.process = process
        self.written = ""
        self._ours = ours
        self._screen = pyte.HistoryScreen(columns, rows, history=_HISTORY)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, and what has left it above, without blanks at the ends."""
        above = ["".join(line[at].data for at in range(self._screen.columns)) for line in self._screen.history.top]
        lines = [line.rstrip() for line in (*above, *self._screen.display)]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def screen(self) -> list[str]:
        """What stands on the screen itself, without empty lines."""
        return [line.rstrip() for line in self._screen.display if line.strip()]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and row of the cursor, from 0."""
        return self._screen.cursor.x, self._screen.cursor.y

    def send(self, keys: str) -> None:
        """Type."""
        data = keys.encode()
        while data:
            _, writable, _ = select.select([], [self._ours], [], 0.05)
            if writable:
                data = data[os.write(self._ours, data[:1024]) :]
            self._take(0)

    def resize(self, columns: int, rows: int) -> None:
        """The window has another size now."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def until(self, wanted: str | Callable[["Terminal"], bool]) -> None:
        """Wait until a text stands there, or a condition holds."""
        holds = wanted if callable(wanted) else lambda terminal: wanted in terminal.text
        end = time.monotonic() + DEADLINE
        while not holds(self):
            if time.monotonic() > end or not self._take(0.05):
                raise AssertionError(f"{wanted!r} did not come:\n{self.text}")

    def end(self) -> int:
        """Wait for the command's end; its status."""
        deadline = time.monotonic() + DEADLINE
        while self._take(0.05):
            assert time.monotonic() < deadline, self.text
        return self.process.wait(DEADLINE)

    def _take(self, seconds: float) -> bool:
        """Take in what the command writes within a time; false when it has ended."""
        readable, _, _ = select.select([self._ours], [], [], seconds)
        if not readable:
            return True
        with suppress(OSError):
            if data := os.read(self._ours, _PIECE):
                self.written += data.decode("utf-8", "replace")
                self._show(data)
                return True
        return False

    def _show(self, data: bytes) -> None:
        """Draw it. A terminal tells where its cursor is when it is asked."""
        *asked, rest = data.split(b"\x1b[6n")
        for piece in asked:
            self._stream.feed(piece)
            column, row = self.cursor
            os.write(self._ours, f"\x1b[{row + 1};{column + 1}R".encode())
        self._stream.feed(rest)


@contextmanager
def in_shell(home: Path, *, columns: int = 80, settings: Mapping[str, str] | None = None) -> Iterator[Terminal]:
    """An interactive bash, with `a3s-power` on its path and `$ ` as its prompt."""
    command = home / "bin" / "a3s-power"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m a3s_power "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    path = {"PATH": f"{command.parent}:{os.environ['PATH']}", "PS1": "$ ", "INPUTRC": os.devnull}
    code = _OWN_SHELL % (shutil.which("bash") or "/bin/bash")
    with _on_terminal(home, [sys.executable, "-c", code], columns, 24, {**(settings or {}), **path}) as terminal:
        terminal.until("$")
        yield terminal


@contextmanager
def on_terminal(
    home: Path, *args: str, columns: int = 80, rows: int = 24, settings: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """A command whose streams are all one terminal; killed at the end when it still runs."""
    with _on_terminal(home, [sys.executable, "-c", _OWN_TERMINAL, *args], columns, rows, settings) as terminal:
        yield terminal


@contextmanager
def _on_terminal(
    home: Path, command: Sequence[str], columns: int, rows: int, settings: Mapping[str, str] | None
) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    world = environment(home, {"PYTHONUTF8": "1", "TERM": "xterm-256color", **(settings or {})})
    process = subprocess.Popen(
        command, env=world, cwd=home, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours, columns, rows)
    finally:
        process.kill()
        process.wait(DEADLINE)
        os.close(ours)
