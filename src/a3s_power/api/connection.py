"""Connection: uvicorn's HTTP connection, with bounds on clients that are slow or say too much before they ask.

To be given to uvicorn as its `http`; everything it adds happens per request or less often.
"""

import asyncio
from typing import ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from a3s_power.api.heads import Heads
from a3s_power.core import limits
from a3s_power.log import get_logger

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

_log: Final = get_logger(__name__)


class Connection(HttpToolsProtocol):
    """Closes when a request's head is not there in time or does not end, and when nothing of an answer is taken."""

    head_seconds: ClassVar[float] = 10.0
    stall_seconds: ClassVar[float] = 60.0

    _heads: Heads
    _head_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Wait for the first request, not for ever."""
        self._heads = Heads(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self._heads))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clocks."""
        self._stop_clocks()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a head that has not ended with them must not grow for ever."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > limits.HEAD_BYTES:
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_bytes, self._in_head = 0, True
        self._await_head()

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._heads.expect()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The client takes less than is written to it."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.stall_seconds, self._give_up)

    def resume_writing(self) -> None:
        """It has taken most of it."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        super().resume_writing()

    def _await_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(self.head_seconds, self._close_early)

    def _close_early(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _give_up(self) -> None:
        """Drop what waits to be written, since nobody takes it; the work ends as if the client had left."""
        _log.warning("a client takes nothing of its answer and is left", seconds=self.stall_seconds)
        self.transport.abort()

    def _stop_clocks(self) -> None:
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
