"""Long work told as it goes: a line for each step, or one answer when it is done."""

from typing import Final

import msgspec
from starlette.responses import Response

from a3s_power.api.ollama.goform import JSON, NDJSON, answer, error_line, refusal
from a3s_power.api.streams import Form
from a3s_power.core.events import Event, Progress
from a3s_power.core.manifest import go_json

PROGRESS: Final = Form(NDJSON, lambda error: refusal(error, media_type=JSON), error_line)


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far it is."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0


def line(event: Event) -> bytes | None:
    """A step as a line."""
    match event:
        case Progress(status, digest, total, completed):
            return go_json(Step(status=status, digest=digest, total=total, completed=completed)) + b"\n"
    return None


def only_success(event: Event) -> Response | None:
    """The whole answer, once the last step is done; nothing for those before."""
    match event:
        case Progress("success"):
            return answer(Step(status="success"), media_type=JSON)
    return None
