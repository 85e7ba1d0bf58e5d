"""`POST /api/generate`: a prompt gone on with, a model loaded or unloaded."""

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
from a3s_power.api.ollama.gojson import Integer
from a3s_power.api.ollama.wire import GenerationRequest, ImageData, images, sent
from a3s_power.api.streams import EventResponse
from a3s_power.api.waiting import Waits, waits
from a3s_power.core import limits
from a3s_power.core.errors import ModelNotFound
from a3s_power.core.events import Done, Event, Rendered, Text, Thinking, TokenLogprob, ToolCalls, Waiting
from a3s_power.core.requests import Generate


async def generate(call: Call) -> Response:
    """Go on with a prompt."""
    body = await sent(call, GenerateRequest, limits.CHAT_BODY_BYTES)
    events = call.service.inference.generate(body.to_domain())
    if body.stream:
        return EventResponse(events, Lines(body.model).say, STREAMED)
    return EventResponse(events, _Whole(body.model).say, WHOLE)


class GenerateRequest(GenerationRequest, frozen=True, kw_only=True):
    """The body."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: tuple[Integer, ...] | None = None
    raw: bool = False
    images: tuple[ImageData, ...] = ()

    def to_domain(self) -> Generate:
        """What is asked for. Raises BadRequest, ModelNotFound and NotAllowed, in Ollama's order."""
        files = images(self.images)
        asked = self.asked()
        if not self.model.strip():
            raise ModelNotFound(self.model)
        return Generate(
            model=local_name(self.model),
            prompt=self.prompt,
            suffix=self.suffix,
            system=self.system,
            template=self.template,
            raw=self.raw,
            images=files,
            context=self.context,
            **asked,
        )


class GenerateAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer, or the last line of one."""

    model: str
    created_at: str
    response: str
    thinking: str = ""
    done: bool
    done_reason: str = ""
    context: tuple[int, ...] | None = None
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
    tool_calls: list[Called] = []
    debug_info: DebugInfo | None = msgspec.field(default=None, name="_debug_info")
    logprobs: list[TokenAnswer] = []
    progress: Waits | None = None


def _rendered(model: str, rendered: Rendered) -> Response:
    info = DebugInfo(rendered_template=rendered.prompt, image_count=rendered.images)
    return answer(GenerateAnswer(model=model, created_at=now(), response="", done=False, debug_info=info))


def _ended(model: str, done: Done, kept: Kept) -> GenerateAnswer:
    """The last object, with all that was kept."""
    return GenerateAnswer(
        model=model,
        created_at=now(),
        response=kept.text,
        thinking=kept.thinking,
        done=True,
        done_reason=done.reason,
        context=done.context,
        tool_calls=kept.calls,
        logprobs=kept.logprobs,
        **metrics(done),
    )


class Lines:
    """A line for each event; what does not change between lines is encoded once."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._kept = Kept(with_ids=False)
        self._head = b'{"model":%b,"created_at":"' % in_line(model)
        self._now = Clock().now

    def say(self, event: Event) -> bytes | Response | None:
        """The line, or the whole answer where one object is all of it."""
        match event:
            case Text():
                return self._line(in_line(event.text), event.logprobs)
            case Thinking():
                return self._line(b'"","thinking":%b' % in_line(event.text), event.logprobs)
            case ToolCalls():
                # They are shown in the last line.
                self._kept.take(event)
            case Waiting():
                return self._line(b'""', (), b',"progress":%b' % in_line(waits(event)))
            case Rendered():
                return _rendered(self._model, event)
            case Done():
                last = _ended(self._model, event, self._kept)
                return in_line(last) + b"\n" if event.reason in ("stop", "length") else answer(last)
        return None

    def _line(self, said: bytes, logprobs: tuple[TokenLogprob, ...], tail: bytes = b"") -> bytes:
        if logprobs:
            tail = b',"logprobs":%b' % in_line(shown(logprobs))
        return b'%b%b","response":%b,"done":false%b}\n' % (self._head, self._now(), said, tail)


class _Whole:
    """One object for all events."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._kept = Kept(with_ids=False)

    def say(self, event: Event) -> Response | None:
        """The whole answer, once the last event has come."""
        match event:
            case Rendered():
                return _rendered(self._model, event)
            case Done():
                return answer(_ended(self._model, event, self._kept))
        self._kept.take(event)
        return None
