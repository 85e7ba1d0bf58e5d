"""Answers that must have a form, asked for over Ollama's API: `format`, and our own fields beside it."""

import json
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from tests.fakes import lines
from tests.served import until

_USER = {"role": "user", "content": "Who are you?"}
_PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "maximum": 99}},
    "required": ["name", "age"],
}
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "required": ["city"], "properties": {"city": {"enum": ["Oslo", "Rome"]}}},
    },
}
_FORCED = {"type": "function", "function": {"name": "get_weather"}}
_TOGETHER = "format and choices cannot be asked for together"


def _chat(http: httpx2.Client, **body: Any) -> httpx2.Response:
    given = {"model": "power-tiny", "messages": [_USER], "options": {"num_predict": 100}, "think": False}
    return http.post("/api/chat", json=given | {"stream": False} | body)


def _generate(http: httpx2.Client, **body: Any) -> httpx2.Response:
    given = {"model": "power-tiny", "prompt": "Who are you?", "options": {"num_predict": 100}, "stream": False}
    return http.post("/api/generate", json=given | body)


def _loaded(http: httpx2.Client) -> bool:
    return "power-tiny:latest" in [model["name"] for model in http.get("/api/ps").json()["models"]]


def test_a_schema_is_fulfilled_by_chat_and_by_generate(http: httpx2.Client) -> None:
    jsonschema_rs.validate(_PERSON, json.loads(_chat(http, format=_PERSON).json()["message"]["content"]))
    jsonschema_rs.validate(_PERSON, json.loads(_generate(http, format=_PERSON).json()["response"]))
    jsonschema_rs.validate(_PERSON, json.loads(_generate(http, format=_PERSON, raw=True).json()["response"]))


def test_thinking_is_streamed_before_a_form(http: httpx2.Client) -> None:
    said = [line["message"] for line in lines(_chat(http, format=_PERSON, think=True, stream=True).text)]
    assert any(message.get("thinking") for message in said)
    jsonschema_rs.validate(_PERSON, json.loads("".join(message["content"] for message in said)))


@pytest.mark.parametrize(
    ("form", "answers"),
    [
        ({"choices": ["red", "green"]}, {"red", "green"}),
        ({"pattern": "x[12]"}, {"x1", "x2"}),
        ({"grammar": 'root ::= "one" | "two"'}, {"one", "two"}),
    ],
)
def test_our_own_forms_are_kept(http: httpx2.Client, form: dict[str, Any], answers: set[str]) -> None:
    assert _chat(http, **form).json()["message"]["content"] in answers
    assert _generate(http, **form).json()["response"] in answers


@pytest.mark.parametrize("choice", ["required", _FORCED])
def test_a_tool_is_called_when_it_must_be(http: httpx2.Client, choice: Any) -> None:
    message = _chat(http, tools=[_WEATHER], tool_choice=choice, parallel_tool_calls=False).json()["message"]
    (call,) = message["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert call["function"]["arguments"]["city"] in ("Oslo", "Rome")


def test_no_tool_is_called_when_none_may_be(http: httpx2.Client) -> None:
    asked = {"messages": [{"role": "user", "content": "What is the weather in Oslo?"}], "tools": [_WEATHER]}
    asked |= {"options": {"temperature": 0, "num_predict": 60}}
    assert "tool_calls" in _chat(http, **asked).json()["message"]
    assert "tool_calls" not in _chat(http, **asked, tool_choice="none").json()["message"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"format": {"not": {}}}, 'invalid format: "not" at $ cannot be enforced: this version cannot'),
        ({"format": {"type": "x"}}, 'invalid format: "type" at $ must be one of object, array'),
        ({"format": "json", "choices": ["a"]}, _TOGETHER),
        ({"grammar": "root ::= a"}, 'grammar: the rule "root" uses "a", which is not there'),
        ({"pattern": "("}, "the pattern cannot be enforced: it does not close a group"),
        ({"tools": [_WEATHER], "tool_choice": "perhaps"}, 'tool_choice must be "auto", "none", "required" or'),
        ({"tool_choice": "required"}, "tool_choice: there are no tools to be called"),
        (
            {"tools": [_WEATHER], "tool_choice": {"type": "function", "function": {"name": "other"}}},
            "tool_choice: tool 'other' is not among the tools",
        ),
    ],
)
def test_a_form_that_cannot_be_is_refused_before_anything_is_loaded(
    http: httpx2.Client, body: dict[str, Any], error: str
) -> None:
    _generate(http, prompt="", keep_alive=0)
    until(lambda: not _loaded(http))
    answer = _chat(http, **body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)
    assert not _loaded(http)


def test_a_grammar_that_only_the_engine_refuses_is_a_bad_request(http: httpx2.Client) -> None:
    answer = _chat(http, grammar='root ::= "x"? again\nagain ::= "y"? again')
    assert answer.status_code == 400
    assert "failed to parse grammar" in answer.json()["error"]
