"""The child's main: reads frames, runs each job in a thread of its own, and answers in frames."""

import functools
import importlib
import os
import selectors
import socket
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from a3s_power import engines
from a3s_power.core.errors import BadTemplate, EngineFailed, EngineMissing, PowerError
from a3s_power.core.events import Event
from a3s_power.core.options import Options
from a3s_power.engines.engine import Engine, Job, Scores
from a3s_power.runner import alone, frames
from a3s_power.runner.frames import FrameReader, FromRunner, ToRunner
from a3s_power.runner.outgoing import Outgoing
from a3s_power.runner.pieces import pieces
from a3s_power.runner.pipeline import Pipeline
from a3s_power.runner.workers import Workers

ASKED: Final = 0
PARENT_GONE: Final = 3
LOAD_FAILED: Final = 4

_READ_BYTES = 1 << 18
_WENT_SECONDS = 1.0
"""How often a generation's progress is told at most."""

Work = frames.Run | frames.Question


def serve(fd: int, engine: str) -> NoReturn:
    """Answer the parent at the other end of the socket `fd`, then end the process."""
    child = Child(socket.socket(fileno=fd), engine)
    status = child.serve()
    sys.stderr.flush()
    if status == LOAD_FAILED:
        # llama.cpp writes its log from a thread, which only an ordinary end waits for; the parent, which waits for the
        # end of the link, must not hear of it before.
        child.keep_link()
        sys.exit(status)
    # Not a return: letting go of the engine would unload the model, and llama.cpp would wait for the end of stdin.
    os._exit(status)


class Child:
    """One engine with one model, asked through one socket."""

    def __init__(self, link: socket.socket, engine: str) -> None:
        self._link = link
        self._name = engine
        self._send = Outgoing(link, PARENT_GONE).send
        self._jobs: dict[int, Job] = {}
        self._workers = Workers()
        self._engine: Engine
        self._pipeline: Pipeline
        self._prompts: str

    def serve(self) -> int:
        """Read until the parent asks to end or is gone; the exit status says which."""
        for message in self._messages():
            match message:
                case frames.Load():
                    if not self._loads(message):
                        return LOAD_FAILED
                case frames.Cancel():
                    self._cancel(message.job)
                case frames.Crowd(others):
                    self._engine.crowded(others=others)
                case frames.Shutdown():
                    return ASKED
                case _:
                    self._start(message)
        return PARENT_GONE

    def keep_link(self) -> None:
        """Leave the socket open until the process is gone."""
        self._link.detach()

    def _messages(self) -> Iterator[ToRunner]:
        reader: FrameReader[ToRunner] = FrameReader(ToRunner)  # type: ignore[arg-type]  # a union is no type to mypy
        # Who waits in `recv` is woken by Linux, too, whenever the parent has read: after each token, for nothing.
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._link, selectors.EVENT_READ)
            while True:
                waiting.select()
                if not (data := self._link.recv(_READ_BYTES)):
                    return
                yield from reader.feed(data)

    def _loads(self, message: frames.Load) -> bool:
        try:
            self._engine = _engine(self._name)
            loaded = self._engine.load(message.files, message.options, self._report)
            self._pipeline, self._prompts = Pipeline(self._engine, loaded), message.files.prompts
            if self._prompts:
                self._pipeline.known.restore(self._prompts)
        except PowerError as error:
            self._send(frames.Failed(0, error.kind, error.message))
            return False
        except Exception as error:  # noqa: BLE001 -- the process's edge: the parent must hear of it
            self._send(frames.Failed(0, "LoadFailed", f"{type(error).__name__}: {error}"))
            return False
        self._send(frames.Ready(loaded))
        if not message.options.embedding:
            threading.Thread(target=self._pipeline.prompts.warm_up, name="warm-up", daemon=True).start()
        return True

    def _report(self, fraction: float) -> None:
        self._send(frames.Loading(fraction))

    def _start(self, work: Work) -> None:
        job = self._jobs[work.job] = Job("", work.options if isinstance(work, frames.Run) else Options())
        if isinstance(work, frames.Run):
            job.step = self._went(work.job)
        self._workers.do(functools.partial(self._work, work, job))

    def _cancel(self, number: int) -> None:
        job = self._jobs.get(number)
        if job is not None:
            job.cancelled = True

    def _work(self, work: Work, job: Job) -> None:
        try:
            answer = self._answer(work, job)
        except PowerError as error:
            answer = frames.Failed.of(work.job, error)
        except Exception as error:  # noqa: BLE001 -- the thread's edge: the parent must hear of it
            answer = frames.Failed(work.job, EngineFailed.__name__, f"{type(error).__name__}: {error}")
        self._end(work.job, answer)

    def _end(self, number: int, answer: FromRunner) -> None:
        """Say a job's last word: its answer, Failed or Stopped. Only the first one is said."""
        job = self._jobs.pop(number, None)
        if job is not None:
            self._send(frames.Stopped(number) if job.cancelled else answer)

    def _went(self, number: int) -> Callable[[], None]:
        """Tells the parent that a generation goes forward: what is said may be held back for long."""
        told, now, send = time.monotonic(), time.monotonic, self._send

        def went() -> None:
            nonlocal told
            if (at := now()) - told >= _WENT_SECONDS:
                told = at
                send(frames.Went(number))

        return went

    def _overdue(self, number: int) -> Callable[[], None]:
        """For a template that does not end: its job fails, and what still runs makes this process unfit."""
        failed = frames.Failed(number, BadTemplate.__name__, "template takes too long", poisoned=True)
        return lambda: self._end(number, failed)

    def _answer(self, work: Work, job: Job) -> FromRunner:
        match work:
            case frames.Run():
                say, overdue = self._say(work.job, job), self._overdue(work.job)
                return frames.Said(work.job, self._pipeline.run(work, job, say, overdue))
            case frames.Embed():
                return self._embed(work, job)
            case frames.Rerank():
                return self._rerank(work, job)
            case frames.Tokenize():
                return frames.Tokens(work.job, tuple(self._tokens(work)))
            case frames.Detokenize():
                return frames.Detokenized(work.job, self._engine.detokenize(work.tokens))
            case frames.Foretell():
                return frames.Foretold(work.job, _engine(self._name).foretell(work.files, work.options))
            case frames.Measure():
                return frames.Measured(work.job, alone.measured(self._engine, work.prompts, work.tokens, job))
            case frames.Keep():
                return frames.Kept(work.job, self._keep(work.limit))

    def _keep(self, limit: int) -> int:
        if self._prompts:
            self._pipeline.known.keep(self._prompts)
        return self._engine.keep_prompts(limit)

    def _tokens(self, work: frames.Tokenize) -> list[int]:
        if not work.first:
            return self._engine.tokenize(work.text, special=work.special)
        return self._pipeline.tokens(work.text, special=work.special)

    def _say(self, number: int, job: Job) -> Callable[[Event], None]:
        send = self._send

        def say(event: Event) -> None:
            if not job.cancelled:
                send(frames.Said(number, event))

        return say

    def _embed(self, work: frames.Embed, job: Job) -> FromRunner:
        """Some texts at a time, since an engine cannot be stopped meanwhile; others' texts get in between."""
        for start, texts in pieces(work.texts):
            if job.cancelled:
                return frames.Stopped(work.job)
            vectors = self._engine.embed(texts, truncate=work.truncate, normalize=work.normalize)
            floats = b"".join(array("f", row).tobytes() for row in vectors.rows)
            cut = tuple(start + index for index in vectors.cut)
            last = start + len(texts) == len(work.texts)
            part = frames.Vectors(work.job, len(vectors.rows[0]), floats, vectors.prompt_tokens, cut, last)
            if last:
                return part
            self._send(part)
        return frames.Vectors(work.job, 0, b"", 0)

    def _rerank(self, work: frames.Rerank, job: Job) -> FromRunner:
        """Some documents at a time, as with Embed."""
        logits: list[float] = []
        truncated: list[bool] = []
        tokens = 0
        for _, documents in pieces(work.documents):
            if job.cancelled:
                return frames.Stopped(work.job)
            scores = self._engine.rerank(work.query, documents, truncate=work.truncate)
            logits += scores.logits
            truncated += scores.truncated
            tokens += scores.prompt_tokens
            self._send(frames.Went(work.job))
        whole = Scores(logits=tuple(logits), truncated=tuple(truncated), prompt_tokens=tokens)
        return frames.Scored(work.job, whole)


def _engine(name: str) -> Engine:
    module, _, of_class = engines.find(name).target.partition(":")
    try:
        engine: Engine = getattr(importlib.import_module(module), of_class)()
    except ImportError as error:
        raise EngineMissing(f"engine {name} cannot be imported: {error}") from error
    return engine
