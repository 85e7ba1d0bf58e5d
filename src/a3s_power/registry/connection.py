"""Connection: one request after another over a socket, by the standard library's HTTP; bodies may be of any size."""

import http.client
import io
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, Protocol, Self

from a3s_power.core.errors import BadAnswer, BadRequest, NotAllowed, Unreachable
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.outbound import Connected, reason, shut
from a3s_power.registry.urls import Url

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GONE: Final = (ConnectionError, http.client.RemoteDisconnected, ssl.SSLEOFError, ssl.SSLZeroReturnError)
_BUFFER_BYTES: Final = 64 * 1024
_SMALL_BODY_SECONDS: Final = 120.0
"""How long an answer may take that is read whole, however slowly its bytes drip."""


class Body(Protocol):
    """What is sent with a request: its size is known, and it can be sent again from its beginning."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def chunks(self) -> Iterable[bytes | memoryview]:
        """The content, piece by piece."""
        ...


class Bytes:
    """A body that is in memory."""

    def __init__(self, content: bytes = b"") -> None:
        self._content = content

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._content)

    def chunks(self) -> Iterable[bytes | memoryview]:
        """The content in one piece, or in none."""
        return (self._content,) if self._content else ()


class Stale(Exception):
    """A kept connection turned out to be closed; the request was not answered and may be sent again."""


class Connection:
    """A connection to one origin. `release` is given it back when an answer was read to its end and it can be kept."""

    def __init__(self, connected: Connected, url: Url, release: Callable[["Connection"], None]) -> None:
        self.origin: Final = url.origin
        self._wire = _Wire(connected.socket)
        self._through = connected.through
        self._release = release
        self._patience = connected.socket.gettimeout()
        self._used = False
        self._whole = True
        self._http = http.client.HTTPConnection(url.host, url.port)
        # The standard library's name for what it speaks over; the wire does all that it asks of a socket.
        self._http.sock = self._wire

    def ask(self, method: str, url: Url, cancel: Cancel, headers: Mapping[str, str], body: Body) -> "Answer":
        """Send a request; its answer, once its headers are there. A body is cut short where the answer comes first.

        Raises:
            Unreachable: the connection broke, or nothing came in time.
            BadAnswer: what came is no HTTP.
            Stale: it was a kept connection, and closed.
        """
        cancel.add(self.abort)
        try:
            self._send(method, url, headers, body)
            response = self._http.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            cancel.discard(self.abort)
            self.close()
            cancel.check()
            self._explain(error)
            raise
        except BaseException:
            cancel.discard(self.abort)
            self.close()
            raise
        self._used = True
        return Answer(response, url, self, cancel)

    def _send(self, method: str, url: Url, headers: Mapping[str, str], body: Body) -> None:
        target = str(url) if self._through else url.path
        self._http.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        self._http.putheader("Host", url.authority)
        if self._through and self._through.authorization:
            self._http.putheader("Proxy-Authorization", self._through.authorization)
        for name, value in headers.items():
            self._http.putheader(name, value)
        if body.size or method in {"POST", "PUT", "PATCH"}:
            self._http.putheader("Content-Length", str(body.size))
        self._http.endheaders()
        try:
            for chunk in body.chunks():
                if self._wire.answered():
                    self._whole = False
                    break
                self._wire.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            # Whoever hangs up on a body may have said why.
            self._whole = False

    def _explain(self, error: Exception) -> None:
        """Raise what the failure means."""
        gone = isinstance(error, _GONE)
        if self._used and gone:
            raise Stale from error
        if gone and not isinstance(error, ConnectionResetError | BrokenPipeError):
            raise Unreachable("EOF") from error
        if isinstance(error, OSError):
            raise Unreachable(reason(error)) from error
        raise BadAnswer(f"malformed HTTP response from {self.origin}") from error

    def finished(self, *, kept: bool) -> None:
        """The answer was read; `kept` when another request may follow."""
        if kept and self._whole:
            # The next answer may take its time, however soon the bytes of this one had to come.
            self.wait_at_most(self._patience)
            self._release(self)
        else:
            self.close()

    def wait_at_most(self, seconds: float | None) -> None:
        """How long each read may wait from now on; `None` for ever."""
        with suppress(OSError):
            self._wire.socket.settimeout(seconds)

    def abort(self) -> None:
        """Have whoever waits for the connection find it broken. May be called from any thread."""
        shut(self._wire.socket)

    def close(self) -> None:
        """Close it. May be called again."""
        try:
            self._http.close()
        finally:
            with suppress(OSError):
                self._wire.socket.close()


class Answer:
    """Status and headers, and a body to be read in one of two ways: whole, or piece by piece into a buffer."""

    def __init__(self, response: http.client.HTTPResponse, url: Url, connection: Connection, cancel: Cancel) -> None:
        self.url: Final = url
        self.status: Final = response.status
        self._response = response
        self._connection = connection
        self._cancel = cancel
        self._left = response.length
        self._open = True

    def header(self, name: str) -> str:
        """A header's value, empty when there is none."""
        return self._response.headers.get(name) or ""

    @property
    def target(self) -> Url | None:
        """Where a redirect leads, `None` when this is none. Raises NotAllowed for what is no address."""
        location = self.header("Location")
        if self.status not in _REDIRECTS or not location:
            return None
        try:
            return self.url.join(location)
        except (BadRequest, ValueError) as error:
            raise NotAllowed("redirect not allowed: invalid address") from error

    @property
    def length(self) -> int | None:
        """Bytes of the body, `None` when nobody says."""
        return None if self._response.chunked else self._response.length

    @property
    def retry_after(self) -> float:
        """Seconds we are asked to wait, 0 when we are not."""
        said = self.header("Retry-After").strip()
        if said.isdecimal() and len(said) < 10:
            return float(said)
        try:
            return max(0.0, parsedate_to_datetime(said).timestamp() - time.time()) if said else 0.0
        except (ValueError, OverflowError):
            return 0.0

    def read(self, most: int) -> bytes:
        """The whole body. Raises BadAnswer when it is larger than `most` bytes or compressed, and Unreachable."""
        self._check_plain()
        content, end = bytearray(), time.monotonic() + _SMALL_BODY_SECONDS
        with self:
            try:
                while chunk := self._response.read1(_BUFFER_BYTES):
                    content += chunk
                    if len(content) > most:
                        raise BadAnswer(f"answer of {self.url.bare} is larger than {most} bytes")
                    if time.monotonic() > end:
                        raise Unreachable("i/o timeout")
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._cancel.check()
                raise Unreachable("unexpected EOF" if not isinstance(error, OSError) else reason(error)) from error
            if self._left is not None and len(content) < self._left:
                raise Unreachable("unexpected EOF")
            self._finish()
        return bytes(content)

    def readinto(self, view: memoryview) -> int:
        """Some bytes of a body whose `length` is known, as many as are there; 0 at its end.

        Raises Unreachable when the connection breaks before that, TimeoutError when no byte comes in time.
        """
        if self._left is None:
            raise BadAnswer(f"answer of {self.url.bare} has no length")
        if not self._left:
            self._finish()
            return 0
        stream: Any = self._response.fp
        try:
            count = int(stream.readinto1(view[: self._left]))
        except TimeoutError:
            raise
        except (OSError, ValueError) as error:
            self._cancel.check()
            raise Unreachable(reason(error)) from error
        if not count:
            self._cancel.check()
            raise Unreachable("unexpected EOF")
        self._left -= count
        return count

    def start_bulk(self, stall: float) -> None:
        """From now on each read waits so many seconds at most. Raises BadAnswer for a body that is encoded somehow."""
        self._check_plain()
        if self.length is None:
            raise BadAnswer(f"answer of {self.url.bare} has no length")
        self._connection.wait_at_most(stall)

    def _check_plain(self) -> None:
        encoding = self.header("Content-Encoding").strip().lower()
        if encoding not in ("", "identity"):
            self.close()
            raise BadAnswer(f"answer of {self.url.bare} is compressed")

    def _finish(self) -> None:
        """The body is read; the connection may be used again."""
        if self._open:
            self._open = False
            self._cancel.discard(self._connection.abort)
            kept = not self._response.will_close
            self._response.close()
            self._connection.finished(kept=kept)

    def close(self) -> None:
        """Leave the rest unread. May be called again."""
        if self._open and self._left == 0:
            self._finish()
        if self._open:
            self._open = False
            self._cancel.discard(self._connection.abort)
            self._connection.finished(kept=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Wire:
    """A socket as http.client uses one, on which an answer is noticed while the request is still being sent."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._seen = b""

    def sendall(self, data: bytes | memoryview) -> None:
        self.socket.sendall(data)

    def answered(self) -> bool:
        """Whether the other side has begun to answer, or has hung up."""
        if not select.select([self.socket], [], [], 0)[0]:
            return False
        # What can be read may be TLS's own business; only a byte for us is an answer.
        timeout = self.socket.gettimeout()
        self.socket.settimeout(0)
        try:
            self._seen += self.socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            self.socket.settimeout(timeout)
        return True

    def receive(self, buffer: memoryview) -> int:
        """Bytes into a buffer, those that were seen before first."""
        if self._seen:
            count = min(len(buffer), len(self._seen))
            buffer[:count], self._seen = self._seen[:count], self._seen[count:]
            return count
        return self.socket.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self), _BUFFER_BYTES)

    def close(self) -> None:
        """Whoever made the socket closes it."""


class _Reader(io.RawIOBase):
    """The wire as a file to read."""

    def __init__(self, wire: _Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 -- whatever holds bytes
        return self._wire.receive(memoryview(buffer))
