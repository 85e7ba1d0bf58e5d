"""What answers are made of: ids, counts, calls of tools, log-probabilities, the reason of an end."""

import time
from collections.abc import Iterable
from secrets import token_hex
from typing import Any, Final

import msgspec
from starlette.responses import Response

from a3s_power.api import sse
from a3s_power.api.openai.errors import JSON
from a3s_power.api.waiting import waits
from a3s_power.core.events import Done, Logprob, Rendered, TokenLogprob, Waiting
from a3s_power.core.messages import ToolCall
from a3s_power.core.usage import Usage

DONE: Final = b"data: [DONE]\n\n"
"""What every stream ends with that came to its end."""


def answer(value: object) -> Response:
    """A whole JSON answer."""
    return Response(msgspec.json.encode(value), media_type=JSON)


class Head:
    """What every chunk of an answer, and the answer in one piece, says first: one id and one time for all of it."""

    def __init__(self, prefix: str, model: str) -> None:
        self._id = f"{prefix}-{token_hex(12)}"
        self._created = int(time.time())
        self._model = model

    def fields(self, kind: str) -> dict[str, Any]:
        """The fields, `kind` being the object's."""
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "system_fingerprint": "fp_ollama",
        }

    def opened(self, kind: str) -> bytes:
        """An event up to where the next field begins."""
        return b"data: %b," % sse.json(self.fields(kind))[:-1]


def progress(opened: bytes, event: Waiting) -> bytes:
    """The chunk, opened up to where its choices begin, of what is waited for."""
    return b'%b"choices":[],"progress":%b}\n\n' % (opened, sse.json(waits(event)))


class Counted:
    """The usage of all the choices of one answer: a prompt is counted once, for the first of its `wanted` choices."""

    def __init__(self, wanted: int = 1) -> None:
        self._wanted = wanted
        self._prompts: list[Usage] = []
        self._output = 0
        self._shifted = False

    def add(self, choice: int, usage: Usage) -> None:
        """Count a choice that has ended."""
        if choice % self._wanted == 0:
            self._prompts.append(usage)
        self._output += usage.output_tokens
        self._shifted |= usage.shifted

    def shown(self) -> dict[str, Any]:
        """The usage as it is shown. What was left out of a prompt is told only where something was."""
        read = self._prompts
        prompt = sum(usage.prompt_tokens for usage in read)
        cut = {
            "truncated_messages": sum(usage.dropped_messages for usage in read),
            "truncated_tokens": sum(usage.cut_tokens for usage in read),
        }
        shifted = {"shifted": True} if self._shifted else {}
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self._output,
            "total_tokens": prompt + self._output,
            "prompt_tokens_details": {"cached_tokens": sum(usage.cached_tokens for usage in read)},
            **({"context": cut | shifted} if any(cut.values()) or shifted else {}),
        }


def reason(done: Done, *, called: bool = False) -> str:
    """Why an answer ended; `called` says that tools were called."""
    if done.reason == "length":
        return "length"
    return "tool_calls" if called else "stop"


def called(calls: Iterable[ToolCall], first: int) -> list[dict[str, Any]]:
    """Calls as they are shown, numbered from `first` on."""
    return [
        {
            "id": call.id,
            "index": first + number,
            "type": "function",
            "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
        }
        for number, call in enumerate(calls)
    ]


def logprobs(found: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """Log-probabilities as chats show them."""
    return [_shown(each.said) | {"top_logprobs": [_shown(other) for other in each.top]} for each in found]


def _shown(one: Logprob) -> dict[str, Any]:
    return {"token": one.token, "logprob": one.logprob, "bytes": list(one.bytes)}


def debug_info(rendered: Rendered) -> dict[str, Any]:
    """The prompt of a request that asked for no more than that."""
    images = {"image_count": rendered.images} if rendered.images else {}
    return {"_debug_info": {"rendered_template": rendered.prompt, **images}}
