"""`POST /chat`: a conversation answered in one piece by a model that is here."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from starlette.responses import Response

from a3s_power.api.aiserver import names
from a3s_power.api.aiserver.answers import FORM, answer, moment
from a3s_power.api.asked import decoded, few, options, reader
from a3s_power.api.endpoint import Call
from a3s_power.api.streams import EventResponse
from a3s_power.core import limits, messages
from a3s_power.core.errors import BadRequest, revive
from a3s_power.core.events import Done, Event, Text, Thinking
from a3s_power.core.model import FailedLoad
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Chat


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn."""

    role: str = "user"
    content: str = ""


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body. Unknown fields are ignored, and `null` is as absent."""

    model: str | None = None
    messages: tuple[Message, ...] | None = None
    max_tokens: int | None = None
    temperature: float | None = None

    def to_domain(self, name: ModelName) -> Chat:
        """What is asked of the model of this name. Raises BadRequest."""
        if not self.messages:
            raise BadRequest("messages is required")
        few("messages", len(self.messages), limits.MESSAGES)
        if self.max_tokens is not None and self.max_tokens < 1:
            raise BadRequest("max_tokens must be at least 1")
        asked = {
            "num_predict": 512 if self.max_tokens is None else self.max_tokens,
            "temperature": 0.7 if self.temperature is None else self.temperature,
        }
        return Chat(
            model=name,
            shown=self.model or "",
            messages=tuple(
                messages.Message(role=message.role.lower(), content=message.content) for message in self.messages
            ),
            asked=options(asked),
        )


_read: Final = reader(ChatRequest)


async def chat(call: Call) -> Response:
    """Answer a conversation. A model whose load failed lately is not tried again so soon."""
    body = await decoded(call, _read, limits.CHAT_BODY_BYTES)
    found = await names.present(call.service.library, body.model)
    request = body.to_domain(found.model.name)
    _check_cooled(call, found.model.name)
    return EventResponse(call.service.inference.chat(request), _Whole(body.model or "").say, FORM)


def _check_cooled(call: Call, name: ModelName) -> None:
    """Raise why a load failed, where that is not long enough ago."""
    for failed in call.service.status.failed():
        left = seconds_left(failed, call.settings.load_cooldown)
        if failed.model == name and left > 0:
            text = f"the last load failed, and is not tried again for {left:.0f} seconds: {failed.error.message}"
            raise revive(failed.error.kind, text)


def seconds_left(failed: FailedLoad, cooldown: float) -> float:
    """How much longer a model is not tried again, 0 when it would be."""
    return max(0.0, cooldown - (datetime.now(UTC) - failed.moment).total_seconds())


class _Whole:
    """One object for all events."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._texts: list[str] = []
        self._thinking: list[str] = []

    def say(self, event: Event) -> Response | None:
        """The whole answer, once the last event has come."""
        match event:
            case Text():
                self._texts.append(event.text)
            case Thinking():
                self._thinking.append(event.text)
            case Done():
                return answer(self._answer(event))
        return None

    def _answer(self, done: Done) -> dict[str, Any]:
        thinking = "".join(self._thinking)
        said = {"role": "assistant", "content": "".join(self._texts)}
        usage = done.usage
        ours = {
            "cached_tokens": usage.cached_tokens,
            "dropped_messages": usage.dropped_messages,
            "cut_tokens": usage.cut_tokens,
            "context_shifted": usage.shifted,
            "draft_count": usage.draft_tokens,
            "draft_accepted_count": usage.accepted_tokens,
        }
        return {
            "model": self._model,
            "created_at": moment(datetime.now(UTC)),
            "message": said | ({"thinking": thinking} if thinking else {}),
            "done": True,
            "done_reason": done.reason,
            "total_duration": usage.total_ns,
            "load_duration": usage.load_ns,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": usage.prompt_ns,
            "eval_count": usage.output_tokens,
            "eval_duration": usage.output_ns,
            **{name: value for name, value in ours.items() if value},
        }
