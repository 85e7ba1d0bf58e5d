"""Rows of the sheet of Ollama's API on fields that are taken, and what they change, on a real server."""

from typing import Any

import httpx2
import pytest

from tests.fakes import lines

_USER = {"role": "user", "content": "hi"}
_SHORT = {"num_predict": 2}
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {"city": {"type": "string", "description": "The name of the city"}},
            "additionalProperties": False,
        },
    },
}


def _chat(http: httpx2.Client, **body: Any) -> httpx2.Response:
    given = {"model": "m", "messages": [_USER], "options": _SHORT, "stream": False}
    return http.post("/api/chat", json=given | body)


def _generate(http: httpx2.Client, **body: Any) -> httpx2.Response:
    return http.post("/api/generate", json={"model": "m", "prompt": "hi", "options": _SHORT, "stream": False} | body)


@pytest.mark.parametrize(
    ("row", "body"),
    [
        (53, {"tools": []}),
        (56, {"think": False}),
        (64, {"format": ""}),
        (64, {"format": None}),
        (67, {"messages": [{"role": "narrator", "content": "hi"}]}),
        (67, {"messages": [{"content": "hi"}]}),
        (71, {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}, _USER]}),
        (71, {"messages": [{"role": "tool", "content": "3", "tool_name": "f"}]}),
        (77, {"options": _SHORT | {"top_k": 2.9}}),
        (78, {"options": _SHORT | {"mirostat": 1, "bogus": True}}),
        (79, {"options": _SHORT | {"num_ctx": None}}),
    ],
)
def test_a_field_is_taken(http: httpx2.Client, row: int, body: dict[str, Any]) -> None:
    answer = _chat(http, **body)
    assert (answer.status_code, answer.json()["done"]) == (200, True), f"row {row}: {answer.text}"


def test_a_raw_answer_has_no_context(http: httpx2.Client) -> None:
    """Row 60; a suffix is taken and ignored, and so is an empty context."""
    assert "context" not in _generate(http, raw=True, context=[], suffix="").json()
    assert "context" in _generate(http).json()


def test_a_role_is_read_in_any_case(http: httpx2.Client) -> None:
    """Row 66."""
    upper = _chat(http, messages=[_USER | {"role": "USER"}], _debug_render_only=True).json()
    assert upper["_debug_info"] == _chat(http, _debug_render_only=True).json()["_debug_info"]


def test_a_thinking_model_thinks_unless_told_not_to(http: httpx2.Client) -> None:
    """Rows 93, 94, 95."""
    question = {"model": "power-tiny", "messages": [{"role": "user", "content": "What is 2 + 3?"}], "options": {}}
    streamed = [line["message"] for line in lines(_chat(http, **question, stream=True).text)]
    assert streamed[0]["content"] == "" and streamed[0]["thinking"]  # noqa: PT018 -- one line holds both
    whole = _chat(http, **question).json()["message"]
    assert whole["thinking"] == "".join(message.get("thinking", "") for message in streamed)
    assert whole["content"] == "".join(message["content"] for message in streamed) == "5"
    plain = _chat(http, **question, think=False).json()["message"]
    assert plain == {"role": "assistant", "content": "5"}


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_calls_a_tool(http: httpx2.Client, *, stream: bool) -> None:
    """Rows 97, 98."""
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    body = {"model": "power-tiny", "messages": messages, "tools": [_WEATHER], "think": False, "options": {}}
    answer = _chat(http, **body, stream=stream)
    objects = lines(answer.text) if stream else [answer.json()]
    assert (objects[-1]["done"], objects[-1]["done_reason"]) == (True, "stop")
    (said,) = [each["message"] for each in objects if "tool_calls" in each["message"]]
    (call,) = said["tool_calls"]
    assert said["content"] == ""
    assert call["id"].startswith("call_")
    assert list(call["function"]) == ["index", "name", "arguments"]
    assert (call["function"]["index"], call["function"]["name"]) == (0, "get_weather")
    assert call["function"]["arguments"]["city"] == "Paris"


def test_one_token_is_one_token(http: httpx2.Client) -> None:
    """Row 88."""
    answer = _generate(http, options={"num_predict": 1}).json()
    assert (answer["done_reason"], answer["eval_count"]) == ("length", 1)


def test_a_stop_text_ends_the_answer_and_is_not_in_it(http: httpx2.Client) -> None:
    """Row 89."""
    question = {"model": "power-tiny", "messages": [{"role": "user", "content": "Count from 1 to 6."}], "think": False}
    whole = _chat(http, **question, options={}).json()["message"]["content"]
    assert "4" in whole
    stopped = _chat(http, **question, options={"stop": ["4"]}).json()
    assert (stopped["message"]["content"], stopped["done_reason"]) == (whole.partition("4")[0], "stop")


@pytest.mark.parametrize(("row", "top"), [(99, 2), (100, 0)])
def test_log_probabilities_are_told(http: httpx2.Client, row: int, top: int) -> None:
    streamed = lines(_generate(http, stream=True, logprobs=True, top_logprobs=top).text)
    assert "logprobs" not in streamed[-1], f"row {row}"
    entries = _generate(http, logprobs=True, top_logprobs=top).json()["logprobs"]
    for entry in entries:
        assert entry["logprob"] <= 0
        assert bytes(entry["bytes"]).decode() == entry["token"]
        assert [len(entry["top_logprobs"])] == [top] if top else "top_logprobs" not in entry, f"row {row}"


def test_a_prompt_can_be_asked_for_instead_of_an_answer(http: httpx2.Client) -> None:
    """Row 101."""
    answer = _chat(http, _debug_render_only=True, stream=True)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    body = answer.json()
    assert list(body) == ["model", "created_at", "message", "done", "_debug_info"]
    assert (body["message"], body["done"]) == ({"role": "", "content": ""}, False)
    assert "hi" in body["_debug_info"]["rendered_template"]


def test_a_context_goes_on(http: httpx2.Client) -> None:
    """Row 102."""
    first = _generate(http, model="power-tiny").json()["context"]
    second = _generate(http, model="power-tiny", context=first).json()["context"]
    assert len(second) > len(first)
    assert second[: len(first)] == first


def test_the_oldest_messages_make_room(http: httpx2.Client) -> None:
    """Row 103."""
    history = [{"role": role, "content": f"{role} {'word ' * 10}"} for _ in range(10) for role in ("user", "assistant")]
    messages = [{"role": "system", "content": "Be brief."}, *history, {"role": "user", "content": "The last."}]
    answer = _chat(http, messages=messages, options=_SHORT | {"num_ctx": 256}).json()
    assert answer["eval_count"] == 2
    assert 130 < answer["prompt_eval_count"] <= 256


def test_a_prompt_over_the_context_is_refused_where_nothing_may_shift(http: httpx2.Client) -> None:
    """Row 104."""
    messages = [{"role": "user", "content": "word " * 400}]
    answer = _chat(http, messages=messages, shift=False, options={"num_ctx": 128})
    assert answer.status_code == 400
    assert "context" in answer.json()["error"]


def test_signs_of_html_are_escaped(http: httpx2.Client) -> None:
    """Row 105."""
    answer = http.post("/api/chat", json={"model": "<b>&"})
    assert answer.content == b'{"error":"invalid model name"}'
    answer = http.post("/api/show", json={"model": "m", "system": "<b>&\u2028"})
    assert b"\\u003cb\\u003e\\u0026\\u2028" in answer.content
