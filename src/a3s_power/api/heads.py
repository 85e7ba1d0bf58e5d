"""Heads: a connection's way out that keeps the head of an answer until its first words, so that both are one packet."""

import asyncio
from collections.abc import Callable
from typing import Any, Final


class Heads:
    """A transport. A client that were sent the head alone would wake for it, and once more for what it waits for."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport: Final = transport
        self._loop: Final = loop
        self._held = b""
        self.write: Callable[[bytes], None] = transport.write
        """As of any transport. It is the transport's own but for the first two writes of an answer."""

    def expect(self) -> None:
        """What is written next is the head of an answer."""
        self._flush()
        self.write = self._hold

    def close(self) -> None:
        """As of any transport: what was written is sent before."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever transports have
        return getattr(self._transport, name)

    def _hold(self, data: bytes) -> None:
        self._held, self.write = data, self._join
        # Where no words follow at once, the head goes alone.
        self._loop.call_soon(self._flush)

    def _join(self, data: bytes) -> None:
        whole, self._held, self.write = self._held + data, b"", self._transport.write
        self.write(whole)

    def _flush(self) -> None:
        if self._held:
            self._join(b"")
