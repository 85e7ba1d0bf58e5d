"""Routes: finds the endpoint of a request, and answers where there is none just as Ollama's router does."""

import re
from collections.abc import Callable, Iterable, Mapping
from posixpath import normpath
from typing import Final
from urllib.parse import quote

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from a3s_power.api.endpoint import ApiSettings, Call, Endpoint
from a3s_power.api.unexpected import unexpected
from a3s_power.core.errors import PowerError
from a3s_power.service.ports import Service

PREFIXES: Final = ("", "/ollama")
"""Every route is there twice; the second is where a gateway in front of other services has it."""

PATTERN: Final = "a3s_power.pattern"
"""Where a request's scope says which pattern its path has, for the log; not there when it has none."""

_METHODS: Final = ("HEAD", "GET", "POST", "DELETE")
"""In the order in which Ollama lists them."""

_Methods = Mapping[str, Endpoint]


class Routes:
    """An ASGI application that answers by a table of endpoints.

    `strangers` says, by the beginning of a path, how a dialect answers a method and a path that no endpoint has.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        service: Service,
        settings: ApiSettings,
        *,
        strangers: Mapping[str, Callable[[str, str], Response]] | None = None,
    ) -> None:
        self._service = service
        self._strangers = {prefix + path: answer for path, answer in (strangers or {}).items() for prefix in PREFIXES}
        self._settings = settings
        self._exact: dict[str, dict[str, Endpoint]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Endpoint]]] = []
        for endpoint in endpoints:
            for prefix in PREFIXES:
                self._add(prefix + endpoint.path, endpoint)

    def _add(self, path: str, endpoint: Endpoint) -> None:
        methods = self._exact.setdefault(path, {})
        if "{" in path and not methods:
            self._patterns.append((compile_path(path)[0], methods))
        methods.update(dict.fromkeys(endpoint.methods, endpoint))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        methods, parameters = self._find(scope["path"])
        if not methods:
            await self._elsewhere(scope)(scope, receive, send)
            return
        endpoint = methods.get(scope["method"])
        if endpoint is None:
            await _not_allowed(methods)(scope, receive, send)
            return
        scope[PATTERN] = endpoint.path
        scope["path_params"] = parameters
        await self._answer(endpoint, scope, receive, send)

    def _find(self, path: str) -> tuple[_Methods, dict[str, str]]:
        if (methods := self._exact.get(path)) is not None:
            return methods, {}
        for pattern, methods in self._patterns:
            if match := pattern.fullmatch(path):
                return methods, match.groupdict()
        return {}, {}

    async def _answer(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive)
        call.service, call.settings = self._service, self._settings
        try:
            response = await endpoint.handler(call)
        except ClientDisconnect:
            return
        except PowerError as error:
            response = endpoint.dress(error)
        except Exception as error:  # noqa: BLE001 -- the edge of the process: a bug becomes an answer and a log entry
            response = endpoint.dress(unexpected(error))
        await response(scope, receive, send)

    def _elsewhere(self, scope: Scope) -> Response:
        """A redirect to the same path written properly, or a 404."""
        path, method = scope["path"], scope["method"]
        clean = _clean(path)
        if clean != path:
            return _redirect(301, clean, scope)
        trimmed = path.rstrip("/")
        if trimmed != path and method in self._find(trimmed)[0]:
            return _redirect(301 if method == "GET" else 307, trimmed, scope)
        stranger = next((answer for start, answer in self._strangers.items() if path.startswith(start)), None)
        return stranger(method, path) if stranger else _plain("404 page not found", 404)


def _not_allowed(methods: Iterable[str]) -> Response:
    """The answer to a method that a path does not have."""
    allowed = ", ".join(method for method in _METHODS if method in methods)
    return _plain("405 method not allowed", 405, Allow=allowed)


def _plain(text: str, status: int, **headers: str) -> Response:
    """Ollama's router names no charset here."""
    return Response(text, status, headers={"Content-Type": "text/plain", **headers})


def _clean(path: str) -> str:
    """As Go's ServeMux cleans a path: without doubled slashes and dots, a trailing slash kept."""
    if not path.startswith("/"):
        return path
    clean = "/" + normpath(path).lstrip("/")
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def _redirect(status: int, path: str, scope: Scope) -> Response:
    query = scope["query_string"].decode("latin-1")
    return Response(status_code=status, headers={"Location": quote(path) + (f"?{query}" if query else "")})
