"""The server's end of a child's socket and pipes, as asyncio protocols: bytes in, frames and lines out."""

import asyncio
from collections.abc import Callable
from typing import cast

from a3s_power.core.errors import EngineFailed
from a3s_power.runner import frames
from a3s_power.runner.frames import FrameReader, FromRunner, ToRunner

_LONGEST_LINE = 65_536


class Link(asyncio.Protocol):
    """Hands each frame to `receive`; calls `closed` once, with what was wrong if it was not a plain end."""

    def __init__(self, receive: Callable[[FromRunner], None], closed: Callable[[Exception | None], None]) -> None:
        self._receive = receive
        self._closed = closed
        self._reader: FrameReader[FromRunner] = FrameReader(FromRunner)  # type: ignore[arg-type]  # a union is no type to mypy
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # uvloop's transports do not say that they are of this type.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        receive = self._receive
        try:
            for message in self._reader.feed(data):
                receive(message)
        except EngineFailed as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._end(exc)

    def send(self, message: ToRunner) -> None:
        """Send a frame; after the end it goes nowhere."""
        if self._transport is not None:
            self._transport.write(frames.encode(message))

    def _end(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
            self._closed(error)


class Lines(asyncio.Protocol):
    """Hands each line of a pipe to `line`; calls `closed` at the end."""

    def __init__(self, line: Callable[[str], None], closed: Callable[[], None]) -> None:
        self._line = line
        self._closed = closed
        self._held = b""

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        *whole, held = (self._held + data).split(b"\n")
        # A child that writes without end and without lines shall not fill our memory.
        self._held = held[-_LONGEST_LINE:]
        for line in whole:
            self._line(line.decode(errors="replace"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- as asyncio calls it
        """Called by asyncio."""
        if self._held:
            self._line(self._held.decode(errors="replace"))
        self._closed()
