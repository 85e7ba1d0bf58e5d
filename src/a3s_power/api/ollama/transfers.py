"""`POST /api/pull` and `/api/push`: models from and to other places, which this version cannot move yet."""

from starlette.responses import Response

from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.gojson import GoStruct
from a3s_power.api.ollama.wire import sent
from a3s_power.core.errors import BadRequest, NotSupported
from a3s_power.core.names import Reference


async def pull(call: Call) -> Response:
    """Refuse, after what is wrong with the request itself."""
    body = await sent(call, PullRequest)
    Reference.parse(body.model or body.name)
    raise NotSupported("pulling models is not available in this version")


async def push(call: Call) -> Response:
    """Refuse, after what is wrong with the request itself."""
    body = await sent(call, PushRequest)
    if not (body.model or body.name):
        raise BadRequest("model is required")
    raise NotSupported("pushing models is not available in this version")


class PullRequest(GoStruct, frozen=True, kw_only=True):
    """The body of pull; `name` is what older clients send."""

    model: str = ""
    name: str = ""
    insecure: bool = False
    username: str = ""
    password: str = ""
    stream: bool = True


class PushRequest(PullRequest, frozen=True, kw_only=True):
    """The body of push."""
