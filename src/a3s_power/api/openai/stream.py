"""Generations as one answer: how streams look in this dialect, and which generations a request is made of."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from a3s_power.api import sse
from a3s_power.api.openai.errors import error_event, refusal
from a3s_power.api.openai.several import several
from a3s_power.api.streams import EventResponse, Form, Said
from a3s_power.core.events import Event
from a3s_power.service.ports import Events

FORM: Final = Form(sse.MEDIA_TYPE, refusal, error_event)
"""How streams look in this dialect, and its errors."""

Tell = Callable[[int, Event], Said]
"""What an event of a choice is to the client: a chunk, the whole answer, or nothing (yet)."""


def respond(prompts: Sequence[Sequence[Events]], tell: Tell, *, stream: bool) -> Response:
    """The answer made of the generations of each prompt. A stream with nothing to say says that it is alive."""
    alive: dict[str, Any] = {"beat": lambda: sse.COMMENT, "headers": sse.HEADERS} if stream else {}
    if sum(map(len, prompts)) == 1:
        return EventResponse(prompts[0][0], partial(tell, 0), FORM, **alive)
    return EventResponse(several(prompts), lambda said: tell(*said), FORM, **alive)
