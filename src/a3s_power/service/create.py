"""Creating a model, told as it goes: the build runs in a thread and reports to the loop."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from a3s_power.aio import Mailbox, in_thread, task_group
from a3s_power.core.errors import PowerError
from a3s_power.core.events import Event, Progress
from a3s_power.core.requests import Create
from a3s_power.create.build import build
from a3s_power.prompt.gotemplate import parse
from a3s_power.store import Store


def check_template(text: str) -> None:
    """Raise BadTemplate when `text` is no Go template."""
    parse(text)


class LocalTransfers:
    """Long work on this machine's store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @asynccontextmanager
    async def create(self, request: Create) -> AsyncIterator[AsyncIterator[Event]]:
        """Make a model from files or from another model. A client that leaves does not stop what is nearly done."""
        said: Mailbox[Event] = Mailbox()
        loop = asyncio.get_running_loop()

        def report(progress: Progress) -> None:
            loop.call_soon_threadsafe(said.put, progress)

        async def work() -> None:
            try:
                await in_thread(functools.partial(build, request, self._store, report, check_template=check_template))
            except PowerError as error:
                said.close(error)
            else:
                said.close()

        async with task_group() as group:
            group.start_soon(work)
            yield said
