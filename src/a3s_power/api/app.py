"""The HTTP application: every dialect's endpoints over one service, behind the checks that all requests pass."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from a3s_power.api import ollama, power
from a3s_power.api.endpoint import ApiSettings, Endpoint
from a3s_power.api.hosts import Hosts
from a3s_power.api.middleware import Guard, RequestLog
from a3s_power.api.origins import Origins
from a3s_power.api.routes import Routes
from a3s_power.service.ports import Service

ENDPOINTS: Final[tuple[Endpoint, ...]] = (*ollama.ENDPOINTS, *power.ENDPOINTS)


def build(service: Service, settings: ApiSettings) -> ASGIApp:
    """The application. Whoever runs it opens and closes the service.

    Raises:
        BadConfig: an origin of the settings that is none.
    """
    hosts = Hosts(settings.host, settings.allowed_hosts, settings.hostname, settings.addresses)
    guard = Guard(Routes(ENDPOINTS, service, settings), hosts, Origins(settings.origins))
    app = RequestLog(guard)

    async def http_only(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await app(scope, receive, send)
            case "lifespan":
                await _live(receive, send)
            case _:
                await send({"type": "websocket.close", "code": 1008})

    return http_only


async def _live(receive: Receive, send: Send) -> None:
    """Nothing is opened here, and nothing closed."""
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})
