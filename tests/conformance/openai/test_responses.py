"""`/v1/responses` by its sheet: the whole object, the order of the stream's events, what is refused, what is kept."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.api.openai.responses_events import Told
from a3s_power.api.openai.responses_wire import ResponsesRequest
from a3s_power.core.errors import (
    LoadFailed,
    ModelNotFound,
    PowerError,
    PromptTooLong,
    QueueFull,
    RunnerDied,
    StoreFailed,
)
from a3s_power.core.events import (
    Done,
    Event,
    Logprob,
    Progress,
    Rendered,
    Text,
    Thinking,
    TokenLogprob,
    ToolCalls,
)
from a3s_power.core.messages import Message, ToolCall, ToolChoice
from a3s_power.core.requests import Chat
from a3s_power.core.usage import Usage
from a3s_power.service.kept import LocalResponses
from a3s_power.service.ports import Kept, Responses
from tests.fakes import FakeInference, client, service

_PATH = "/v1/responses"
_BODY: dict[str, Any] = {"model": "m", "input": "hi"}
_USAGE = Usage(prompt_tokens=9, cached_tokens=4, output_tokens=5)
_DONE = Done("stop", _USAGE)
_CUT = Done("length", _USAGE)
_CALLS = ToolCalls((ToolCall(name="f", arguments={"a": 1}, id="c1"), ToolCall(name="g", arguments={}, id="c2")))
_TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
_OFF = "responses are not kept here: the setting store_responses turns that on"


def _posted(folder: Path, *script: Event | Exception, **body: Any) -> httpx2.Response:
    return client(folder, service(folder, FakeInference(*script))).post(_PATH, json=_BODY | body)


def _asked(folder: Path, **body: Any) -> Chat:
    """What the domain is asked by such a body."""
    inference = FakeInference(Text("a"), _DONE)
    answer = client(folder, service(folder, inference)).post(_PATH, json=_BODY | body)
    assert answer.status_code == 200, answer.text
    (request,) = inference.asked
    assert isinstance(request, Chat)
    return request


def _events(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The events of a stream: each named as it says itself, and all of them numbered without a gap."""
    assert answer.headers["content-type"] == "text/event-stream"
    *frames, rest = answer.text.split("\n\n")
    assert rest == ""
    events = []
    for frame in frames:
        if not frame.startswith(":"):
            name, data = frame.split("\n")
            events.append(json.loads(data.removeprefix("data: ")))
            assert name == f"event: {events[-1]['type']}"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def _short(events: list[dict[str, Any]]) -> list[str]:
    """Their types, without what all have in common, with the places of items."""
    return [
        event["type"].removeprefix("response.") + (f" {event['output_index']}" if "output_index" in event else "")
        for event in events
    ]


_BEGUN = ["created", "in_progress"]


def _text(place: int, pieces: int = 1) -> list[str]:
    return [
        f"output_item.added {place}",
        f"content_part.added {place}",
        *[f"output_text.delta {place}"] * pieces,
        f"output_text.done {place}",
        f"content_part.done {place}",
        f"output_item.done {place}",
    ]


def _thought(place: int, pieces: int = 1) -> list[str]:
    return [
        f"output_item.added {place}",
        *[f"reasoning_summary_text.delta {place}"] * pieces,
        f"reasoning_summary_text.done {place}",
        f"output_item.done {place}",
    ]


def _call(place: int) -> list[str]:
    return [
        f"output_item.added {place}",
        f"function_call_arguments.delta {place}",
        f"function_call_arguments.done {place}",
        f"output_item.done {place}",
    ]


STREAMS: list[tuple[int, tuple[Event, ...], list[str]]] = [
    (53, (Progress("loading"), Text("a"), Text("b"), _DONE), _text(0, 2)),
    (53, (_DONE,), _text(0, 0)),
    (53, (Text(""), Thinking(""), _DONE), _text(0, 0)),
    (54, (Thinking("t"), Thinking("u"), Text("a"), _DONE), [*_thought(0, 2), *_text(1)]),
    (54, (Thinking("t"), _CUT), [*_thought(0), *_text(1, 0)]),
    (54, (Thinking("t"), _CALLS, _DONE), [*_thought(0), *_call(1), *_call(2)]),
    (54, (Thinking("t"), Text("a"), Thinking("u"), _DONE), [*_thought(0), *_text(1), *_thought(2)]),
    (55, (Text("a"), _CALLS, _DONE), [*_text(0), *_call(1), *_call(2)]),
    (55, (_CALLS, Text("a"), _DONE), [*_call(0), *_call(1), *_text(2)]),
    (56, (_CALLS, _DONE), [*_call(0), *_call(1)]),
]


@pytest.mark.parametrize(("row", "script", "order"), STREAMS, ids=lambda each: None if isinstance(each, int) else "")
def test_events_come_in_their_order(tmp_path: Path, row: int, script: tuple[Event, ...], order: list[str]) -> None:
    """Rows 53, 54, 55, 56."""
    events = _events(_posted(tmp_path, *script, stream=True))
    assert _short(events) == [*_BEGUN, *order, "completed"], row
    begun, final = events[0]["response"], events[-1]["response"]
    assert events[1]["response"] == begun
    assert (begun["status"], begun["output"], begun["usage"], begun["completed_at"]) == ("in_progress", [], None, None)
    assert (final["id"], final["created_at"]) == (begun["id"], begun["created_at"])
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    assert final["output"] == done
    assert [(item["id"], item["type"], item.get("call_id")) for item in added] == [
        (item["id"], item["type"], item.get("call_id")) for item in done
    ]
    assert len({item["id"] for item in done}) == len(done)


@pytest.mark.parametrize(("row", "script", "order"), STREAMS, ids=lambda each: None if isinstance(each, int) else "")
def test_a_whole_answer_is_what_its_stream_adds_up_to(
    tmp_path: Path, row: int, script: tuple[Event, ...], order: list[str]
) -> None:
    streamed = _events(_posted(tmp_path, *script, stream=True))[-1]["response"]
    whole = _posted(tmp_path, *script).json()
    number, other = (each["id"].removeprefix("resp_") for each in (whole, streamed))
    times = {"created_at": 0, "completed_at": 0}
    assert json.loads(json.dumps(whole).replace(number, "N")) | times == (
        json.loads(json.dumps(streamed).replace(other, "N")) | times
    ), (row, order)


def test_the_events_of_a_text_are_those_of_the_sheet(tmp_path: Path) -> None:
    """Row 53."""
    events = _events(_posted(tmp_path, Text("a"), Text("b\u2028"), _DONE, stream=True))
    item = events[2]["item"]
    assert item == {"id": item["id"], "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "annotations": [], "logprobs": []}
    plain = [{name: each for name, each in event.items() if name != "sequence_number"} for event in events[3:-1]]
    assert plain == [
        {"type": "response.content_part.added", **at, "part": part | {"text": ""}},
        {"type": "response.output_text.delta", **at, "delta": "a", "logprobs": []},
        {"type": "response.output_text.delta", **at, "delta": "b\u2028", "logprobs": []},
        {"type": "response.output_text.done", **at, "text": "ab\u2028", "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part | {"text": "ab\u2028"}},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": item | {"status": "completed", "content": [part | {"text": "ab\u2028"}]},
        },
    ]


def test_the_events_of_a_thought_and_a_call_are_those_of_the_sheet(tmp_path: Path) -> None:
    """Rows 54, 56."""
    events = _events(_posted(tmp_path, Thinking("t"), _CALLS, _DONE, stream=True))
    plain = [{name: each for name, each in event.items() if name != "sequence_number"} for event in events[2:10]]
    first, call = plain[0]["item"]["id"], plain[4]["item"]["id"]
    at, then = {"item_id": first, "output_index": 0}, {"item_id": call, "output_index": 1}
    thought = {"id": first, "type": "reasoning", "summary": []}
    called = {"id": call, "type": "function_call", "status": "in_progress", "call_id": "c1", "name": "f"}
    assert plain == [
        {"type": "response.output_item.added", "output_index": 0, "item": thought},
        {"type": "response.reasoning_summary_text.delta", **at, "summary_index": 0, "delta": "t"},
        {"type": "response.reasoning_summary_text.done", **at, "summary_index": 0, "text": "t"},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": thought | {"summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "t"},
        },
        {"type": "response.output_item.added", "output_index": 1, "item": called | {"arguments": ""}},
        {"type": "response.function_call_arguments.delta", **then, "delta": '{"a":1}'},
        {"type": "response.function_call_arguments.done", **then, "arguments": '{"a":1}'},
        {
            "type": "response.output_item.done",
            "output_index": 1,
            "item": called | {"status": "completed", "arguments": '{"a":1}'},
        },
    ]


def test_a_response_has_every_field(tmp_path: Path) -> None:
    """Row 47."""
    whole = _posted(tmp_path, Text("a"), _DONE).json()
    number = whole["id"].removeprefix("resp_")
    assert len(number) >= 32
    content = [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]
    message = {
        "id": f"msg_{number}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": content,
    }
    assert whole.pop("completed_at") >= whole.pop("created_at") > 0
    assert whole == {
        "id": f"resp_{number}",
        "object": "response",
        "status": "completed",
        "incomplete_details": None,
        "model": "m",
        "previous_response_id": None,
        "instructions": None,
        "output": [message],
        "error": None,
        "tools": [],
        "tool_choice": "auto",
        "truncation": "disabled",
        "parallel_tool_calls": True,
        "text": {"format": {"type": "text"}},
        "top_p": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_logprobs": 0,
        "temperature": 1,
        "reasoning": None,
        "usage": {
            "input_tokens": 9,
            "output_tokens": 5,
            "total_tokens": 14,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
        "max_output_tokens": None,
        "max_tool_calls": None,
        "store": False,
        "background": False,
        "service_tier": "default",
        "metadata": {},
        "safety_identifier": None,
        "prompt_cache_key": None,
    }


def test_what_was_asked_is_repeated(tmp_path: Path) -> None:
    """Row 50."""
    said: dict[str, Any] = {
        "instructions": "be short",
        "temperature": 0.5,
        "top_p": 0.25,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "max_output_tokens": 7,
        "max_tool_calls": 3,
        "truncation": "auto",
        "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [_TOOL | {"strict": True}],
        "reasoning": {"effort": "none", "summary": "auto"},
        "metadata": {"a": "b"},
        "safety_identifier": "s",
        "prompt_cache_key": "p",
        "top_logprobs": 2,
    }
    whole = _posted(tmp_path, Text("a"), _DONE, **said, text={"format": None, "verbosity": "low"}).json()
    assert {name: whole[name] for name in said} == said
    assert whole["text"] == {"format": {"type": "text"}, "verbosity": "low"}


def test_thoughts_are_counted(tmp_path: Path) -> None:
    usage = _posted(tmp_path, Thinking("t"), Thinking("u"), Text("a"), _DONE).json()["usage"]
    assert usage["output_tokens_details"] == {"reasoning_tokens": 2}


def test_what_was_left_out_of_the_prompt_is_told(tmp_path: Path) -> None:
    done = Done("stop", Usage(prompt_tokens=1, dropped_messages=2, cut_tokens=3))
    usage = _posted(tmp_path, Text("a"), done).json()["usage"]
    assert usage["context"] == {"truncated_messages": 2, "truncated_tokens": 3}
    usage = _posted(tmp_path, Text("a"), Done("stop", Usage(shifted=True))).json()["usage"]
    assert usage["context"] == {"truncated_messages": 0, "truncated_tokens": 0, "shifted": True}


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_was_cut_is_incomplete(tmp_path: Path, stream: bool) -> None:
    """Row 57: the last event has the one name that clients take for an end."""
    answer = _posted(tmp_path, Text("a"), _CUT, stream=stream)
    whole = _events(answer)[-1]["response"] if stream else answer.json()
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (whole["completed_at"], whole["output"][0]["status"]) == (None, "incomplete")


def test_log_probabilities_come_with_the_pieces_and_with_the_whole(tmp_path: Path) -> None:
    token = TokenLogprob(Logprob("a", b"a", -0.5), (Logprob("b", b"b", -1.0),))
    shown = {
        "token": "a",
        "logprob": -0.5,
        "bytes": [97],
        "top_logprobs": [{"token": "b", "logprob": -1.0, "bytes": [98]}],
    }
    events = _events(_posted(tmp_path, Text("a", (token,)), Text("", (token,)), _DONE, stream=True))
    deltas = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert deltas == [[shown], [shown]]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [shown, shown]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, None),
        ({"include": ["reasoning.encrypted_content"]}, None),
        ({"include": ["message.output_text.logprobs"]}, 0),
        ({"top_logprobs": 3}, 3),
    ],
)
def test_log_probabilities_are_asked_for_in_two_ways(tmp_path: Path, said: Any, found: int | None) -> None:
    assert _asked(tmp_path, **said).top_logprobs == found


def test_the_fields_of_a_request_reach_the_model(tmp_path: Path) -> None:
    """Rows 48, 50."""
    request = _asked(
        tmp_path,
        instructions="be short",
        max_output_tokens=7,
        reasoning={"effort": "low"},
        parallel_tool_calls=False,
        truncation="disabled",
        keep_alive="5m",
        num_ctx=512,
        options={"top_k": 3, "temperature": 0.5},
        stop=["x"],
    )
    assert request.messages == (Message(role="system", content="be short"), Message(role="user", content="hi"))
    options = request.asked.options
    assert (options.num_predict, options.num_ctx, options.top_k, options.stop) == (7, 512, 3, ("x",))
    assert (options.temperature, options.top_p) == (0.5, None)
    assert (request.think, request.parallel_tool_calls, request.truncate) == ("low", False, False)
    assert (request.keep_alive, request.shown) == (300, "m")


def test_what_a_request_does_not_say_is_as_the_reference_has_it(tmp_path: Path) -> None:
    """Row 47: only the temperature has a default of OpenAI's."""
    request = _asked(tmp_path)
    options = request.asked.options
    assert (options.temperature, options.top_p, options.num_predict) == (1.0, None, None)
    assert (request.think, request.parallel_tool_calls, request.truncate, request.format) == (None, True, True, None)
    assert _asked(tmp_path, think=True, reasoning={"effort": "none"}).think is True


@pytest.mark.parametrize(
    ("form", "found"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}}, {"type": "object"}),
    ],
)
def test_a_format_is_followed_and_repeated(tmp_path: Path, form: Any, found: Any) -> None:
    """Row 51."""
    assert _asked(tmp_path, text={"format": form}).format == found
    whole = _posted(tmp_path, Text("{}"), _DONE, text={"format": form}).json()
    assert whole["text"] == {"format": form or {"type": "text"}}


def test_tools_are_functions_alone_and_in_namespaces(tmp_path: Path) -> None:
    """Row 58: the types that only OpenAI runs are left out, and the answer says so."""
    tools = [
        _TOOL,
        {"type": "web_search", "external_web_access": False},
        {"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "g"}, _TOOL | {"name": "ns.h"}]},
        {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "web_search"},
    ]
    request = _asked(tmp_path, tools=tools)
    assert [(tool.name, tool.description) for tool in request.tools] == [("f", "d"), ("ns.g", ""), ("ns.h", "d")]
    whole = _posted(tmp_path, Text("a"), _DONE, tools=tools).json()
    bare = {"type": "function", "name": "ns.g", "description": None, "strict": None, "parameters": None}
    assert whole["tools"] == [_TOOL | {"strict": None}, bare, _TOOL | {"name": "ns.h", "strict": None}]
    assert whole["tools_left_out"] == ["web_search", "custom"]


@pytest.mark.parametrize(
    ("choice", "tools", "found"),
    [
        (None, 2, ToolChoice()),
        ("auto", 2, ToolChoice()),
        ("none", 0, ToolChoice()),
        ("required", 2, ToolChoice("required")),
        ({"type": "function", "name": "f"}, 2, ToolChoice("required", "f")),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]},
            1,
            ToolChoice("required"),
        ),
    ],
)
def test_a_choice_of_tools_is_heeded(tmp_path: Path, choice: Any, tools: int, found: ToolChoice) -> None:
    request = _asked(tmp_path, tools=[_TOOL, _TOOL | {"name": "g"}], tool_choice=choice)
    assert (len(request.tools), request.tool_choice) == (tools, found)


_CHOICE = 'tool_choice must be "none", "auto", "required", a function, or a list of allowed tools'
_EFFORTS = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'

REFUSED: list[tuple[int, dict[str, Any], str | None, str]] = [
    (47, {"model": None}, None, "model is required"),
    (47, {"model": " "}, None, "model is required"),
    (47, {"model": "a b"}, None, "invalid model name"),
    (50, {"reasoning": {"effort": "x"}}, None, f'invalid reasoning value: "x" (must be {_EFFORTS})'),
    (51, {"text": {"format": {"type": "json_schema"}}}, "text.format.schema", "text.format json_schema has no schema"),
    (52, {"input": [{"type": "x"}]}, None, 'input[0]: unknown input item type: "x"'),
    (
        52,
        {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
        None,
        "input[0]: content[0]: file inputs are not currently supported",
    ),
    (52, {"input": [{"type": "item_reference", "id": "msg_1"}]}, None, f"input[0]: item_reference: {_OFF}"),
    (47, {"background": True}, "background", "responses are not made in the background here: leave background out"),
    (
        47,
        {"conversation": "conv_1"},
        "conversation",
        "conversations are not kept here: send the items, or previous_response_id",
    ),
    (47, {"prompt": {"id": "p"}}, "prompt", "prompts are not kept here: send instructions and input"),
    (47, {"previous_response_id": "resp_1"}, "previous_response_id", _OFF),
    (47, {"truncation": "some"}, "truncation", 'truncation must be "auto" or "disabled"'),
    (47, {"n": 2}, "n", "a response is one answer: n must be 1"),
    (47, {"top_logprobs": 21}, None, "top_logprobs must be between 0 and 20"),
    (
        58,
        {"tools": [{"type": "web_search"}]},
        "tools",
        "tools of type 'web_search' are not offered here, only functions are",
    ),
    (58, {"tools": [_TOOL], "tool_choice": {"type": "web_search"}}, "tool_choice", _CHOICE),
    (
        58,
        {"tools": [_TOOL], "tool_choice": {"type": "function", "name": "g"}},
        "tool_choice",
        "tool_choice names 'g', which is not among the tools",
    ),
    (58, {"tool_choice": "required"}, "tool_choice", "tool_choice asks for a tool, but the request has no tools"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("row", "wrong", "param", "complaint"), REFUSED, ids=[each[3][:50] for each in REFUSED])
def test_a_response_is_refused(
    tmp_path: Path, row: int, wrong: dict[str, Any], param: str | None, complaint: str, stream: bool
) -> None:
    inference = FakeInference()
    http = client(tmp_path, service(tmp_path, inference))
    answer = http.post(_PATH, json=_BODY | {"stream": stream} | wrong)
    error = {"message": complaint, "type": "invalid_request_error", "param": param, "code": None}
    assert (answer.status_code, answer.json()) == (400, {"error": error}), row
    assert inference.asked == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":5}', b'{"model":"m","input":"\xff"}'])
def test_a_body_that_cannot_be_read_is_refused_in_the_envelope(tmp_path: Path, body: bytes) -> None:
    """Row 52."""
    answer = client(tmp_path).post(_PATH, content=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status"),
    [(ModelNotFound("m"), 404), (QueueFull(), 503), (LoadFailed("no"), 500), (PromptTooLong("long"), 400)],
)
def test_an_error_before_the_first_event_has_its_own_status(
    tmp_path: Path, error: PowerError, status: int, stream: bool
) -> None:
    answer = _posted(tmp_path, error, stream=stream)
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, error.message)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunnerDied("it died"), "server_error"),
        (QueueFull(), "rate_limit_exceeded"),
        (PromptTooLong("it is long"), "context_length_exceeded"),
        (ModelNotFound("m"), "invalid_prompt"),
    ],
)
def test_an_error_after_it_is_told_twice(tmp_path: Path, error: PowerError, code: str) -> None:
    """As the event `error`, and with all that was whole until then as `response.failed`."""
    events = _events(_posted(tmp_path, Thinking("t"), Text("a"), error, stream=True))
    told, failed = events[-2:]
    assert (told["type"], told["code"], told["message"], told["param"]) == ("error", code, error.message, None)
    response = failed["response"]
    assert (failed["type"], response["status"]) == ("response.failed", "failed")
    assert response["error"] == {"code": code, "message": error.message}
    assert [item["type"] for item in response["output"]] == ["reasoning"]


def test_a_failure_while_a_client_was_only_told_to_wait_is_told_in_order() -> None:
    told = Told(ResponsesRequest(model="m").begun("1"), "1")
    frames = told.failed(RunnerDied("it died")).decode().split("\n\n")[:-1]
    assert [frame.partition("\n")[0].removeprefix("event: ") for frame in frames] == [
        "response.created",
        "response.in_progress",
        "error",
        "response.failed",
    ]


def test_the_tokens_of_a_request_are_counted(tmp_path: Path) -> None:
    inference = FakeInference(Rendered("<hi>", tokens=7))
    http = client(tmp_path, service(tmp_path, inference))
    answer = http.post("/v1/responses/input_tokens", json=_BODY | {"instructions": "x"})
    assert answer.json() == {"object": "response.input_tokens", "input_tokens": 7}
    (request,) = inference.asked
    assert isinstance(request, Chat)
    assert (request.render_only, len(request.messages)) == (True, 2)
    nothing = client(tmp_path, service(tmp_path, FakeInference(Done("load", Usage()))))
    assert nothing.post("/v1/responses/input_tokens", json={"model": "m"}).json()["input_tokens"] == 0


@pytest.fixture
def responses(tmp_path: Path) -> Iterator[LocalResponses]:
    """Where responses are kept."""
    with closing(LocalResponses(tmp_path / "responses.db", count=10, size=100_000, seconds=1000)) as opened:
        yield opened


def _keeping(folder: Path, responses: Responses, inference: FakeInference) -> Any:
    return client(folder, service(folder, inference)._replace(responses=responses))


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_is_kept_when_it_is_whole(tmp_path: Path, responses: LocalResponses, stream: bool) -> None:
    http = _keeping(tmp_path, responses, FakeInference(Thinking("t"), Text("a"), _CALLS, _DONE))
    answer = http.post(_PATH, json=_BODY | {"stream": stream})
    whole = _events(answer)[-1]["response"] if stream else answer.json()
    assert whole["store"] is True
    path = f"/v1/responses/{whole['id']}"
    kept = http.get(path)
    assert (kept.status_code, kept.headers["content-type"], kept.json()) == (200, "application/json", whole)
    assert http.delete(path).json() == {"id": whole["id"], "object": "response", "deleted": True}
    assert http.get(path).status_code == http.delete(path).status_code == 404
    assert http.get(path).json()["error"]["message"] == f"Response with id '{whole['id']}' not found."


def test_a_response_that_shall_not_be_kept_is_not(tmp_path: Path, responses: LocalResponses) -> None:
    http = _keeping(tmp_path, responses, FakeInference(Text("a"), _DONE))
    whole = http.post(_PATH, json=_BODY | {"store": False}).json()
    assert whole["store"] is False
    assert http.get(f"{_PATH}/{whole['id']}").status_code == 404


def test_a_response_that_failed_is_not_kept(tmp_path: Path, responses: LocalResponses) -> None:
    http = _keeping(tmp_path, responses, FakeInference(Text("a"), RunnerDied("it died")))
    failed = _events(http.post(_PATH, json=_BODY | {"stream": True}))[-1]["response"]
    assert http.get(f"{_PATH}/{failed['id']}").status_code == 404


def test_a_response_goes_on_from_another(tmp_path: Path, responses: LocalResponses) -> None:
    """Its instructions are its own, the rest is handed on."""
    inference = FakeInference(Thinking("t"), Text("a"), _CALLS, _DONE)
    http = _keeping(tmp_path, responses, inference)
    first = http.post(_PATH, json=_BODY | {"instructions": "one"}).json()
    outputs = [{"type": "function_call_output", "call_id": each, "output": "r"} for each in ("c1", "c2")]
    inference.script = (Text("b"), _DONE)
    second = http.post(_PATH, json={"model": "m", "input": outputs, "previous_response_id": first["id"]}).json()
    assert second["previous_response_id"] == first["id"]
    http.post(_PATH, json=_BODY | {"previous_response_id": second["id"], "instructions": "two"})
    request = inference.asked[-1]
    assert isinstance(request, Chat)
    assert request.messages == (
        Message(role="system", content="two"),
        Message(role="user", content="hi"),
        Message(role="assistant", content="a", thinking="t", tool_calls=request.messages[2].tool_calls),
        Message(role="tool", content="r", tool_name="f", tool_call_id="c1"),
        Message(role="tool", content="r", tool_name="g", tool_call_id="c2"),
        Message(role="assistant", content="b"),
        Message(role="user", content="hi"),
    )
    assert [call.name for call in request.messages[2].tool_calls] == ["f", "g"]


def test_an_item_can_stand_for_one_that_is_kept(tmp_path: Path, responses: LocalResponses) -> None:
    """Of the answer as of the request."""
    inference = FakeInference(Thinking("t"), Text("a"), _DONE)
    http = _keeping(tmp_path, responses, inference)
    first = http.post(_PATH, json=_BODY).json()
    listed = http.get(f"{_PATH}/{first['id']}/input_items").json()["data"]
    ids = [item["id"] for item in (*listed, *first["output"])]
    http.post(_PATH, json=_BODY | {"input": [{"type": "item_reference", "id": each} for each in ids]})
    request = inference.asked[-1]
    assert isinstance(request, Chat)
    assert request.messages == (
        Message(role="user", content="hi"),
        Message(role="assistant", content="a", thinking="t"),
    )
    for unknown in ("msg_1", "x", f"msg_{'0' * 48}", ids[1] + "0"):
        answer = http.post(_PATH, json=_BODY | {"input": [{"type": "item_reference", "id": unknown}]})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == f"input[0]: Item with id '{unknown}' not found."


def test_the_items_of_a_request_are_given_back_in_pages(tmp_path: Path, responses: LocalResponses) -> None:
    sent = [
        {"role": "user", "content": "0"},
        {"type": "message", "role": "assistant", "content": "1", "id": 5},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": "fc_mine"},
        {"type": "function_call_output", "call_id": "c", "output": "3"},
        {"type": "reasoning", "summary": [], "encrypted_content": "4"},
    ]
    http = _keeping(tmp_path, responses, FakeInference(Text("a"), _DONE))
    known_as = http.post(_PATH, json=_BODY | {"input": sent}).json()["id"]
    path, number = f"{_PATH}/{known_as}/input_items", known_as.removeprefix("resp_")
    found = http.get(path, params={"order": "asc"}).json()
    assert [item["id"] for item in found["data"]] == [
        f"msg_{number}_in_0",
        f"msg_{number}_in_1",
        "fc_mine",
        f"fco_{number}_in_3",
        f"rs_{number}_in_4",
    ]
    assert [item.get("content") for item in found["data"][:2]] == [
        [{"type": "input_text", "text": "0"}],
        [{"type": "output_text", "text": "1"}],
    ]
    assert (found["object"], found["has_more"]) == ("list", False)
    assert (found["first_id"], found["last_id"]) == (found["data"][0]["id"], found["data"][-1]["id"])
    assert http.get(path).json()["data"] == found["data"][::-1]
    page = http.get(path, params={"limit": 2, "after": f"rs_{number}_in_4"}).json()
    assert (page["data"], page["has_more"]) == (found["data"][2:4][::-1], True)
    last = http.get(path, params={"after": f"msg_{number}_in_0"}).json()
    assert last == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"order": "up"}, "order"),
        ({"after": "x"}, "after"),
    ],
)
def test_a_page_that_cannot_be_is_refused(
    tmp_path: Path, responses: LocalResponses, query: dict[str, Any], param: str
) -> None:
    http = _keeping(tmp_path, responses, FakeInference(Text("a"), _DONE))
    known_as = http.post(_PATH, json=_BODY).json()["id"]
    answer = http.get(f"{_PATH}/{known_as}/input_items", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    again = http.get(f"{_PATH}/{known_as}", params={"stream": "true"})
    assert (again.status_code, again.json()["error"]["param"]) == (400, "stream")


def test_what_is_gone_cannot_be_gone_on_from(tmp_path: Path, responses: LocalResponses) -> None:
    inference = FakeInference(Text("a"), _DONE)
    answer = _keeping(tmp_path, responses, inference).post(_PATH, json=_BODY | {"previous_response_id": "resp_1"})
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        {
            "message": "Previous response with id 'resp_1' not found.",
            "type": "invalid_request_error",
            "param": "previous_response_id",
            "code": "previous_response_not_found",
        },
    )
    assert inference.asked == []


class _Full:
    """Keeps nothing."""

    async def keep(self, kept: Kept) -> None:
        """Fail."""
        raise StoreFailed("no room")

    async def find(self, number: str) -> Kept:
        """Never asked."""
        raise AssertionError(number)

    async def chain(self, number: str) -> tuple[Kept, ...]:
        """Never asked."""
        raise AssertionError(number)

    async def remove(self, number: str) -> None:
        """Never asked."""
        raise AssertionError(number)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_could_not_be_kept_says_so(tmp_path: Path, stream: bool) -> None:
    http = _keeping(tmp_path, _Full(), FakeInference(Text("a"), _DONE))
    answer = http.post(_PATH, json=_BODY | {"stream": stream})
    whole = _events(answer)[-1]["response"] if stream else answer.json()
    assert (whole["store"], whole["status"]) == (False, "completed")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("GET", "/v1/responses/resp_1/input_items"),
    ],
)
def test_where_none_are_kept_the_setting_is_named(tmp_path: Path, method: str, path: str) -> None:
    answer = client(tmp_path).request(method, path)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
    assert answer.json()["error"]["message"] == f"Response with id 'resp_1' not found: {_OFF}"
