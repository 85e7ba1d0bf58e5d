"""`POST /api/pull` and `/api/push`: models from and to other places, told as they go."""

from typing import Final

from starlette.responses import Response

from a3s_power.api.asked import local_name
from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.goform import JSON, NDJSON, answer, error_line, refusal
from a3s_power.api.ollama.gojson import GoStruct
from a3s_power.api.ollama.progress import PROGRESS, line, only_success
from a3s_power.api.ollama.wire import sent
from a3s_power.api.streams import EventResponse, Form
from a3s_power.core.errors import BadRequest, NeedsConsent, PowerError
from a3s_power.core.manifest import go_json
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Pull, Push
from a3s_power.registry.sources import read_source


async def pull(call: Call) -> Response:
    """Bring a model here."""
    body = await sent(call, PullRequest)
    events = call.service.transfers.pull(body.to_domain())
    return EventResponse(events, line if body.stream else only_success, _PULLING)


async def push(call: Call) -> Response:
    """Publish a model."""
    body = await sent(call, PushRequest)
    events = call.service.transfers.push(body.to_domain())
    return EventResponse(events, line if body.stream else only_success, PROGRESS)


class PullRequest(GoStruct, frozen=True, kw_only=True):
    """The body of pull. `name` is what older clients send; `consent` is ours: a stranger's file may be taken, too.

    `username` and `password` are taken and mean nothing, as in Ollama: the settings say who we are elsewhere.
    """

    model: str = ""
    name: str = ""
    insecure: bool = False
    consent: bool = False
    username: str = ""
    password: str = ""
    stream: bool = True

    def to_domain(self) -> Pull:
        """What is asked for. Raises BadRequest for no name and no address, NotAllowed for a model of the cloud."""
        return Pull(source=_source(self.model or self.name), insecure=self.insecure, consent=self.consent)


class PushRequest(GoStruct, frozen=True, kw_only=True):
    """The body of push. `destination`, and that the name and password are used, is ours."""

    model: str = ""
    name: str = ""
    destination: str = ""
    insecure: bool = False
    username: str = ""
    password: str = ""
    stream: bool = True

    def to_domain(self) -> Push:
        """What is asked for. Raises BadRequest without a model, InvalidName for what is no name."""
        text = self.model or self.name
        if not text:
            raise BadRequest("model is required")
        return Push(
            model=ModelName.parse(text),
            destination=self.destination or _scheme_and_host(text),
            insecure=self.insecure,
            username=self.username,
            password=self.password,
        )


def _source(text: str) -> str:
    """An address as it is, a name without what only says where its model shall run."""
    if "://" in text:
        read_source(text)
        return text
    return local_name(text).short


def _scheme_and_host(text: str) -> str:
    """Where a name with a scheme says that its registry is; names themselves do not keep the scheme."""
    scheme, separator, rest = text.strip().partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if separator else ""


def _fields(error: NeedsConsent) -> dict[str, str]:
    return {"error": error.message, "found": error.found}


def _refusal(error: PowerError) -> Response:
    if isinstance(error, NeedsConsent):
        return answer(_fields(error), status=error.status, media_type=JSON)
    return refusal(error, media_type=JSON)


def _error_line(error: PowerError) -> bytes:
    return go_json(_fields(error)) + b"\n" if isinstance(error, NeedsConsent) else error_line(error)


_PULLING: Final = Form(NDJSON, _refusal, _error_line)
"""As all long work, with one thing more: where nobody has the model, the name of what a search found instead."""
