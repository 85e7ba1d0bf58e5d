"""Children: processes that touch the numbers of other people's files, and end when nobody waits for them."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Final, cast

import msgspec

from a3s_power.core.errors import EngineFailed, PowerError, revive

_SAID_BYTES: Final = 4096
"""How much of a child's last words is looked at."""


class Failure(msgspec.Struct, frozen=True):
    """A child's last line on standard error, in JSON, when it failed and knows why."""

    kind: str
    message: str


class Children:
    """All processes of one build. `environ` is their whole environment; `end` may be called from any thread."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(environ or {})
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False
        self._mutex = threading.Lock()

    def end(self) -> None:
        """Kill those that run, and let none start any more."""
        with self._mutex:
            self._ended = True
            for process in self._running:
                process.kill()

    def check(self) -> None:
        """Raise EngineFailed after `end`."""
        if self._ended:
            raise EngineFailed("nobody waits for this model any more")

    @contextmanager
    def running(
        self, module: str, *arguments: str, source: int | None = None, files: Collection[int] = ()
    ) -> Iterator["Child"]:
        """A child that runs `module`, with an open file handed down as its descriptor `--source`, and further `files`.

        It is killed on leaving, unless it ended by itself.

        Raises:
            PowerError: what the child said it failed of, or how it ended.
        """
        with tempfile.TemporaryFile() as said:
            named = [] if source is None else ["--source", str(source)]
            given = [*files] if source is None else [source, *files]
            child = Child(self._started([module, *named, *arguments], given, said), said)
            try:
                yield child
                child.finish()
            except PowerError:
                self.check()
                raise
            finally:
                child.kill()
                with self._mutex:
                    self._running.discard(child.process)

    def _started(self, arguments: list[str], files: Collection[int], said: IO[bytes]) -> subprocess.Popen[bytes]:
        with self._mutex:
            self.check()
            process = subprocess.Popen(  # noqa: S603 -- our own program, by a list
                [sys.executable, "-P", "-m", *arguments],
                pass_fds=files,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=self._environ | {"GGML_NO_BACKTRACE": "1"},
                start_new_session=True,
            )
            self._running.add(process)
        return process


class Child:
    """A child that runs. What is sent to it begins with its length; what it answers are bytes, as many as asked for.

    Its standard input stays open: when that ends, the child's parent has ended.
    """

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self.process = process
        self._input = cast("IO[bytes]", process.stdin)
        self._output = cast("IO[bytes]", process.stdout)
        self._said = said

    def send(self, content: bytes) -> None:
        """What the child is to do. Raises PowerError when it has ended."""
        try:
            self._input.write(len(content).to_bytes(8, "little") + content)
            self._input.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def answer(self, size: int, chunk: int) -> Iterator[bytes]:
        """The next `size` bytes, in chunks of at most `chunk`. Raises PowerError when fewer come."""
        while size:
            piece = self._output.read(min(size, chunk))
            if not piece:
                raise self._failure()
            size -= len(piece)
            yield piece

    def finish(self) -> None:
        """Wait for its end. Raises PowerError unless it ended well."""
        if self.process.wait():
            raise self._failure()

    def kill(self) -> None:
        """End it, and give back its pipes."""
        self.process.kill()
        self.process.wait()
        self._output.close()
        with suppress(BrokenPipeError):
            self._input.close()

    def _failure(self) -> PowerError:
        """Why it ended too early."""
        code = self.process.wait()
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - _SAID_BYTES))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        try:
            failure = msgspec.json.decode(lines[-1] if lines else "", type=Failure)
        except msgspec.MsgspecError:
            reason = f": {lines[-1]}" if lines else ""
            return EngineFailed(f"the process that reads the weights ended with {_how(code)}{reason}")
        return revive(failure.kind, failure.message)


def _how(code: int) -> str:
    if code == -signal.SIGILL:
        return "SIGILL, because this processor lacks instructions that llama.cpp's prebuilt library uses"
    return signal.Signals(-code).name if code < 0 else f"status {code}"
