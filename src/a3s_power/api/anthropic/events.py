"""The stream of a message: blocks that begin, grow and end, in the order and with the numbers clients rely on."""

from collections.abc import Callable, Collection
from typing import Final, Literal

from a3s_power.api import sse
from a3s_power.api.anthropic.answers import Block, Calls, ended, message_id, usage
from a3s_power.core.events import Done, Event, Text, Thinking, ToolCalls

_PING: Final = sse.event("ping", {"type": "ping"})
_STOP: Final = sse.event("message_stop", {"type": "message_stop"})
_DELTA: Final = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b":'
_END: Final = b"}}\n\n"

_Open = Literal["", "text", "thinking"]
_KINDS: Final[dict[_Open, tuple[Block, bytes]]] = {
    # Clients add to what a block begins with, so that must be there, though it is empty.
    "text": ({"type": "text", "text": ""}, b'text_delta","text'),
    "thinking": ({"type": "thinking", "thinking": "", "signature": ""}, b'thinking_delta","thinking'),
}


class Stream:
    """The events of one message. What does not change between the pieces of a block is encoded once.

    `estimate` gives about how many tokens the prompt has: the stream begins before anybody has counted.
    """

    def __init__(self, model: str, stops: Collection[str], *, searches: bool, estimate: Callable[[], int]) -> None:
        self._model = model
        self._stops = stops
        self._estimate = estimate
        self._calls = Calls(searches=searches)
        self._begun = False
        self._index = 0
        self._open: _Open = ""
        self._head = b""

    def say(self, event: Event) -> bytes | None:
        """What a client is told of an event; nothing of one that the API has no words for."""
        match event:
            case Text():
                return self._grown("text", event.text) if event.text else None
            case Thinking():
                return self._grown("thinking", event.text) if event.text else None
            case ToolCalls():
                blocks = self._calls.blocks(event.calls)
                return self._start() + self._close() + b"".join(map(self._whole, blocks)) if blocks else None
            case Done():
                delta = ended(event, self._stops, called=self._calls.called)
                last = {"type": "message_delta", "delta": delta, "usage": usage(event.usage)}
                return self._start() + self._close() + sse.event("message_delta", last) + _STOP
        return None

    def beat(self) -> bytes:
        """A sign of life. The message begins with it, since nothing may come before that."""
        return self._start() + _PING

    def _grown(self, kind: _Open, text: str) -> bytes:
        if self._open == kind:
            return b"%b%b%b" % (self._head, sse.json(text), _END)
        before = self._start() + self._close()
        block, delta = _KINDS[kind]
        self._open, self._head = kind, _DELTA % (self._index, delta)
        return b"%b%b%b%b%b" % (before, self._started(block), self._head, sse.json(text), _END)

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message: Block = {
            "id": message_id(),
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": self._estimate(), "output_tokens": 0},
        }
        return sse.event("message_start", {"type": "message_start", "message": message})

    def _close(self) -> bytes:
        """The end of the block that is open, if one is. A thought is signed: some clients give back no other."""
        if not self._open:
            return b""
        signed = self._delta({"type": "signature_delta", "signature": ""}) if self._open == "thinking" else b""
        self._open = ""
        return signed + self._stopped()

    def _whole(self, block: Block) -> bytes:
        """A block in one go; the caller's calls get their arguments as a piece, as if they had grown."""
        if block["type"] != "tool_use":
            return self._started(block) + self._stopped()
        arguments = sse.json(block["input"]).decode()
        piece = self._delta({"type": "input_json_delta", "partial_json": arguments})
        return self._started(block | {"input": {}}) + piece + self._stopped()

    def _started(self, block: Block) -> bytes:
        begins = {"type": "content_block_start", "index": self._index, "content_block": block}
        return sse.event("content_block_start", begins)

    def _delta(self, delta: Block) -> bytes:
        grows = {"type": "content_block_delta", "index": self._index, "delta": delta}
        return sse.event("content_block_delta", grows)

    def _stopped(self) -> bytes:
        at = self._index
        self._index += 1
        return sse.event("content_block_stop", {"type": "content_block_stop", "index": at})
