"""EventResponse: events out as a stream or as one answer, and the one place where a client may leave."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, NamedTuple, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from a3s_power import aio
from a3s_power.api.unexpected import unexpected
from a3s_power.core.errors import PowerError
from a3s_power.core.events import Event
from a3s_power.log import get_logger
from a3s_power.service.ports import Events

STALL_SECONDS: Final = 60.0
"""How long a client may take nothing of what was written to it."""

Cancel = Callable[[], None]
Say = Callable[[Event], bytes | Response | None]
"""What an event is in a dialect: a chunk of the stream, the whole answer, or nothing to be said (yet)."""

_log: Final = get_logger(__name__)
T = TypeVar("T")


class Form(NamedTuple):
    """How a dialect's streams look: their media type, and an error before anything was said and after it."""

    media_type: str
    refusal: Callable[[PowerError], Response]
    last_chunk: Callable[[PowerError], bytes]


class EventResponse(Response):
    """Answers with what `say` makes of the events; ends their work when the client leaves or takes nothing any more.

    Until the first chunk is said an error is an ordinary answer with its own status; after it, the last chunk.
    """

    def __init__(self, events: Events, say: Say, form: Form) -> None:
        self._events = events
        self._say = say
        self._form = form
        self._whole: Response | None = None
        self._started = False
        self._writes = 0  # odd while one is under way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; returns without the rest of the words when the client is no longer there."""
        with contextlib.suppress(ClientDisconnect):
            await while_here(receive, lambda cancel: self._answer(scope, receive, send, cancel))

    async def _answer(self, scope: Scope, receive: Receive, send: Send, cancel: Cancel) -> None:
        try:
            with self._giving_up(cancel):
                await self._relay(send)
        except PowerError as error:
            await self._fail(error, scope, receive, send)
        except Exception as error:  # noqa: BLE001 -- the edge of the process: a bug becomes an answer and a log entry
            await self._fail(unexpected(error), scope, receive, send)
        else:
            await self._finish(scope, receive, send)

    async def _relay(self, send: Send) -> None:
        say = self._say
        async with self._events as events:
            async for event in events:
                chunk = say(event)
                if chunk is None:
                    continue
                if isinstance(chunk, Response):
                    self._whole = chunk
                    return
                if not self._started:
                    await self._start(send)
                self._writes += 1
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                self._writes += 1

    async def _start(self, send: Send) -> None:
        self._started = True
        headers = [(b"content-type", self._form.media_type.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _fail(self, error: PowerError, scope: Scope, receive: Receive, send: Send) -> None:
        if self._started:
            await send({"type": "http.response.body", "body": self._form.last_chunk(error), "more_body": False})
        else:
            await self._form.refusal(error)(scope, receive, send)

    async def _finish(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._whole is not None:
            await self._whole(scope, receive, send)
            return
        if not self._started:
            await self._start(send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @contextlib.contextmanager
    def _giving_up(self, cancel: Cancel) -> Iterator[None]:
        """Cancel when one write has waited for two looks at the clock in a row; nothing is done per write."""
        loop, pause, seen = asyncio.get_running_loop(), STALL_SECONDS / 2, -1
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal seen, timer
            if self._writes % 2 and self._writes == seen:
                _log.warning("a client takes nothing of its answer and is left", seconds=STALL_SECONDS)
                cancel()
                return
            seen, timer = self._writes, loop.call_later(pause, look)

        timer = loop.call_later(pause, look)
        try:
            yield
        finally:
            timer.cancel()


async def while_here(receive: Receive, work: Callable[[Cancel], Awaitable[T]]) -> T:
    """What `work` gives. It is cancelled when the client leaves, or by the function it is handed.

    Raises:
        ClientDisconnect: it was cancelled.
    """
    outcome: list[T] = []
    async with aio.task_group() as group:
        group.start_soon(_cancel_when_gone, receive, group.cancel_scope.cancel)
        outcome.append(await work(group.cancel_scope.cancel))
        group.cancel_scope.cancel()
    if not outcome:
        raise ClientDisconnect
    return outcome[0]


async def _cancel_when_gone(receive: Receive, cancel: Cancel) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    cancel()
