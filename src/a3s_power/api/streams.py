"""EventResponse: events out as a stream or as one answer, and the one place where a client may leave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Generic, NamedTuple, TypeVar, cast

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from a3s_power import aio
from a3s_power.api.unexpected import unexpected
from a3s_power.core.errors import PowerError

T = TypeVar("T")
E = TypeVar("E")
"""What is told: events, or events and whose they are."""

Said = bytes | Response | None
"""What an event is in a dialect: a chunk of the stream, the whole answer, or nothing to be said (yet)."""


class Form(NamedTuple):
    """How a dialect's streams look: their media type, and an error before anything was said and after it."""

    media_type: str
    refusal: Callable[[PowerError], Response]
    last_chunk: Callable[[PowerError], bytes]


class EventResponse(Response, Generic[E]):
    """Answers with what `say` makes of the events, and ends their work when the client leaves.

    Until the first chunk is said an error is an ordinary answer with its own status; after it, the last chunk.

    `beat` is what a stream says of itself when there has been nothing to say for `beat_seconds`: a sign of life while
    a model is loaded, and then the answer has begun. `headers` are those of a stream, beside its media type.
    """

    beat_seconds: ClassVar[float] = 5.0

    def __init__(
        self,
        events: AbstractAsyncContextManager[AsyncIterator[E]],
        say: Callable[[E], Said],
        form: Form,
        *,
        beat: Callable[[], bytes] | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        self._events = events
        self._say = say
        self._form = form
        self._beat = beat
        self._stream_headers = headers
        self._whole: Response | None = None
        self._started = False
        self._quiet = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; returns without the rest of the words when the client is no longer there."""
        with contextlib.suppress(ClientDisconnect):
            await while_here(receive, lambda: self._answer(scope, receive, send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await (self._relay(send) if self._beat is None else self._relay_alive(send, self._beat))
        except PowerError as error:
            await self._fail(error, scope, receive, send)
        except Exception as error:  # noqa: BLE001 -- the edge of the process: a bug becomes an answer and a log entry
            await self._fail(unexpected(error), scope, receive, send)
        else:
            await self._finish(scope, receive, send)

    async def _relay_alive(self, send: Send, beat: Callable[[], bytes]) -> None:
        async with aio.task_group() as group:
            group.start_soon(self._keep_alive, send, beat)
            await self._relay(send)
            group.cancel_scope.cancel()

    async def _keep_alive(self, send: Send, beat: Callable[[], bytes]) -> None:
        # A task that ends as cancelled leaves a cycle of its error in anyio, for the collector alone to find.
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                self._quiet = True
                await asyncio.sleep(self.beat_seconds)
                if self._quiet:
                    if not self._started:
                        await self._start(send)
                    await send({"type": "http.response.body", "body": beat(), "more_body": True})

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
                self._quiet = False
                if not self._started:
                    await self._start(send)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _start(self, send: Send) -> None:
        self._started = True
        headers = [(b"content-type", self._form.media_type.encode()), *self._stream_headers]
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


async def while_here(receive: Receive, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives; it is cancelled as soon as the client leaves, and then ClientDisconnect is raised.

    A task group would do the same at several times the cost, for every request and before its first token.
    """
    working, gone = cast("asyncio.Task[object]", asyncio.current_task()), False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = working.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await work()
    except asyncio.CancelledError:
        if gone and not working.uncancel():
            raise ClientDisconnect from None
        raise
    finally:
        watching.cancel()
