"""`POST /v1/chat/completions`: a conversation answered, in one piece or as a stream, once or several times."""

from typing import Any, Final

import msgspec
from starlette.responses import Response

from a3s_power.api import sse
from a3s_power.api.asked import local_name
from a3s_power.api.endpoint import Call
from a3s_power.api.openai.answers import DONE, Counted, Head, called, cut_of, logprobs, progress, reason
from a3s_power.api.openai.errors import WrongField
from a3s_power.api.openai.messages import Turn, conversation
from a3s_power.api.openai.stream import respond
from a3s_power.api.openai.tools import Offered, choose
from a3s_power.api.openai.whole import Form, Whole, rendered
from a3s_power.api.openai.wire import Sampled, StreamOptions, effort, other_seed, sent, stops, thinks, top_logprobs
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.events import Done, Event, Rendered, Text, Thinking, TokenLogprob, ToolCalls, Waiting
from a3s_power.core.messages import Format, Think
from a3s_power.core.requests import Chat

_SILENT: Final = {"index": 0, "message": {"role": "", "content": ""}, "finish_reason": None}
_WHOLE: Final = Form("chatcmpl", "chat.completion", _SILENT)


async def chat(call: Call) -> Response:
    """Answer a conversation."""
    body = await sent(call, _decoder, limits.CHAT_BODY_BYTES)
    request, wanted = body.to_domain(), body.wanted
    events = [call.service.inference.chat(_further(request, choice)) for choice in range(wanted)]
    if body.stream:
        chunks = Chunks(body.model or "", wanted, body.stream_options or StreamOptions())
        return respond([events], chunks.tell, stream=True)
    whole = Whole(_WHOLE, body.model or "", [_Kept(index) for index in range(wanted)], wanted)
    return respond([events], whole.tell, stream=False)


def _further(request: Chat, choice: int) -> Chat:
    return msgspec.structs.replace(request, asked=other_seed(request.asked, choice)) if choice else request


class JsonSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A schema that the answer must follow; it is followed strictly, whatever else is said of it."""

    schema: Any = None


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer must be."""

    type: str = ""
    json_schema: JsonSchema | None = None


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """How hard the model shall think."""

    effort: str | None = None


class ChatRequest(Sampled, frozen=True, kw_only=True):
    """The body."""

    messages: tuple[Turn, ...] | None = None
    max_completion_tokens: int | None = None
    response_format: ResponseFormat | None = None
    tools: tuple[Offered, ...] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    debug_render_only: bool | None = msgspec.field(default=None, name="_debug_render_only")

    def to_domain(self) -> Chat:
        """What is asked for. Raises BadRequest and NotAllowed, in the reference's order."""
        if not self.messages:
            raise BadRequest("[] is too short - 'messages'")
        messages = conversation(self.messages)
        tools, choice = choose(self.tools or (), self.tool_choice)
        most = self.most if self.max_completion_tokens is None else self.max_completion_tokens
        form, bad_format = _form(self.response_format)
        shared = self.shared(
            {"num_predict": most, "stop": stops(self.stop)}, formed=form is not None or choice.mode == "required"
        )
        think = self._think()
        wanted = top_logprobs(self.top_logprobs or 0)
        if not (self.model or "").strip():
            raise BadRequest("model is required")
        return Chat(
            model=local_name(self.model or ""),
            messages=messages,
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=self.parallel_tool_calls is not False,
            format=form,
            bad_format=bad_format,
            think=think,
            top_logprobs=wanted if self.logprobs else None,
            render_only=bool(self.debug_render_only),
            **shared,
        )

    def _think(self) -> Think:
        if self.think is not None:
            return thinks(self.think)
        return effort((self.reasoning.effort if self.reasoning else self.reasoning_effort) or "")


_decoder: Final = msgspec.json.Decoder(ChatRequest)


def _form(wanted: ResponseFormat | None) -> tuple[Format, str]:
    """The format, and what is wrong with it: that is an answer only once generation starts."""
    match wanted.type.strip().lower() if wanted else "":
        case "json_object":
            return "json", ""
        case "json_schema":
            schema = wanted.json_schema.schema if wanted and wanted.json_schema else None
            if schema is None:
                raise WrongField("response_format json_schema has no schema", "response_format")
            if not isinstance(schema, dict):
                shown = msgspec.json.encode(msgspec.json.encode(schema).decode()).decode()
                return None, f'invalid format: {shown}; expected "json" or a valid JSON Schema object'
            return schema, ""
    return None, ""


class Chunks:
    """The stream: each choice begins with a role and ends with a reason, and the whole with counts, if wanted."""

    def __init__(self, model: str, wanted: int, told: StreamOptions) -> None:
        self._head = Head("chatcmpl", model)
        self._opened = self._head.opened("chat.completion.chunk")
        self._choices = [_Choice(self._opened, index) for index in range(wanted)]
        self._running = wanted
        self._with_usage = bool(told.include_usage)
        self._counted = Counted(wanted)

    def tell(self, choice: int, event: Event) -> bytes | Response | None:
        """The chunks of an event, or the whole answer where one object is all of it."""
        if isinstance(event, Rendered):
            return rendered(_WHOLE, self._head, event)
        if isinstance(event, Waiting):
            return progress(self._opened, event)
        chunk = self._choices[choice].say(event)
        return chunk + self._ended(choice, event) if chunk and isinstance(event, Done) else chunk

    def _ended(self, choice: int, done: Done) -> bytes:
        """What follows the end of a choice: nothing before the last one."""
        self._counted.add(choice, done.usage)
        self._running -= 1
        if self._running:
            return b""
        usage = b'%b"choices":[],"usage":%b}\n\n' % (self._opened, sse.json(self._counted.shown()))
        return usage + DONE if self._with_usage else DONE


class _Choice:
    """The chunks of one choice. All that does not change between them is encoded once."""

    def __init__(self, opened: bytes, index: int) -> None:
        self._opened = b'%b"choices":[{"index":%d,"delta":{' % (opened, index)
        self._content = b'%b"content":' % self._opened
        self._begin = b'%b"role":"assistant","content":' % self._opened
        self._calls = 0

    def say(self, event: Event) -> bytes | None:
        """The chunks of an event; nothing of one that the API has no words for."""
        match event:
            case Text():
                return self._chunk(sse.json(event.text), event.logprobs)
            case Thinking():
                return self._chunk(b'"","reasoning":%b' % sse.json(event.text), event.logprobs)
            case ToolCalls():
                calls = called(event.calls, self._calls)
                self._calls += len(calls)
                return self._chunk(b'"","tool_calls":%b' % sse.json(calls), ())
            case Done():
                last = b'%b},"finish_reason":"%b"}]%b}\n\n' % (
                    self._opened,
                    reason(event, called=self._calls > 0).encode(),
                    cut_of(event.usage),
                )
                return last if self._begin is self._content else self._chunk(b'""', ()) + last
        return None

    def _chunk(self, said: bytes, found: tuple[TokenLogprob, ...]) -> bytes:
        begin, self._begin = self._begin, self._content
        if not found:
            return b'%b%b},"finish_reason":null}]}\n\n' % (begin, said)
        shown = sse.json({"content": logprobs(found)})
        return b'%b%b},"finish_reason":null,"logprobs":%b}]}\n\n' % (begin, said, shown)


class _Kept:
    """What one choice has said so far."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._texts: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._logprobs: list[dict[str, Any]] = []
        self._reason = ""

    def take(self, event: Event) -> None:
        """Keep what is said."""
        match event:
            case Text():
                self._texts.append(event.text)
                self._logprobs += logprobs(event.logprobs)
            case Thinking():
                self._thinking.append(event.text)
                self._logprobs += logprobs(event.logprobs)
            case ToolCalls():
                self._calls += called(event.calls, len(self._calls))
            case Done():
                self._reason = reason(event, called=bool(self._calls))

    def shown(self) -> dict[str, Any]:
        """The choice as it is shown."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._texts)}
        if self._thinking:
            message["reasoning"] = "".join(self._thinking)
        if self._calls:
            message["tool_calls"] = self._calls
        shown = {"index": self._index, "message": message, "finish_reason": self._reason}
        return shown | ({"logprobs": {"content": self._logprobs}} if self._logprobs else {})
