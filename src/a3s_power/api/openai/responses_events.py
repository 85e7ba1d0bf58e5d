"""The stream of a response: items that begin, grow and end, in the order and with the numbers that clients rely on."""

import time
from typing import Final

import msgspec

from a3s_power.api import sse
from a3s_power.api.openai.answers import logprobs
from a3s_power.api.openai.errors import code
from a3s_power.api.openai.responses_items import Item
from a3s_power.api.sentences import sentence
from a3s_power.core.errors import Busy, PowerError
from a3s_power.core.events import Done, Event, Text, Thinking, TokenLogprob, ToolCalls
from a3s_power.core.messages import ToolCall
from a3s_power.core.usage import Usage

_TEXT: Final = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":'
_TEXT_AT: Final = b',"item_id":"%b","output_index":%d,"content_index":0,"delta":'
_TEXT_END: Final = b',"logprobs":[]}\n\n'
_THOUGHT: Final = (
    b"event: response.reasoning_summary_text.delta\n"
    b'data: {"type":"response.reasoning_summary_text.delta","sequence_number":'
)
_THOUGHT_AT: Final = b',"item_id":"%b","output_index":%d,"summary_index":0,"delta":'
_END: Final = b"}\n\n"


class Told:
    """The events of one response, and what they have added up to: `response`, which begins as it is given.

    `number` is what the ids of its items have in common.
    """

    def __init__(self, begun: Item, number: str) -> None:
        self.response = begun
        self._number = number
        self._sequence = 0
        self._output: list[Item] = []
        self._open: type[Text | Thinking] | None = None
        self._id = ""
        self._at = b""
        self._pieces: list[str] = []
        self._logprobs: list[Item] = []
        self._thoughts = 0
        self._closing: bytes | None = None

    def say(self, event: Event) -> bytes | None:
        """What a client is told of an event; nothing of one that the API has no words for."""
        match event:
            case Text():
                return self._text(event.text, event.logprobs)
            case Thinking():
                return self._thought(event.text)
            case ToolCalls():
                return self._start() + self._close("completed") + b"".join(map(self._call, event.calls))
            case Done():
                return self.finish(event) + self._event("response.completed", {"response": self.response})
        return None

    def finish(self, done: Done) -> bytes:
        """What is told before the last event, which is called `response.completed` also where the answer was cut.

        The response is whole then; finishing it again changes nothing.
        """
        if self._closing is None:
            self._closing = self._start() + self._close_all(cut=done.reason == "length")
            self._complete(done)
        return self._closing

    def _close_all(self, *, cut: bool) -> bytes:
        """Close what is open; a response without a call has a message, though it may be empty."""
        kinds = {item["type"] for item in self._output}
        chunk = b""
        if self._open is not Text and not kinds & {"message", "function_call"}:
            chunk = self._close("completed") + self._begin_text()
        return chunk + self._close("incomplete" if cut else "completed")

    def _complete(self, done: Done) -> None:
        cut = done.reason == "length"
        self.response |= {
            "completed_at": None if cut else int(time.time()),
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": self._output,
            "usage": _usage(done.usage, self._thoughts),
        }

    def failed(self, error: PowerError) -> bytes:
        """What ends a response that has begun and cannot go on."""
        message = sentence(error)
        known_as = code(error) or _failure(error)
        chunk = self._start() + self._event("error", {"code": known_as, "message": message, "param": None})
        self.response |= {
            "status": "failed",
            "error": {"code": known_as, "message": message},
            "output": self._output,
        }
        return chunk + self._event("response.failed", {"response": self.response})

    def _text(self, text: str, found: tuple[TokenLogprob, ...]) -> bytes | None:
        if not text and not found:
            return None
        before = b"" if self._open is Text else self._start() + self._close("completed") + self._begin_text()
        number = self._sequence
        self._sequence = number + 1
        self._pieces.append(text)
        if not found:
            return b"%b%b%d%b%b%b" % (before, _TEXT, number, self._at, sse.json(text), _TEXT_END)
        shown = logprobs(found)
        self._logprobs += shown
        return b'%b%b%d%b%b,"logprobs":%b}\n\n' % (before, _TEXT, number, self._at, sse.json(text), sse.json(shown))

    def _thought(self, text: str) -> bytes | None:
        if not text:
            return None
        before = b"" if self._open is Thinking else self._start() + self._close("completed") + self._begin_thought()
        number = self._sequence
        self._sequence = number + 1
        self._thoughts += 1
        self._pieces.append(text)
        return b"%b%b%d%b%b%b" % (before, _THOUGHT, number, self._at, sse.json(text), _END)

    def _start(self) -> bytes:
        """The two events that every response begins with, once."""
        if self._sequence:
            return b""
        created = self._event("response.created", {"response": self.response})
        return created + self._event("response.in_progress", {"response": self.response})

    def _begin_text(self) -> bytes:
        self._begin(Text, "msg", _TEXT_AT)
        item = {"id": self._id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return self._added(item) + self._placed("response.content_part.added", {"content_index": 0, "part": part})

    def _begin_thought(self) -> bytes:
        self._begin(Thinking, "rs", _THOUGHT_AT)
        return self._added({"id": self._id, "type": "reasoning", "summary": []})

    def _begin(self, kind: type[Text | Thinking], prefix: str, at: bytes) -> None:
        self._open, self._id = kind, self._new_id(prefix)
        self._at = at % (self._id.encode(), len(self._output))
        self._pieces, self._logprobs = [], []

    def _new_id(self, prefix: str) -> str:
        index = len(self._output)
        return f"{prefix}_{self._number}_{index}" if index else f"{prefix}_{self._number}"

    def _close(self, status: str) -> bytes:
        """The end of the item that grows, if one does."""
        kind, self._open = self._open, None
        if kind is None:
            return b""
        text = "".join(self._pieces)
        return self._end_text(text, status) if kind is Text else self._end_thought(text)

    def _end_text(self, text: str, status: str) -> bytes:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": self._logprobs}
        said = {"content_index": 0, "text": text, "logprobs": self._logprobs}
        item = {"id": self._id, "type": "message", "status": status, "role": "assistant", "content": [part]}
        done = self._placed("response.output_text.done", said)
        return done + self._placed("response.content_part.done", {"content_index": 0, "part": part}) + self._done(item)

    def _end_thought(self, text: str) -> bytes:
        summary = [{"type": "summary_text", "text": text}]
        item = {"id": self._id, "type": "reasoning", "summary": summary, "encrypted_content": text}
        said = {"summary_index": 0, "text": text}
        return self._placed("response.reasoning_summary_text.done", said) + self._done(item)

    def _call(self, call: ToolCall) -> bytes:
        self._id = self._new_id("fc")
        arguments = msgspec.json.encode(call.arguments).decode()
        item = {
            "id": self._id,
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": arguments,
        }
        return (
            self._added(item | {"status": "in_progress", "arguments": ""})
            + self._placed("response.function_call_arguments.delta", {"delta": arguments})
            + self._placed("response.function_call_arguments.done", {"arguments": arguments})
            + self._done(item)
        )

    def _added(self, item: Item) -> bytes:
        return self._event("response.output_item.added", {"output_index": len(self._output), "item": item})

    def _placed(self, name: str, fields: Item) -> bytes:
        return self._event(name, {"item_id": self._id, "output_index": len(self._output)} | fields)

    def _done(self, item: Item) -> bytes:
        event = self._event("response.output_item.done", {"output_index": len(self._output), "item": item})
        self._output.append(item)
        return event

    def _event(self, name: str, fields: Item) -> bytes:
        number = self._sequence
        self._sequence = number + 1
        return sse.event(name, {"type": name, "sequence_number": number} | fields)


def _failure(error: PowerError) -> str:
    if isinstance(error, Busy):
        return "rate_limit_exceeded"
    return "invalid_prompt" if error.status < 500 else "server_error"


def _usage(counts: Usage, thoughts: int) -> Item:
    """The usage as it is shown. Thoughts are counted by the pieces they came in, which are tokens nearly always."""
    cut = {"truncated_messages": counts.dropped_messages, "truncated_tokens": counts.cut_tokens}
    shifted = {"shifted": True} if counts.shifted else {}
    return {
        "input_tokens": counts.prompt_tokens,
        "output_tokens": counts.output_tokens,
        "total_tokens": counts.prompt_tokens + counts.output_tokens,
        "input_tokens_details": {"cached_tokens": counts.cached_tokens, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": min(thoughts, counts.output_tokens)},
        **({"context": cut | shifted} if any(cut.values()) or shifted else {}),
    }
