"""Whole answers of chats and completions: one object for the events of all choices, once the last one has ended."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from starlette.responses import Response

from a3s_power.api.openai.answers import Counted, Head, answer, debug_info
from a3s_power.core.events import Done, Event, Rendered


class Form(NamedTuple):
    """What tells the objects apart: the beginning of their ids, their kind, and a choice in which nothing was said."""

    prefix: str
    kind: str
    silent: Mapping[str, Any]


class Kept(Protocol):
    """What one choice has said so far."""

    def take(self, event: Event) -> None:
        """Keep what is said."""

    def shown(self) -> dict[str, Any]:
        """The choice as it is shown."""


class Whole:
    """One object for all events. `wanted` choices go by one prompt each."""

    def __init__(self, form: Form, model: str, choices: Sequence[Kept], wanted: int) -> None:
        self._form = form
        self._head = Head(form.prefix, model)
        self._choices = choices
        self._running = len(choices)
        self._counted = Counted(wanted)

    def tell(self, choice: int, event: Event) -> Response | None:
        """The whole answer, once the last event has come."""
        if isinstance(event, Rendered):
            return rendered(self._form, self._head, event)
        self._choices[choice].take(event)
        if not isinstance(event, Done):
            return None
        self._counted.add(choice, event.usage)
        self._running -= 1
        if self._running:
            return None
        choices = [kept.shown() for kept in self._choices]
        return answer(self._head.fields(self._form.kind) | {"choices": choices, "usage": self._counted.shown()})


def rendered(form: Form, head: Head, event: Rendered) -> Response:
    """The answer of a request that asked for its prompt only."""
    usage = Counted().shown()
    return answer(head.fields(form.kind) | {"choices": [form.silent], "usage": usage} | debug_info(event))
