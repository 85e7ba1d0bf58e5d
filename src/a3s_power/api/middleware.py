"""What happens to every request before its route is looked for: the log line, and who may call at all."""

import re
import time
from collections.abc import Awaitable, Iterable
from secrets import token_hex
from typing import Final, NamedTuple

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from a3s_power.api.hosts import Hosts
from a3s_power.api.origins import Origins
from a3s_power.api.routes import PATTERN
from a3s_power.core import limits
from a3s_power.log import get_logger, request_id

_CLIENT_GONE: Final = 499
_ALLOWED_METHODS: Final = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
_ALLOWED_HEADERS: Final = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,"
    "X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
    "X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"
    "X-Stainless-Runtime-Version,X-Stainless-Timeout"
)
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", _ALLOWED_METHODS.encode()),
    (b"access-control-allow-headers", _ALLOWED_HEADERS.encode()),
    (b"access-control-max-age", b"43200"),
)
_PREFLIGHT_VARY: Final = (
    (b"vary", b"Origin"),
    (b"vary", b"Access-Control-Request-Method"),
    (b"vary", b"Access-Control-Request-Headers"),
)

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

_log: Final = get_logger(__name__)


class RequestLog:
    """Gives each request an id, which every line logged meanwhile and the answer carry, and logs how it ended.

    The id is the client's own where it sends one that is fit to be logged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        started, status, number = time.perf_counter(), _CLIENT_GONE, _own_id(scope) or token_hex(12)
        named = (b"x-request-id", number.encode())

        def noting(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), named]
            return send(message)

        token = request_id.set(number)
        try:
            await self._app(scope, receive, noting)
        finally:
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            _log.info(
                "request", method=scope["method"], path=scope.get(PATTERN, "other"), status=status, ms=milliseconds
            )
            request_id.reset(token)


def _own_id(scope: Scope) -> str:
    """The id that a client gave its request, empty for none."""
    sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return sent.decode() if _REQUEST_ID.fullmatch(sent) else ""


class _Asked(NamedTuple):
    """The headers the guard looks at."""

    hosts: list[str]
    origin: str
    fetch_site: str
    fetch_mode: str
    fetch_dest: str


class Guard:
    """Refuses what comes from foreign web pages or by a foreign name, and speaks CORS with pages that are welcome.

    A request without `Origin` and `Host` tricks passes untouched; what the client calls itself never matters.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, origins: Origins) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass the request on."""
        refused = self._verdict(scope)
        if isinstance(refused, Response):
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, _adding(refused, send) if refused else send)

    def _verdict(self, scope: Scope) -> Response | tuple[tuple[bytes, bytes], ...]:
        """The answer of a refused (or preflight) request, or the headers to add to the answer of a good one."""
        if (status := _too_much(scope)) is not None:
            return _empty(status)
        asked = _read(scope["headers"])
        if len(asked.hosts) > 1:
            return _empty(400)
        host = asked.hosts[0] if asked.hosts else ""
        cors: tuple[tuple[bytes, bytes], ...] = ()
        if asked.origin and asked.origin not in (f"http://{host}", f"https://{host}"):
            if not self._origins.allow(asked.origin):
                return _empty(403)
            if scope["method"] == "OPTIONS":
                return self._preflight(asked.origin)
            cors = self._cors(asked.origin)
        elif asked.fetch_site == "cross-site" and not self._harmless(scope, asked):
            return _empty(403)
        called = self._hosts.called(host)
        if called is None:
            return _empty(403)
        # A quirk of Ollama's: it asks no more of OPTIONS when it is called by a name it knows.
        if called == "name" and scope["method"] == "OPTIONS":
            return _empty(204)
        return cors

    def _harmless(self, scope: Scope, asked: _Asked) -> bool:
        """Whether a request that another page caused, without saying which, can do that page no good."""
        followed_link = asked.fetch_mode == "navigate" and asked.fetch_dest == "document"
        return self._origins.every or (scope["method"] == "GET" and (followed_link or scope["path"] == "/"))

    def _cors(self, origin: str) -> tuple[tuple[bytes, bytes], ...]:
        if self._origins.every:
            return ((b"access-control-allow-origin", b"*"),)
        return (b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")

    def _preflight(self, origin: str) -> Response:
        response = _empty(204)
        response.raw_headers = [self._cors(origin)[0], *_PREFLIGHT, *(() if self._origins.every else _PREFLIGHT_VARY)]
        return response


def _too_much(scope: Scope) -> int | None:
    """The status for a request whose head is over its limits. Nothing of it was acted on yet."""
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > limits.HEADER_LINE_BYTES:
        return 414
    headers = scope["headers"]
    sizes = [len(name) + len(value) for name, value in headers]
    if (
        len(sizes) > limits.HEADERS
        or max(sizes, default=0) > limits.HEADER_LINE_BYTES
        or sum(sizes) > limits.HEAD_BYTES
    ):
        return 431
    return None


def _read(headers: Iterable[tuple[bytes, bytes]]) -> _Asked:
    hosts, said = [], {}
    for name, value in headers:
        if name == b"host":
            hosts.append(value.decode("latin-1"))
        elif name == b"origin" or name.startswith(b"sec-fetch-"):
            said[name] = value.decode("latin-1")
    fetch = (said.get(name, "").lower() for name in (b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"))
    return _Asked(hosts, said.get(b"origin", ""), *fetch)


def _adding(headers: Iterable[tuple[bytes, bytes]], send: Send) -> Send:
    def adding(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        return send(message)

    return adding


def _empty(status: int) -> Response:
    return Response(status_code=status)
