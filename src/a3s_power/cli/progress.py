"""How far long work is, on standard error: moving lines on a terminal, one line for each new state elsewhere."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TextIO

from a3s_power.cli.terminal import cut, is_terminal, one_line, size, width
from a3s_power.core.sizes import human_bytes

_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TICK_SECONDS: Final = 0.1
_SAMPLES: Final = 10
_SIZES: Final = len("500 MB/  2 GB")


class Spinner:
    """Something goes on, and how far cannot be told, or its message tells."""

    def __init__(self, message: str) -> None:
        self._message = one_line(message)
        self._frame = 0
        self._stopped = False

    def say(self, message: str) -> None:
        """The message from now on."""
        self._message = one_line(message)

    def stop(self) -> None:
        """It is done."""
        self._stopped = True

    def line(self, room: int) -> str:
        """How it looks now, on so many columns."""
        message = f"{cut(self._message, room - 4)} " if self._message else ""
        if self._stopped:
            return message
        self._frame = (self._frame + 1) % len(_FRAMES)
        return f"{message}{_FRAMES[self._frame]} "


class Bar:
    """Bytes on their way."""

    def __init__(self, message: str, total: int) -> None:
        self._message = one_line(message)
        self._total = total
        self._completed = 0
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    def set(self, completed: int, now: float | None = None) -> None:
        """So many bytes are there, now or at that second of a clock that only goes forward."""
        self._completed = min(completed, self._total)
        now = time.monotonic() if now is None else now
        if not self._samples or now - self._samples[-1][0] >= 1:
            self._samples.append((now, self._completed))

    def stop(self) -> None:
        """Nothing more comes."""

    def line(self, room: int) -> str:
        """How it looks now, on so many columns."""
        percent = 100 if not self._total else self._completed * 100 // self._total
        head, tail = f"{self._message} {percent:3d}% ", self._tail()
        cells = room - width(head) - width(tail) - 5
        if cells < 0:
            return self._narrow(room, f"{percent:3d}%", tail.rstrip())
        filled = cells * percent // 100
        return f"{head}▕{'█' * filled}{' ' * (cells - filled)}▏ {tail}"

    def _narrow(self, room: int, percent: str, tail: str) -> str:
        """As much as goes on one line: folded into two, the next drawing would miss the first."""
        for more in (f" {tail}", f" {tail[:_SIZES]}", ""):
            line = f"{self._message} {percent}{more}"
            if width(line) < room:
                return line
        return f"{cut(self._message, room - 6)} {percent}"

    def _tail(self) -> str:
        total = human_bytes(self._total)
        if self._completed >= self._total:
            return f"{total:>6}{' ' * 25}"
        sizes = f"{human_bytes(self._completed):>6}/{total:>6}"
        rate = self._rate()
        if not rate:
            return f"{sizes}{' ' * 20}"
        return f"{sizes}  {human_bytes(int(rate)):>6}/s  {_left((self._total - self._completed) / rate):>6}"

    def _rate(self) -> float:
        """Bytes a second over the last samples, 0 while there are too few."""
        if len(self._samples) < 2:
            return 0.0
        (since, before), (until, after) = self._samples[0], self._samples[-1]
        return (after - before) / (until - since)


def _left(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return "99h+" if hours >= 100 else f"{hours}h{minutes}m"
    return f"{minutes}m{whole % 60}s" if minutes else f"{whole}s"


class Progress:
    """The lines of one piece of long work, one under another. Use it as a context: leaving it stops the drawing."""

    def __init__(self, stream: TextIO | None = None, *, keep: bool = True) -> None:
        self._stream = stream or sys.stderr
        self._live = is_terminal(self._stream)
        self._keep = keep
        self._lines: list[Spinner | Bar] = []
        self._said = ""
        self._drawn: list[str] = []
        self._room = 0
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._painter = threading.Thread(target=self._paint, daemon=True)

    def __enter__(self) -> Self:
        if self._live:
            self._painter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Draw no more: the lines stay as they are, or go when they were not to be kept. Stopping again is fine."""
        if not self._live or self._done.is_set():
            return
        self._done.set()
        self._painter.join()
        with self._lock:
            for line in self._lines:
                line.stop()
            if self._keep:
                self._draw(whole=True)
                self._stream.write("\n" if self._drawn else "")
            elif self._drawn:
                rows = self._rows(size(self._stream).columns)
                self._stream.write("\x1b[2K" + "\x1b[A\x1b[2K" * (rows - 1) + "\x1b[1G")
            self._stream.flush()

    def status(self, message: str) -> None:
        """Work has come to this; nothing happens when it was said already."""
        if message != self._said:
            self._said = message
            self._add(Spinner(message), message)

    def spin(self, message: str = "") -> None:
        """Something goes on: a terminal shows it, nothing else does."""
        if self._live:
            self._add(Spinner(message), message)

    def bar(self, message: str, total: int) -> Bar:
        """A bar for so many bytes; its owner moves it on."""
        bar = Bar(message, total)
        self._said = ""
        self._add(bar, message)
        return bar

    def percent(self, message: str, fractions: Iterable[float]) -> None:
        """Work that tells its own fractions, 0 to 1, as it goes: shown behind the message."""
        spinner = Spinner(f"{message} 0%")
        if self._live:
            self._add(spinner, message)
        for fraction in fractions:
            spinner.say(f"{message} {int(fraction * 100)}%")
        if not self._live:
            self._add(spinner, f"{message} 100%")

    def _add(self, line: Spinner | Bar, message: str) -> None:
        if not self._live:
            print(one_line(message), file=self._stream, flush=True)
            return
        with self._lock:
            if self._lines:
                self._lines[-1].stop()
            self._lines.append(line)

    def _paint(self) -> None:
        while not self._done.wait(_TICK_SECONDS):
            with self._lock:
                self._draw()

    def _draw(self, *, whole: bool = False) -> None:
        """Draw what has changed since the last time; all of it when that is asked for, or the window has another width.

        A slow link thus carries a turning spinner and a moving bar, and no line that stands still.
        """
        room, height = size(self._stream)
        shown = [line.line(room) for line in self._lines[-height:]]
        if not shown or (shown == self._drawn and room == self._room and not whole):
            return
        rows, before = self._rows(room), self._drawn
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        cleared = "\x1b[J" if self._room not in (0, room) else ""
        kept = len(before) if room == self._room and not whole else 0
        text = "\n".join("" if at < kept and line == before[at] else f"{line}\x1b[K" for at, line in enumerate(shown))
        self._stream.write(f"\x1b[?2026h\x1b[?25l{up}\x1b[1G{cleared}{text}\x1b[?25h\x1b[?2026l")
        self._stream.flush()
        self._drawn, self._room = shown, room

    def _rows(self, room: int) -> int:
        """The rows that what was drawn takes now: terminals fold lines that a narrower window is too short for."""
        return sum(max(1, -(-width(line) // room)) for line in self._drawn)


def follow(lines: Iterable[Mapping[str, Any]], progress: Progress, label: Callable[[str, str], str]) -> None:
    """Show what the server says it does: a bar for each digest, `label` says how from digest and status."""
    bars: dict[str, Bar] = {}
    for line in lines:
        digest, status = str(line.get("digest", "")), str(line.get("status", ""))
        if not digest:
            progress.status(status)
        elif completed := line.get("completed"):
            if digest not in bars:
                bars[digest] = progress.bar(label(digest, status), line.get("total") or 0)
            bars[digest].set(completed)
