"""JSON answers, and what an error looks like."""

from datetime import UTC, datetime
from typing import Final

import msgspec
from starlette.responses import Response

from a3s_power.api.sentences import sentence
from a3s_power.api.streams import Form
from a3s_power.core.errors import BadRequest, PowerError

_JSON: Final = "application/json"
_HEADERS: Final = {413: {"Connection": "close"}, 503: {"Retry-After": "1"}}
"""The rest of a body that is too large is not read, so the connection cannot be used again."""


def answer(value: object) -> Response:
    """A whole JSON answer."""
    return Response(msgspec.json.encode(value), media_type=_JSON)


def refusal(error: PowerError) -> Response:
    """An error as a whole answer, with its own status."""
    # Ollama calls some mistakes of a caller its own; nothing here is bound to that.
    status = 400 if isinstance(error, BadRequest) and error.status >= 500 else error.status
    return Response(_failure(error), status, media_type=_JSON, headers=_HEADERS.get(status))


def _failure(error: PowerError) -> bytes:
    return msgspec.json.encode({"error": sentence(error)})


FORM: Final = Form(_JSON, refusal, _failure)


def moment(when: datetime) -> str:
    """RFC 3339 in UTC."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
