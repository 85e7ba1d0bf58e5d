"""Work that blocks a thread, told as a stream: what it reports comes out as events, and leaving the stream ends it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from a3s_power.aio import Mailbox, in_thread, task_group
from a3s_power.core.errors import PowerError
from a3s_power.core.events import Event, Progress

Report = Callable[[Progress], None]
Work = Callable[[Report], object]


@asynccontextmanager
async def told(work: Work, stop: Callable[[], None]) -> AsyncIterator[AsyncIterator[Event]]:
    """What `work`, which runs in a thread, reports. `stop` is called on leaving and makes unfinished work end soon.

    An error of the work comes out after all that it reported.
    """
    said: Mailbox[Event] = Mailbox()
    loop = asyncio.get_running_loop()

    def report(progress: Progress) -> None:
        loop.call_soon_threadsafe(said.put, progress)

    async def run() -> None:
        try:
            await in_thread(work, report)
        except PowerError as error:
            said.close(error)
        else:
            said.close()

    async with task_group() as group:
        group.start_soon(run)
        try:
            yield said
        finally:
            stop()
