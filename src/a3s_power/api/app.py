"""The HTTP application: every dialect's endpoints over one service, behind the checks that all requests pass."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from a3s_power.api import aiserver, anthropic, ollama, openai, power
from a3s_power.api.callers import Callers
from a3s_power.api.endpoint import ApiSettings, Endpoint, by_header
from a3s_power.api.hosts import Hosts
from a3s_power.api.middleware import Guard, RequestLog
from a3s_power.api.origins import Origins
from a3s_power.api.power import description
from a3s_power.api.routes import Routes
from a3s_power.service.ports import Service

_DESCRIBED: Final[tuple[Endpoint, ...]] = (
    *ollama.ENDPOINTS,
    *openai.ENDPOINTS,
    *anthropic.ENDPOINTS,
    *(
        by_header(anthropic.HEADER, theirs, others)
        for theirs, others in zip(anthropic.MODELS, openai.MODELS, strict=True)
    ),
    *aiserver.ENDPOINTS,
    *power.ENDPOINTS,
)

ENDPOINTS: Final[tuple[Endpoint, ...]] = (*_DESCRIBED, *description.endpoints(_DESCRIBED))


def build(service: Service, settings: ApiSettings) -> ASGIApp:
    """The application. Whoever runs it opens and closes the service.

    Raises:
        BadConfig: an origin of the settings that is none.
    """
    hosts = Hosts(settings.host, settings.allowed_hosts, settings.hostname, settings.addresses)
    routes = Routes(ENDPOINTS, service, settings, strangers={"/v1/": openai.no_route})
    guard = Guard(Callers(routes, settings.weights, fixed=settings.fixed_options), hosts, Origins(settings.origins))
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
