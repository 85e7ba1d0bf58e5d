"""What answers are made of: errors, ids, counts, the reason of an end; and a whole answer in one object."""

from collections.abc import Collection
from secrets import token_hex
from typing import Any, Final, Literal

import msgspec
from starlette.responses import Response

from a3s_power.api import sse
from a3s_power.api.anthropic.tools import SEARCH
from a3s_power.api.sentences import sentence
from a3s_power.core.errors import BadRequest, PowerError
from a3s_power.core.events import Done, Event, Text, Thinking, ToolCalls
from a3s_power.core.messages import ToolCall
from a3s_power.core.usage import Usage
from a3s_power.log import request_id

JSON: Final = "application/json"

_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
_HEADERS: Final = {413: {"Connection": "close"}, 503: {"Retry-After": "1"}}
"""The rest of a body that is too large is not read, so the connection cannot be used again."""

_NO_THREADS: Final = "conversations are not kept here: send the whole of it, without thread"

Block = dict[str, Any]
StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class NoThreads(BadRequest):
    """A request that begins or goes on with a conversation kept by the server; clients then send the whole of it."""

    def __init__(self, message: str = _NO_THREADS) -> None:
        super().__init__(message)


def answer(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A whole JSON answer."""
    named = {"request-id": _request_id(), **(headers or {})}
    return Response(msgspec.json.encode(value), status, media_type=JSON, headers=named)


def stream_headers() -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a stream."""
    return (*sse.HEADERS, (b"request-id", _request_id().encode()))


def _request_id() -> str:
    return f"req_{request_id.get()}"


def refusal(error: PowerError) -> Response:
    """An error as a whole answer, with its own status."""
    status = _status(error)
    return answer(_failure(error, status), status=status, headers=_HEADERS.get(status))


def error_event(error: PowerError) -> bytes:
    """An error as the last event of a stream that has begun; clients make an exception of it."""
    return sse.event("error", _failure(error, _status(error)))


def _status(error: PowerError) -> int:
    """Ollama calls some mistakes of a caller its own; nothing here is bound to that."""
    return 400 if isinstance(error, BadRequest) and error.status >= 500 else error.status


def _failure(error: PowerError, status: int) -> dict[str, Any]:
    detail: dict[str, Any] = {"type": _KINDS.get(status, "api_error"), "message": sentence(error)}
    if isinstance(error, NoThreads):
        detail["details"] = {"error_code": "thread_unsupported_request"}
    return {"type": "error", "error": detail, "request_id": _request_id()}


def message_id() -> str:
    """The id of a new answer."""
    return f"msg_{token_hex(12)}"


def usage(counts: Usage) -> dict[str, Any]:
    """Token counts as the API defines them: those read from a cache are counted apart from the rest of the prompt.

    What was left out of the conversation is told only where something was.
    """
    cut = {"truncated_messages": counts.dropped_messages, "truncated_tokens": counts.cut_tokens}
    shifted = {"shifted": True} if counts.shifted else {}
    return {
        "input_tokens": counts.prompt_tokens - counts.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": counts.cached_tokens,
        "output_tokens": counts.output_tokens,
        **({"context": cut | shifted} if any(cut.values()) or shifted else {}),
    }


def ended(done: Done, stops: Collection[str], *, called: bool) -> dict[str, str | None]:
    """Why an answer ended. A stop text counts when it is the caller's own; `called` says that tools were called."""
    reason: StopReason = "max_tokens" if done.reason == "length" else "end_turn"
    if called:
        reason = "tool_use"
    elif done.stop_text and done.stop_text in stops:
        return {"stop_reason": "stop_sequence", "stop_sequence": done.stop_text}
    return {"stop_reason": reason, "stop_sequence": None}


class Calls:
    """The blocks of the calls in an answer, and whether any of them is the caller's to carry out.

    With `searches` a call of the web search is the server's, which has nothing to search with and says so.
    """

    def __init__(self, *, searches: bool) -> None:
        self._searches = searches
        self._seen: set[str] = set()
        self.called = False

    def blocks(self, calls: tuple[ToolCall, ...]) -> list[Block]:
        """The blocks of these calls; one whose id has been seen before has none."""
        found: list[Block] = []
        for call in calls:
            if call.id in self._seen:
                continue
            if call.id:
                self._seen.add(call.id)
            if self._searches and call.name == SEARCH:
                found += _search(call)
            else:
                self.called = True
                found.append({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments})
        return found


def _search(call: ToolCall) -> list[Block]:
    query = call.arguments.get("query")
    code = "unavailable" if isinstance(query, str) and query.strip() else "invalid_request"
    known_as = f"srvtoolu_{call.id}"
    failed = {"type": "web_search_tool_result_error", "error_code": code}
    return [
        {"type": "server_tool_use", "id": known_as, "name": SEARCH, "input": call.arguments},
        {"type": "web_search_tool_result", "tool_use_id": known_as, "content": failed},
    ]


class Whole:
    """One object for all events: what was thought, what was said, the calls."""

    def __init__(self, model: str, stops: Collection[str], *, searches: bool) -> None:
        self._model = model
        self._stops = stops
        self._calls = Calls(searches=searches)
        self._thinking: list[str] = []
        self._texts: list[str] = []
        self._called: list[Block] = []

    def say(self, event: Event) -> Response | None:
        """The whole answer, once the last event has come."""
        match event:
            case Text():
                self._texts.append(event.text)
            case Thinking():
                self._thinking.append(event.text)
            case ToolCalls():
                self._called += self._calls.blocks(event.calls)
            case Done():
                return answer(self._message(event))
        return None

    def _message(self, done: Done) -> dict[str, Any]:
        thinking, text = "".join(self._thinking), "".join(self._texts)
        thought: list[Block] = [{"type": "thinking", "thinking": thinking, "signature": ""}] if thinking else []
        said: list[Block] = [{"type": "text", "text": text}] if text else []
        return {
            "id": message_id(),
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [*thought, *said, *self._called],
            **ended(done, self._stops, called=self._calls.called),
            "usage": usage(done.usage),
        }
