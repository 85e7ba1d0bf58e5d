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
        self._drafted = self._accepted = 0

    def add(self, choice: int, usage: Usage) -> None:
        """Count a choice that has ended."""
        if choice % self._wanted == 0:
            self._prompts.append(usage)
        self._output += usage.output_tokens
        self._shifted |= usage.shifted
        self._drafted += usage.draft_tokens
        self._accepted += usage.accepted_tokens

    def shown(self) -> dict[str, Any]:
        """The usage as it is shown. What was left out of a prompt is told only where something was."""
        read = self._prompts
        prompt = sum(usage.prompt_tokens for usage in read)
        left_out = cut(
            sum(usage.dropped_messages for usage in read),
            sum(usage.cut_tokens for usage in read),
            shifted=self._shifted,
        )
        guessed = guesses(self._drafted, self._accepted)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self._output,
            "total_tokens": prompt + self._output,
            "prompt_tokens_details": {"cached_tokens": sum(usage.cached_tokens for usage in read)},
            **({"completion_tokens_details": guessed} if guessed else {}),
            **left_out,
        }


def cut(messages: int, tokens: int, *, shifted: bool) -> dict[str, Any]:
    """What was left out of a conversation, nothing where nothing was."""
    if not (messages or tokens or shifted):
        return {}
    told = {"truncated_messages": messages, "truncated_tokens": tokens}
    return {"context": told | ({"shifted": True} if shifted else {})}


def cut_of(usage: Usage) -> bytes:
    """The same of one answer, as it goes on in the object that ends a stream, where usage may not be wanted."""
    left_out = cut(usage.dropped_messages, usage.cut_tokens, shifted=usage.shifted)
    return b",%b" % sse.json(left_out)[1:-1] if left_out else b""


def guesses(drafted: int, accepted: int) -> dict[str, int]:
    """How many of the tokens that were guessed ahead were right, and how many wrong; nothing where none was."""
    if not drafted:
        return {}
    return {"accepted_prediction_tokens": accepted, "rejected_prediction_tokens": drafted - accepted}


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
