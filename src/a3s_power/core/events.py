"""What a generation says, piece by piece: (Progress | Waiting)* (Text | Thinking | ToolCalls)* Done."""

from typing import Literal

import msgspec

from a3s_power.core.messages import ToolCall
from a3s_power.core.usage import Usage

Reason = Literal["stop", "length", "load", "unload"]


class Logprob(msgspec.Struct, frozen=True, array_like=True):
    """A token the model could have said: its text's bytes and the natural logarithm of its probability."""

    token: str
    bytes: bytes
    logprob: float


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """The token it said, and the likeliest ones at that place, best first."""

    said: Logprob
    top: tuple[Logprob, ...] = ()


class Progress(msgspec.Struct, frozen=True, tag="p", array_like=True):
    """How far long work is. `total` and `completed` are bytes, or 0 where there is nothing to count."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0


class Waiting(msgspec.Struct, frozen=True, tag="w", array_like=True):
    """What a request waits for: its turn, with so many before it, or its model, loaded to this fraction (0 to 1)."""

    phase: Literal["queued", "loading"]
    position: int = 0
    fraction: float = 0.0


class Text(msgspec.Struct, frozen=True, tag="t", array_like=True):
    """A piece of the answer."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class Thinking(msgspec.Struct, frozen=True, tag="k", array_like=True):
    """A piece of what the model thinks before it answers."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class ToolCalls(msgspec.Struct, frozen=True, tag="c", array_like=True):
    """Calls that are whole."""

    calls: tuple[ToolCall, ...]


class Rendered(msgspec.Struct, frozen=True, tag="r", array_like=True):
    """The prompt a conversation becomes, for a request that asked for no more than that. `tokens` is its length."""

    prompt: str
    images: int = 0
    tokens: int = 0


class Done(msgspec.Struct, frozen=True, tag="d", array_like=True):
    """The end, and what it took. `context` is the token ids of prompt and answer, where they were asked for.

    `stop_text` is the stop text that ended the answer, empty when none did.
    """

    reason: Reason
    usage: Usage
    context: tuple[int, ...] | None = None
    stop_text: str = ""


Event = Progress | Waiting | Text | Thinking | ToolCalls | Rendered | Done
