"""A llama-server of ours: started so that it cannot outlive this process, waited for, and watched."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from a3s_power.core.errors import EngineMissing, LoadFailed
from a3s_power.core.limits import MIB

_LOOK_SECONDS: Final = 0.01
_NEAR_SECONDS: Final = 5.0
"""How long a program that answers no more may take to end: it may have much memory to give back."""
_DEVICES_SECONDS: Final = 60.0
"""A driver of graphics processors may take long to wake them."""

# The kernel's word that a child dies with its parent outlives exec, and nobody but the child itself can ask for it.
# The pipe on standard input, whose end llama-server waits for once it has loaded, is all there is elsewhere.
_DYING_WITH_US: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(3)
os.execv(sys.argv[2], sys.argv[2:])
"""
_DEVICE: Final = re.compile(r"\s*(?P<name>\w+): (?P<what>.*) \((?P<total>\d+) MiB, (?P<free>\d+) MiB free\)")


class Device(NamedTuple):
    """A graphics processor as llama-server names it; bytes of its memory."""

    name: str
    total_bytes: int
    free_bytes: int


def devices(program: str) -> list[Device]:
    """The graphics processors that a llama-server can use, which also tells that it runs here.

    Raises:
        EngineMissing: there is no such program, or it does not run; the message names it.
    """
    if not os.access(program, os.X_OK) or Path(program).is_dir():
        raise EngineMissing(f"llama-server {program!r} is not there, or is no program that may be run")
    try:
        ran = subprocess.run(  # noqa: S603 -- the operator's own program
            [program, "--list-devices"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # Where the environment says that somebody reads its progress, it keeps standard output for that.
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_DEVICES_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineMissing(f"llama-server {program!r} cannot be run: {error}") from error
    if ran.returncode != 0:
        raise EngineMissing(f"llama-server {program!r} cannot be run: {_why(ran.returncode, ran.stdout)}")
    return [
        Device(found["name"], int(found["total"]) * MIB, int(found["free"]) * MIB)
        for found in map(_DEVICE.fullmatch, ran.stdout.splitlines())
        if found is not None
    ]


def _why(code: int, said: str) -> str:
    if code < 0:
        # One built for another processor dies so.
        return f"killed by {signal.Signals(-code).name}"
    return (said.strip() or f"status {code}").splitlines()[-1]


class Process:
    """A llama-server. What it writes goes where this process's own output goes: its log, and its load's progress."""

    def __init__(self, program: str, arguments: Sequence[str]) -> None:
        """Start it, from the thread that lives as long as this process."""
        command = [program, *arguments]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _DYING_WITH_US, str(os.getpid()), *command]
        # Its standard input ends with this process, and not before.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 -- the operator's own program

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Return when it is ready. Raises LoadFailed when it ends before that; dies as it died if that was a crash."""
        while not ready():
            code = self._process.poll()
            if code is not None and code < 0:
                _end_like(code)
            if code is not None:
                # It never says why but on standard error, which the server reads.
                print(f"llama-server ended with status {code}", file=sys.stderr, flush=True)  # noqa: T201
                raise LoadFailed("llama.cpp could not load the model")
            time.sleep(_LOOK_SECONDS)

    def watch(self) -> None:
        """From now on, end this process when llama-server ends, as if it had been part of it."""
        self._watcher = threading.Thread(target=lambda: _end_like(self._process.wait()), daemon=True)
        self._watcher.start()

    def mourn(self) -> None:
        """Wait for that end, which is near, or else is none."""
        self._watcher.join(_NEAR_SECONDS)


def _end_like(code: int) -> NoReturn:
    """End this process as another one ended."""
    sys.stderr.flush()
    if code < 0:
        # To this thread, so that it is heard before the next line; one that is ignored, or Python's own, ends nothing.
        signal.pthread_kill(threading.get_ident(), -code)
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(code or 1)
