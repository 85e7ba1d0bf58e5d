"""What an error looks like to OpenAI's clients: before an answer, in the middle of a stream, and where no route is."""

from typing import Any, Final

import msgspec
from starlette.responses import Response

from a3s_power.api import sse
from a3s_power.api.sentences import sentence
from a3s_power.core.errors import BadRequest, InvalidOption, NotFound, PowerError, PromptTooLong

JSON: Final = "application/json"

_KINDS: Final = {400: "invalid_request_error", 404: "not_found_error"}
_HEADERS: Final = {413: {"Connection": "close"}, 503: {"Retry-After": "1"}}
"""The rest of a body that is too large is not read, so the connection cannot be used again."""


class WrongField(BadRequest):
    """A field of the request that cannot be what it is. `param` is its name, `code` OpenAI's word for what is wrong."""

    def __init__(self, message: str, param: str, code: str | None = None) -> None:
        super().__init__(message)
        self.param: Final = param
        self.code: Final = code


def refusal(error: PowerError) -> Response:
    """An error as a whole answer, with its own status."""
    status = _status(error)
    return Response(msgspec.json.encode(_failure(error)), status, media_type=JSON, headers=_HEADERS.get(status))


def error_event(error: PowerError) -> bytes:
    """An error as the last event of a stream that has begun; clients make an exception of it."""
    return sse.data(_failure(error))


def no_route(method: str, path: str) -> Response:
    """The answer where no route is."""
    return refusal(NotFound(f"no such route: {method} {path}"))


def _status(error: PowerError) -> int:
    """The options of a request are read before anything else here, so a wrong one is never the server's fault."""
    return 400 if isinstance(error, InvalidOption) else error.status


def _failure(error: PowerError) -> dict[str, Any]:
    detail = {
        "message": sentence(error),
        "type": _KINDS.get(_status(error), "api_error"),
        "param": error.param if isinstance(error, WrongField) else None,
        "code": code(error),
    }
    return {"error": detail}


def code(error: PowerError) -> str | None:
    """What clients know an error by, if it is one that they look for."""
    if isinstance(error, WrongField):
        return error.code
    # Tells agents to shorten the conversation.
    return "context_length_exceeded" if isinstance(error, PromptTooLong) else None
