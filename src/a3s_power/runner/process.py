"""RunnerProcess: the server's handle on one child — spawn, load, run, stop, and how it died."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from a3s_power import engines
from a3s_power.core.errors import EngineFailed, LoadFailed, OutOfMemory, PowerError, RunnerDied, revive
from a3s_power.core.model import ModelFiles
from a3s_power.engines.engine import Forecast, Loaded, LoadOptions, Scores, Vectors
from a3s_power.log import get_logger
from a3s_power.runner import frames
from a3s_power.runner.frames import FromRunner, Run
from a3s_power.runner.jobs import Generation, Jobs
from a3s_power.runner.launch import Launched, launch
from a3s_power.runner.link import Lines, Link
from a3s_power.runner.progress import fraction
from a3s_power.runner.runner import Events
from a3s_power.runner.tail import Tail, how_it_ended, likely_reason, says_out_of_memory

_log = get_logger("a3s_power.runner")

# Ollama's words, which clients look for.
_UNEXPECTED: Final = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error"
)
_GENTLE_SECONDS: Final = 2.0
_LAST_WORDS_SECONDS: Final = 1.0
_LOG_SECONDS: Final = 10.0
"""A child whose load has failed writes its log and ends; on a busy machine that takes a while."""


async def spawn(
    engine: str,
    own: Mapping[str, str] | None = None,
    *,
    environ: Mapping[str, str],
    scratch: Path | None = None,
    python: str = sys.executable,
) -> "RunnerProcess":
    """Start a child for an engine, by its name in the table or as `module:class`.

    `environ` is the environment the child's is made from, `own` what this one has beside, such as the cards it sees;
    `scratch` is where its private folder is made.
    Call it on the loop of the thread that lives longest: the child dies with that thread.

    Raises:
        EngineMissing: there is no such engine.
    """
    info = engines.find(engine)
    launched = launch(engine, info, environ, scratch, python, own=own or {})
    runner = RunnerProcess(launched)
    try:
        await runner.connect()
    except BaseException:
        runner.kill()
        raise
    return runner


class RunnerProcess:
    """A child; see `runner.runner.Runner` for the promises. Made by `spawn`."""

    def __init__(self, launched: Launched) -> None:
        self._process, self._socket, self._folder = launched
        self._loop = asyncio.get_running_loop()
        self._link = Link(self._received, self._link_closed)
        self._tail = Tail()
        self._open = {"link", "stdout", "stderr"}
        self._transports: list[asyncio.BaseTransport] = []
        self._code: int | None = None
        self._death: RunnerDied | None = None
        self._asked = False
        self._gone = asyncio.Event()
        self._callbacks: list[Callable[[RunnerDied], None]] = []
        self._jobs = Jobs(self._link.send)
        self._failing = ""
        self._load_answer: asyncio.Future[Loaded] = self._loop.create_future()
        self._load_failure: frames.Failed | None = None
        self._progress: Callable[[float], None] | None = None
        self.pid: Final = launched.process.pid
        self.loaded: Loaded | None = None
        self.last_progress = time.monotonic()
        self.poisoned = False

    async def connect(self) -> None:
        """Take over socket and pipes, and wait in a thread for the end of the child."""
        threading.Thread(target=self._wait, name=f"runner-{self.pid}", daemon=True).start()
        process, loop = self._process, self._loop
        stdout = Lines(self._wrote, lambda: self._closed("stdout"))
        stderr = Lines(self._logged, lambda: self._closed("stderr"))
        for opening in (
            loop.create_unix_connection(lambda: self._link, sock=self._socket),
            loop.connect_read_pipe(lambda: stdout, process.stdout),
            loop.connect_read_pipe(lambda: stderr, process.stderr),
        ):
            transport, _ = await opening
            self._transports.append(transport)

    @property
    def busy(self) -> int:
        """Jobs that the child has not let go of."""
        return self._jobs.count

    @property
    def draining(self) -> int:
        """Those of them that nobody waits for any more."""
        return self._jobs.draining

    @property
    def stuck_seconds(self) -> float:
        """How long the generation that has gone forward least of late has not."""
        return self._jobs.stuck_seconds

    async def load(
        self, files: ModelFiles, options: LoadOptions, progress: Callable[[float], None] | None = None
    ) -> Loaded:
        """Load the model."""
        self._alive()
        self._progress = progress
        self.last_progress = time.monotonic()
        self._link.send(frames.Load(files, options))
        return await self._load_answer

    def run(self, request: Run) -> Events:
        """Generate."""
        return Generation(self._jobs, request)

    async def embed(self, request: frames.Embed) -> Vectors:
        """Vectors of texts."""
        rows, tokens, cut = list[Sequence[float]](), 0, list[int]()
        job, box = self._jobs.begin(request)
        try:
            async for part in box:
                if not isinstance(part, frames.Vectors):
                    raise EngineFailed(f"the child answered {type(part).__name__} to Embed")
                floats, size = array("f", part.floats), part.dimensions
                rows += [floats[at : at + size] for at in range(0, len(floats), size or 1)]
                tokens += part.prompt_tokens
                cut += part.cut
        finally:
            self._jobs.leave(job)
        return Vectors(rows=tuple(rows), prompt_tokens=tokens, cut=tuple(cut))

    async def rerank(self, request: frames.Rerank) -> Scores:
        """How well documents answer a query."""
        return (await self._jobs.ask(request, frames.Scored)).scores

    async def tokenize(self, text: str, *, first: bool = False, special: bool = True) -> tuple[int, ...]:
        """Token ids of a text."""
        return (await self._jobs.ask(frames.Tokenize(text=text, first=first, special=special), frames.Tokens)).tokens

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return (await self._jobs.ask(frames.Detokenize(tokens=tuple(tokens)), frames.Detokenized)).text

    async def measure(self, prompts: Sequence[str], tokens: int) -> tuple[frames.Stream, ...]:
        """How the engine alone, with nobody listening, answers these prompts at once, each with so many tokens."""
        return (await self._jobs.ask(frames.Measure(prompts=tuple(prompts), tokens=tokens), frames.Measured)).streams

    async def foretell(self, files: ModelFiles, options: LoadOptions) -> Forecast:
        """What a load would take."""
        return (await self._jobs.ask(frames.Foretell(files=files, options=options), frames.Foretold)).forecast

    async def keep_prompts(self, limit: int) -> int:
        """Write what the slots hold."""
        return (await self._jobs.ask(frames.Keep(limit=limit), frames.Kept)).tokens

    def crowded(self, *, others: bool) -> None:
        """Whether other children compute, too."""
        self._link.send(frames.Crowd(others))

    def on_exit(self, callback: Callable[[RunnerDied], None]) -> None:
        """Tell when the child ends by itself."""
        if not self._gone.is_set():
            self._callbacks.append(callback)
        elif self._death is not None and not self._asked and self._load_failure is None:
            callback(self._death)

    async def stop(self) -> None:
        """End the child and wait until it is gone."""
        gentle = self.loaded is not None and not self._asked
        self._asked = True
        try:
            if gentle:
                self._link.send(frames.Shutdown())
                await self._gone_within(_GENTLE_SECONDS)
            for number in (signal.SIGTERM, signal.SIGKILL):
                if not self._gone.is_set():
                    self._signal(number)
                    await self._gone_within(_GENTLE_SECONDS)
            await self._gone.wait()
        finally:
            if not self._gone.is_set():
                self._signal(signal.SIGKILL)

    def kill(self) -> None:
        """End the child now."""
        self._asked = True
        self._signal(signal.SIGKILL)

    def fail(self, reason: str) -> None:
        """End the child now, and let its jobs hear why."""
        self._failing = reason
        self._signal(signal.SIGKILL)

    def _alive(self) -> None:
        if self._death is not None:
            raise RunnerDied(self._death.message)

    # What the child says.

    def _received(self, message: FromRunner) -> None:
        # Once for every piece of every answer, so first and without a pattern.
        if type(message) is frames.Said:
            self._jobs.said(message)
            return
        if isinstance(message, frames.Answered):
            self._jobs.answered(message)
            return
        match message:
            case frames.Went(job):
                self._jobs.went(job)
            case frames.Stopped(job):
                self._jobs.let_go(job)
            case frames.Failed(0):
                self._load_failure = message
                # It ends by itself, after its log; should it hang in that, the reason is known all the same.
                self._loop.call_later(_LOG_SECONDS, self._signal, signal.SIGKILL)
            case frames.Failed():
                self.poisoned |= message.poisoned
                self._jobs.let_go(message.job, message.error)
            case frames.Loading():
                self._went_on(message.fraction)
            case frames.Ready():
                self._ready(message.loaded)

    def _ready(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._tail.forget()
        if not self._load_answer.done():
            self._load_answer.set_result(loaded)

    def _went_on(self, done: float) -> None:
        self.last_progress = time.monotonic()
        if self._progress is not None and self.loaded is None:
            self._progress(done)

    def _wrote(self, line: str) -> None:
        done = fraction(line)
        if done is not None:
            self._went_on(done)
        elif line.strip():
            _log.debug(line, pid=self.pid)

    def _logged(self, line: str) -> None:
        say = _log.warning if self._tail.add(line) else _log.info
        say(line, pid=self.pid)

    # How it ends: exit status, closed socket and closed pipes come in any order, and the last of them tells.

    def _wait(self) -> None:
        code = self._process.wait()
        # The loop may have been closed before its children.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._exited, code)

    def _exited(self, code: int) -> None:
        self._code = code
        self._loop.call_later(_LAST_WORDS_SECONDS, self._end)
        self._closed("")

    def _link_closed(self, error: Exception | None) -> None:
        if error is not None:
            self._tail.add(str(error))
        # A child that cannot be talked to any more is of no use; one that is ending keeps its own exit status.
        self._signal(signal.SIGKILL)
        self._closed("link")

    def _closed(self, what: str) -> None:
        self._open.discard(what)
        if not self._open and self._code is not None:
            self._end()

    def _end(self) -> None:
        if self._gone.is_set():
            return
        death = self._death = RunnerDied(self._why())
        if not self._load_answer.done():
            self._load_answer.set_exception(self._load_error())
            self._load_answer.exception()
        self._jobs.die(death.message)
        if self._process.stdin is not None:
            self._process.stdin.close()
        for transport in self._transports:
            transport.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._gone.set()
        if not self._asked and self._load_failure is None:
            _log.error(death.message, pid=self.pid)
            for callback in self._callbacks:
                callback(death)

    def _why(self) -> str:
        if self._failing:
            return self._failing
        if self._asked:
            return "model runner was stopped"
        code, reason = self._code or 0, self._tail.death_reason
        takes = self.loaded.memory_bytes if self.loaded else 0
        reasons = ": ".join(filter(None, (how_it_ended(code), reason or likely_reason(code, takes))))
        return f"{_UNEXPECTED}: {reasons}"

    def _load_error(self) -> PowerError:
        failure = self._load_failure
        if failure is None:
            died = self._death.message if self._death else ""
            return OutOfMemory(died) if self._tail.out_of_memory and not self._asked else RunnerDied(died)
        message = ": ".join(filter(None, (failure.message, self._tail.load_reason)))
        if failure.kind == LoadFailed.__name__ and (self._tail.out_of_memory or says_out_of_memory([message])):
            return OutOfMemory(message)
        return revive(failure.kind, message)

    async def _gone_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), seconds)

    def _signal(self, number: int) -> None:
        if self._code is None:
            # The whole session: an engine may have children of its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
