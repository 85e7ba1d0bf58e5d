"""Work told as a stream: what it reports comes out as events, and leaving the stream ends it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from a3s_power.aio import Mailbox, in_thread, task_group
from a3s_power.core.errors import PowerError
from a3s_power.core.events import Event, Progress

Report = Callable[[Progress], None]
Work = Callable[[Report], object]
Opening = Callable[[Callable[[Event], None]], AbstractAsyncContextManager[AsyncIterator[Event]]]
"""Opens a stream of events, and meanwhile tells what it waits for."""


@asynccontextmanager
async def told(work: Work, stop: Callable[[], None]) -> AsyncIterator[AsyncIterator[Event]]:
    """What `work`, which runs in a thread, reports. `stop` is called on leaving and makes unfinished work end soon.

    An error of the work comes out after all that it reported.
    """
    said: Mailbox[Event] = Mailbox()
    loop = asyncio.get_running_loop()

    def report(progress: Progress) -> None:
        loop.call_soon_threadsafe(said.put, progress)

    async with task_group() as group:
        group.start_soon(_closing, said, partial(in_thread, work, report))
        try:
            yield said
        finally:
            stop()


@asynccontextmanager
async def foretold(opening: Opening) -> AsyncIterator[AsyncIterator[Event]]:
    """What a stream says, behind what was told while it was opened. Errors of both come out in their place."""
    said: Mailbox[Event] = Mailbox()

    async def run() -> None:
        async with opening(said.put) as events:
            async for event in events:
                said.put(event)

    async with task_group() as group:
        group.start_soon(_closing, said, run)
        yield said
        group.cancel_scope.cancel()


async def _closing(said: Mailbox[Event], work: Callable[[], Awaitable[object]]) -> None:
    """Do the work, and close the mailbox behind all that it put there, with its error where it ends in one."""
    try:
        await work()
    except PowerError as error:
        said.close(error)
    else:
        said.close()
