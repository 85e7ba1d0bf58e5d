"""Outgoing: frames of many threads on one socket; whoever is sending sends what the others have ready, too."""

import os
import socket
import threading
from collections import deque
from typing import Final

from a3s_power.runner import frames
from a3s_power.runner.frames import FromRunner

_MOST_WAITING: Final = 256
"""With so many frames a thread waits, as it would for a parent that reads too slowly."""


class Outgoing:
    """The child's way out. The frames of one thread stay in their order, and no frame waits for another one to come.

    The streams of one decoding step are ready at nearly the same time: one call of the system then takes several.
    """

    def __init__(self, link: socket.socket, gone: int) -> None:
        """`gone` is the status with which the process ends when nobody is there any more."""
        self._link = link
        self._gone = gone
        self._sending = threading.Lock()
        self._waiting: deque[bytes] = deque()

    def send(self, message: FromRunner) -> None:
        """Send a frame, or leave it to the thread that is sending."""
        waiting, sending = self._waiting, self._sending
        waiting.append(frames.encode(message))
        # Whoever let go of the lock looks once more, so that nothing stays that was added a moment before.
        while waiting and sending.acquire(blocking=len(waiting) > _MOST_WAITING):
            try:
                self._send_waiting()
            finally:
                sending.release()

    def _send_waiting(self) -> None:
        waiting = self._waiting
        try:
            while waiting:
                some = [waiting.popleft() for _ in range(len(waiting))]
                self._link.sendall(some[0] if len(some) == 1 else b"".join(some))
        except OSError:
            os._exit(self._gone)
