"""Small things of asyncio: a task group that raises single errors as they are, a mailbox, and disk work in threads."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, Self, TypeVar

import anyio
import anyio.abc
import anyio.to_thread

T = TypeVar("T")


@asynccontextmanager
async def task_group() -> AsyncIterator[anyio.abc.TaskGroup]:
    """A task group whose single error comes out bare, so that `except ModelNotFound` sees it."""
    try:
        async with anyio.create_task_group() as group:
            yield group
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) == 1:
            raise errors.exceptions[0] from errors.exceptions[0].__cause__
        raise


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Run blocking work in a thread and wait for it; a cancelled wait still lets the work finish."""
    return await anyio.to_thread.run_sync(lambda: work(*arguments))


class Mailbox(Generic[T]):
    """Items from one writer for one reader on the same loop, unbounded; a fraction of a memory stream's cost.

    Iterating waits for items and ends after `close`, or raises the error `close` was given once all items are read.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._closed = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: T) -> None:
        """Add an item; after `close` it is dropped."""
        if not self._closed:
            self._items.append(item)
            self._wake()

    def close(self, error: BaseException | None = None) -> None:
        """No more items. Closing again changes nothing."""
        if not self._closed:
            self._closed, self._error = True, error
            self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
