"""Jobs: what a child was asked for and has not let go of, who waits for it, and when it last went forward."""

import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Final, TypeVar

import msgspec

from a3s_power.aio import Mailbox
from a3s_power.core.errors import EngineFailed, PowerError, RunnerDied
from a3s_power.core.events import Done, Event, Rendered
from a3s_power.runner import frames
from a3s_power.runner.frames import FromRunner, Run, ToRunner

_LAST_WORDS: Final = (Done, Rendered)
_WATCHED: Final = (Run, frames.Embed, frames.Rerank)
"""Jobs that tell how they go forward."""

Answer = TypeVar("Answer", bound=FromRunner)
Item = Event | FromRunner


class Jobs:
    """The jobs of one child. `send` brings it a message."""

    def __init__(self, send: Callable[[ToRunner], None]) -> None:
        self._send = send
        self._last = 0
        self._boxes: dict[int, Mailbox[Item]] = {}
        self._left: set[int] = set()
        self._went: dict[int, float] = {}
        self._death = ""

    @property
    def count(self) -> int:
        """Those that the child has not let go of."""
        return len(self._boxes) + len(self._left)

    @property
    def draining(self) -> int:
        """Those of them that nobody waits for any more."""
        return len(self._left)

    @property
    def stuck_seconds(self) -> float:
        """How long the one that has gone forward least of late has not."""
        return time.monotonic() - min(self._went.values()) if self._went else 0.0

    def begin(self, request: Run | frames.Question) -> tuple[int, Mailbox[Item]]:
        """Hand a job to the child: its number, and where its answers arrive. Raises RunnerDied."""
        if self._death:
            raise RunnerDied(self._death)
        self._last += 1
        self._send(msgspec.structs.replace(request, job=self._last))
        box = self._boxes[self._last] = Mailbox[Item]()
        if isinstance(request, _WATCHED):
            self._went[self._last] = time.monotonic()
        return self._last, box

    def leave(self, job: int) -> None:
        """Nobody waits for this job any more; one that has ended is forgotten already."""
        if self._boxes.pop(job, None) is not None:
            self._left.add(job)
            self._send(frames.Cancel(job))

    async def ask(self, request: frames.Question, kind: type[Answer]) -> Answer:
        """The single answer of a job."""
        job, box = self.begin(request)
        try:
            answer = await anext(box)
        finally:
            self.leave(job)
        if not isinstance(answer, kind):
            raise EngineFailed(f"the child answered {type(answer).__name__} to {type(request).__name__}")
        return answer

    def said(self, message: frames.Said) -> None:
        """A generation has said something."""
        box = self._boxes.get(message.job)
        if box is not None:
            box.put(message.event)
            self._went[message.job] = time.monotonic()
        if type(message.event) in _LAST_WORDS:
            self.let_go(message.job)

    def answered(self, message: frames.Answered) -> None:
        """The answer of a job has come, or a part of it."""
        if (box := self._boxes.get(message.job)) is not None:
            box.put(message)
        if isinstance(message, frames.Vectors) and not message.last:
            self.went(message.job)
        else:
            self.let_go(message.job)

    def went(self, job: int) -> None:
        """A job has gone forward."""
        if job in self._went:
            self._went[job] = time.monotonic()

    def let_go(self, job: int, error: PowerError | None = None) -> None:
        """The child is done with a job."""
        self._left.discard(job)
        self._went.pop(job, None)
        box = self._boxes.pop(job, None)
        if box is not None:
            box.close(error)

    def die(self, reason: str) -> None:
        """The child has ended: all jobs raise RunnerDied, those of later, too."""
        self._death = reason
        for box in self._boxes.values():
            box.close(RunnerDied(reason))
        self._boxes.clear()
        self._left.clear()
        self._went.clear()


class Generation:
    """The events of a Run, a job from entering to leaving."""

    def __init__(self, jobs: Jobs, request: Run) -> None:
        self._jobs = jobs
        self._request = request
        self._job = 0

    async def __aenter__(self) -> AsyncIterator[Event]:
        self._job, box = self._jobs.begin(self._request)
        return box  # type: ignore[return-value]  # of a Run, the child says nothing but events

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._jobs.leave(self._job)
