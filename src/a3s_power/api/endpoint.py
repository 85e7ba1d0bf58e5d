"""Endpoint: one row of the table of routes, and what its handler is called with."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from a3s_power.core.errors import PowerError
from a3s_power.core.weights import Weights
from a3s_power.service.ports import Service

Scope = Literal["open", "infer", "read", "manage", "admin"]
"""What a key must be good for; `open` needs none."""


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the edge must know of the settings.

    `host` is the address that is bound. `ollama_version` is told to clients, which switch features on by it; `version`
    is ours. `hostname` and `addresses` are this machine's own, under which a browser may call it. `prefer_go` is the
    word on Go templates that the service has. `cloud_source` is where it is written that there is no cloud.
    `load_cooldown` is in seconds. `weights` are those of clients; `fixed_options` is whether there
    are models whose load options no request can change. `configuration` is every setting that may be shown.
    """

    host: str = "127.0.0.1"
    origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    hostname: str = ""
    addresses: tuple[str, ...] = ()
    version: str = "0.0.0"
    ollama_version: str = "0.0.0"
    prefer_go: bool | None = None
    cloud_source: Literal["env", "config", "both"] = "env"
    load_cooldown: float = 300.0
    weights: Weights = Weights()
    fixed_options: bool = False
    configuration: Mapping[str, Any] = {}


class Call(Request):
    """A request, and what its handler may ask for the answer."""

    service: Service
    settings: ApiSettings


Handler = Callable[[Call], Awaitable[Response]]


class Endpoint(NamedTuple):
    """A path and what answers it.

    `path` may hold `{name}` for one segment. `dress` makes the dialect's answer of an error; `body` is the shape of the
    JSON it reads, `stream` the media type of its stream, each where there is one.
    """

    methods: tuple[str, ...]
    path: str
    scope: Scope
    handler: Handler
    dress: Callable[[PowerError], Response]
    body: type[msgspec.Struct] | None = None
    stream: str | None = None


def by_header(header: str, theirs: Endpoint, others: Endpoint) -> Endpoint:
    """One endpoint for a path that two dialects have: `theirs` answers requests with the header, `others` the rest."""

    async def handler(call: Call) -> Response:
        if header not in call.headers:
            return await others.handler(call)
        try:
            return await theirs.handler(call)
        except PowerError as error:
            return theirs.dress(error)

    return others._replace(handler=handler)
