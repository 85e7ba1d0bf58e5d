"""Callers: notes for each request whose it is and what its headers say of its urgency."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from a3s_power.core.caller import Caller, caller, ignored_options
from a3s_power.core.weights import Weights

_KEYS: Final = frozenset({b"authorization", b"x-api-key"})
_NAMES: Final = {b"x-power-priority": "priority", b"x-power-deadline": "deadline"}
_IGNORED: Final = b"x-power-ignored"


class Callers:
    """Sets `core.caller` for the time of a request. Clients are told apart by address and by the key they send.

    Where load options are `fixed`, the answer's head says which of the request's did not count.
    """

    def __init__(self, app: ASGIApp, weights: Weights, *, fixed: bool) -> None:
        self._app = _Telling(app) if fixed else app
        self._weights = weights

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        token = caller.set(self._read(scope))
        try:
            await self._app(scope, receive, send)
        finally:
            caller.reset(token)

    def _read(self, scope: Scope) -> Caller:
        address = client = scope["client"][0] if scope.get("client") else ""
        said: dict[str, str] = {}
        key = b""
        for name, value in scope["headers"]:
            if name in _KEYS:
                # What a key is nobody needs to know, only whether it is the same.
                client += f" {hash(value):x}"
                key = value
            elif name in _NAMES:
                said[_NAMES[name]] = value.decode("latin-1").strip()
        return Caller(client=client, weight=self._weights.of(address, key), **said)


class _Telling:
    """Says in the head of an answer which options did not count."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with ignored_options() as told:

            async def tell(message: Message) -> None:
                if told and message["type"] == "http.response.start":
                    text = ", ".join(f"{name} {change}" for name, change in told.items())
                    message["headers"] = [*message["headers"], (_IGNORED, text.encode("ascii", "replace"))]
                await send(message)

            await self._app(scope, receive, tell)
