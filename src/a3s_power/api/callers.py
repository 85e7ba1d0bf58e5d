"""Callers: notes for each request whose it is and what its headers say of its urgency."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from a3s_power.core.caller import Caller, caller

_KEYS: Final = frozenset({b"authorization", b"x-api-key"})
_NAMES: Final = {b"x-power-priority": "priority", b"x-power-deadline": "deadline"}


class Callers:
    """Sets `core.caller` for the time of a request. Clients are told apart by address and by the key they send."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        token = caller.set(_read(scope))
        try:
            await self._app(scope, receive, send)
        finally:
            caller.reset(token)


def _read(scope: Scope) -> Caller:
    client = scope["client"][0] if scope.get("client") else ""
    said: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _KEYS:
            # What a key is nobody needs to know, only whether it is the same.
            client += f" {hash(value):x}"
        elif name in _NAMES:
            said[_NAMES[name]] = value.decode("latin-1").strip()
    return Caller(client=client, **said)
