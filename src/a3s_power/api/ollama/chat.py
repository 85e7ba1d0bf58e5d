"""`POST /api/chat`: a conversation answered, a model loaded or unloaded."""

from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from a3s_power.api.asked import local_name
from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.answers import (
    STREAMED,
    WHOLE,
    Called,
    DebugInfo,
    Kept,
    TokenAnswer,
    metrics,
    shown,
)
from a3s_power.api.ollama.goform import Clock, answer, in_line, now
from a3s_power.api.ollama.gojson import go
from a3s_power.api.ollama.wire import GenerationRequest, Message, Tool, sent, tool_choice
from a3s_power.api.streams import EventResponse
from a3s_power.api.waiting import Waits, waits
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.events import Done, Event, Rendered, Text, Thinking, TokenLogprob, ToolCalls, Waiting
from a3s_power.core.requests import Chat


async def chat(call: Call) -> Response:
    """Answer a conversation."""
    body = await sent(call, ChatRequest, limits.CHAT_BODY_BYTES)
    events = call.service.inference.chat(body.to_domain())
    if body.stream:
        return EventResponse(events, Lines(body.model).say, STREAMED)
    return EventResponse(events, _Whole(body.model).say, WHOLE)


class ChatRequest(GenerationRequest, frozen=True, kw_only=True):
    """The body."""

    messages: tuple[Message, ...] = ()
    tools: Annotated[tuple[Tool, ...], go("api.Tools")] = ()
    tool_choice: Any = None
    parallel_tool_calls: bool = True

    def to_domain(self) -> Chat:
        """What is asked for. Raises BadRequest and NotAllowed, in Ollama's order."""
        messages = tuple([message.to_domain() for message in self.messages])
        tools = tuple([tool.to_domain() for tool in self.tools])
        asked = self.asked()
        _check_sizes(self)
        if not self.model.strip():
            raise BadRequest("model is required")
        return Chat(
            model=local_name(self.model),
            messages=messages,
            tools=tools,
            tool_choice=tool_choice(self.tool_choice),
            parallel_tool_calls=self.parallel_tool_calls,
            **asked,
        )


def _check_sizes(body: ChatRequest) -> None:
    for what, count, most in (
        ("messages", len(body.messages), limits.MESSAGES),
        ("tools", len(body.tools), limits.TOOLS),
        ("images", sum(len(message.images) for message in body.messages), limits.IMAGES),
    ):
        if count > most:
            raise BadRequest(f"too many {what}: the limit is {most}")


class _Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The message of an answer."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: list[Called] = []


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer, or the last line of one."""

    model: str
    created_at: str
    message: _Said
    done: bool
    done_reason: str = ""
    debug_info: DebugInfo | None = msgspec.field(default=None, name="_debug_info")
    logprobs: list[TokenAnswer] = []
    progress: Waits | None = None
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    cached_tokens: int = 0
    dropped_messages: int = 0
    cut_tokens: int = 0
    context_shifted: bool = False
    draft_count: int = 0
    draft_accepted_count: int = 0


def _ended(model: str, done: Done, said: _Said, logprobs: list[TokenAnswer]) -> ChatAnswer:
    return ChatAnswer(
        model=model,
        created_at=now(),
        message=said,
        done=True,
        done_reason=done.reason,
        logprobs=logprobs,
        **metrics(done),
    )


def _rendered(model: str, rendered: Rendered) -> Response:
    info = DebugInfo(rendered_template=rendered.prompt, image_count=rendered.images)
    said = _Said(role="", content="")
    return answer(ChatAnswer(model=model, created_at=now(), message=said, done=False, debug_info=info))


def _called(event: ToolCalls) -> list[Called]:
    return [Called.of(call, with_id=True) for call in event.calls]


class Lines:
    """A line for each event; what does not change between lines is encoded once."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._head = b'{"model":%b,"created_at":"' % in_line(model)
        self._now = Clock().now

    def say(self, event: Event) -> bytes | Response | None:
        """The line, or the whole answer where one object is all of it."""
        match event:
            case Text():
                return self._line(b'"content":%b' % in_line(event.text), event.logprobs)
            case Thinking():
                return self._line(b'"content":"","thinking":%b' % in_line(event.text), event.logprobs)
            case ToolCalls():
                return self._line(b'"content":"","tool_calls":%b' % in_line(_called(event)), ())
            case Waiting():
                return self._line(b'"content":""', (), b',"progress":%b' % in_line(waits(event)))
            case Rendered():
                return _rendered(self._model, event)
            case Done():
                last = _ended(self._model, event, _Said(role="assistant", content=""), [])
                return in_line(last) + b"\n" if event.reason in ("stop", "length") else answer(last)
        return None

    def _line(self, said: bytes, logprobs: tuple[TokenLogprob, ...], tail: bytes = b"") -> bytes:
        if logprobs:
            tail = b',"logprobs":%b' % in_line(shown(logprobs))
        return b'%b%b","message":{"role":"assistant",%b},"done":false%b}\n' % (self._head, self._now(), said, tail)


class _Whole:
    """One object for all events."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._kept = Kept(with_ids=True)

    def say(self, event: Event) -> Response | None:
        """The whole answer, once the last event has come."""
        kept = self._kept
        match event:
            case Rendered():
                return _rendered(self._model, event)
            case Done():
                said = _Said(role="assistant", content=kept.text, thinking=kept.thinking, tool_calls=kept.calls)
                return answer(_ended(self._model, event, said, kept.logprobs))
        kept.take(event)
        return None
