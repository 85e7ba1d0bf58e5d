"""What generate and chat answer with alike: token counts, calls of tools, log-probabilities, and the forms of both."""

from typing import Any, Final

import msgspec
from starlette.responses import Response

from a3s_power.api.ollama.gofloats import float64
from a3s_power.api.ollama.goform import JSON, JSON_UTF8, NDJSON, error_line, refusal
from a3s_power.api.streams import Form
from a3s_power.core.errors import BadTemplate, PowerError
from a3s_power.core.events import Done, Event, Logprob, Text, Thinking, TokenLogprob, ToolCalls
from a3s_power.core.messages import ToolCall


def _refused(error: PowerError, *, media_type: str = JSON_UTF8) -> Response:
    """Ollama finds a template that cannot be used only when it renders, and calls that its own failure."""
    return refusal(PowerError(error.message) if isinstance(error, BadTemplate) else error, media_type=media_type)


STREAMED: Final = Form(NDJSON, lambda error: _refused(error, media_type=JSON), error_line)
WHOLE: Final = Form(NDJSON, _refused, error_line)


class CalledFunction(msgspec.Struct, frozen=True, kw_only=True):
    """Which tool the model calls, and with what."""

    index: int
    name: str
    arguments: dict[str, Any]


class Called(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call of a tool."""

    id: str = ""
    function: CalledFunction

    @classmethod
    def of(cls, call: ToolCall, *, with_id: bool) -> "Called":
        """The call as it is shown; generate shows no ids."""
        function = CalledFunction(index=call.index, name=call.name, arguments=call.arguments)
        return cls(id=call.id if with_id else "", function=function)


class DebugInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The prompt a request becomes."""

    rendered_template: str
    image_count: int = 0


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token and its log-probability."""

    token: str
    logprob: msgspec.Raw
    bytes: list[int] = []
    top_logprobs: list["TokenAnswer"] = []


def shown(logprobs: tuple[TokenLogprob, ...]) -> list[TokenAnswer]:
    """Log-probabilities as they are shown."""
    return [_shown(each.said, [_shown(other) for other in each.top]) for each in logprobs]


def _shown(one: Logprob, top: list[TokenAnswer] | None = None) -> TokenAnswer:
    logprob = msgspec.Raw(float64(one.logprob))
    return TokenAnswer(token=one.token, logprob=logprob, bytes=list(one.bytes), top_logprobs=top or [])


def metrics(done: Done) -> dict[str, Any]:
    """Counts and times of an answer; those that are 0 are not shown, and none of a mere load or unload.

    The last six are ours: the part of the prompt that was not read again, what an answer did not see of it, and the
    tokens that were guessed ahead, with those of them that were right.
    """
    if done.reason in ("load", "unload"):
        return {}
    usage = done.usage
    return {
        "total_duration": usage.total_ns,
        "load_duration": usage.load_ns,
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": usage.prompt_ns,
        "eval_count": usage.output_tokens,
        "eval_duration": usage.output_ns,
        "cached_tokens": usage.cached_tokens,
        "dropped_messages": usage.dropped_messages,
        "cut_tokens": usage.cut_tokens,
        "context_shifted": usage.shifted,
        "draft_count": usage.draft_tokens,
        "draft_accepted_count": usage.accepted_tokens,
    }


class Kept:
    """What an answer in one piece has said so far; generate shows calls without their ids."""

    def __init__(self, *, with_ids: bool) -> None:
        self._with_ids = with_ids
        self._text: list[str] = []
        self._thinking: list[str] = []
        self.calls: list[Called] = []
        self.logprobs: list[TokenAnswer] = []

    def take(self, event: Event) -> None:
        """Keep a piece of it; other events are none."""
        match event:
            case Text():
                self._text.append(event.text)
                self.logprobs += shown(event.logprobs)
            case Thinking():
                self._thinking.append(event.text)
                self.logprobs += shown(event.logprobs)
            case ToolCalls():
                self.calls += [Called.of(call, with_id=self._with_ids) for call in event.calls]

    @property
    def text(self) -> str:
        """All that was said."""
        return "".join(self._text)

    @property
    def thinking(self) -> str:
        """All that was thought."""
        return "".join(self._thinking)
