"""Runner: what the scheduler and the service ask of one loaded model, whoever it is."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from a3s_power.core.errors import RunnerDied
from a3s_power.core.events import Event
from a3s_power.core.model import ModelFiles
from a3s_power.engines.engine import Forecast, Loaded, LoadOptions, Scores, Vectors
from a3s_power.runner.frames import Embed, Rerank, Run

Events = AbstractAsyncContextManager[AsyncIterator[Event]]


class Runner(Protocol):
    """One child process with one engine: loads one model, once, and runs jobs on it until it is stopped.

    A job that the child refuses raises the member of `core.errors` that the engine raised; RunnerDied when the child
    ends under it. Everything belongs to the event loop that spawned the runner.
    """

    @property
    def pid(self) -> int:
        """The child's process id."""
        ...

    @property
    def loaded(self) -> Loaded | None:
        """What became of the load; `None` until it is done."""
        ...

    @property
    def last_progress(self) -> float:
        """When the load last went forward, on the clock of `time.monotonic`."""
        ...

    @property
    def busy(self) -> int:
        """Jobs that the child has not let go of, `draining` included."""
        ...

    @property
    def draining(self) -> int:
        """Jobs whose caller has left while the child still works on them."""
        ...

    @property
    def stuck_seconds(self) -> float:
        """How long the generation that has been without progress for longest has been so; 0 when none runs."""
        ...

    @property
    def poisoned(self) -> bool:
        """Whether something of a failed job still runs in the child: replace it once nobody uses it."""
        ...

    async def load(
        self, files: ModelFiles, options: LoadOptions, progress: Callable[[float], None] | None = None
    ) -> Loaded:
        """Load the model; `progress` takes the fraction done. There is no way to stop a load but `kill`.

        Raises:
            LoadFailed: the engine could not, and says why.
            EngineMissing: the engine's library is not there or cannot run here.
            RunnerDied: the child ended while loading.
        """
        ...

    async def foretell(self, files: ModelFiles, options: LoadOptions) -> Forecast:
        """What a load would take in main memory, by the engine's own dry run. A child that was asked loads nothing.

        Raises:
            EngineFailed: the engine has no such thing.
            RunnerDied: the child ended of it.
        """
        ...

    def run(self, request: Run) -> Events:
        """Generate. Leaving early cancels the job and returns at once; its slot is counted in `draining` until free."""
        ...

    async def embed(self, request: Embed) -> Vectors:
        """Vectors of texts."""
        ...

    async def rerank(self, request: Rerank) -> Scores:
        """How well documents answer a query."""
        ...

    async def tokenize(self, text: str, *, first: bool = False, special: bool = True) -> tuple[int, ...]:
        """Token ids of a text, with `first` behind the vocabulary's own first one.

        Without `special` the names of special tokens are plain text.
        """
        ...

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        ...

    async def keep_prompts(self, limit: int) -> int:
        """Write what the slots hold for the next load of the model, at most about so many bytes.

        Returns how many tokens were written: none where the load named no place for them. Raises EngineFailed when
        the disk refuses.
        """
        ...

    def crowded(self, *, others: bool) -> None:
        """Other loaded models compute on the same processors from now on, or no more; what has ended hears nothing."""
        ...

    def on_exit(self, callback: Callable[[RunnerDied], None]) -> None:
        """Call `callback` once if the child ends without being asked to; at once if it already has.

        The callback is called on the loop, after every job has got its error.
        """
        ...

    async def stop(self) -> None:
        """End the child, gently first, and return when it is gone. Its jobs fail; stopping twice is fine."""
        ...

    def fail(self, reason: str) -> None:
        """End the child at once, as if it had died: its jobs raise RunnerDied with the reason, `on_exit` is told."""
        ...

    def kill(self) -> None:
        """End the child without asking. `stop` waits until it is gone."""
        ...


Spawn = Callable[[str, Mapping[str, str]], Awaitable[Runner]]
"""Start a child for an engine, by the engine's name, with these variables in its environment besides the usual ones.

Raises EngineMissing when there is no such engine.
"""
