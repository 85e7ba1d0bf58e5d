"""Creating a model, told as it goes: the build runs in a thread and reports to the loop."""

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from a3s_power.aio import Mailbox, in_thread, task_group
from a3s_power.core.errors import PowerError
from a3s_power.core.events import Event, Progress
from a3s_power.core.requests import Create
from a3s_power.create.build import build
from a3s_power.create.child import Children
from a3s_power.prompt.gotemplate import parse
from a3s_power.store import Store


def check_template(text: str) -> None:
    """Raise BadTemplate when `text` is no Go template."""
    parse(text)


class LocalTransfers:
    """Long work on this machine's store. `environ` is the environment of the processes that help with it."""

    def __init__(self, store: Store, environ: Mapping[str, str] | None = None) -> None:
        self._store = store
        self._environ = environ

    @asynccontextmanager
    async def create(self, request: Create) -> AsyncIterator[AsyncIterator[Event]]:
        """Make a model from files or from another model. A client that leaves ends long work, and nothing is made.

        What is nearly done is done all the same.
        """
        said: Mailbox[Event] = Mailbox()
        children = Children(self._environ)
        loop = asyncio.get_running_loop()

        def report(progress: Progress) -> None:
            loop.call_soon_threadsafe(said.put, progress)

        make = functools.partial(build, request, self._store, report, check_template=check_template, children=children)

        async def work() -> None:
            try:
                await in_thread(make)
            except PowerError as error:
                said.close(error)
            else:
                said.close()

        async with task_group() as group:
            group.start_soon(work)
            try:
                yield said
            finally:
                children.end()
