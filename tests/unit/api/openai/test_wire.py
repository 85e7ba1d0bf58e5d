"""What a body of OpenAI's becomes in the domain's own words."""

import math
from pathlib import Path
from typing import Any

import pytest

from a3s_power.api.openai.chat import ChatRequest
from a3s_power.api.openai.completions import CompletionRequest
from a3s_power.core.events import Done, Text
from a3s_power.core.messages import Message, Tool, ToolCall, ToolChoice
from a3s_power.core.options import LOAD, NAMES
from a3s_power.core.requests import Chat, Detokenize, Embed, Embeddings, Generate
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, client, service

_HI = [{"role": "user", "content": "hi"}]
_PNG = "data:image/png;base64,QUJD"
_F, _G = (Tool(name=name) for name in "fg")


def _inference(tmp_path: Path, path: str, body: dict[str, Any]) -> FakeInference:
    inference = FakeInference(Text("a"), Done("stop", Usage()), vectors=Embeddings(vectors=((0.6, 0.8),)))
    answer = client(tmp_path, service(tmp_path, inference)).post(path, json={"model": "m"} | body)
    assert answer.status_code == 200, answer.text
    return inference


def _chat(tmp_path: Path, **body: Any) -> Chat:
    (asked,) = _inference(tmp_path, "/v1/chat/completions", {"messages": _HI} | body).asked
    assert isinstance(asked, Chat)
    return asked


def _generate(tmp_path: Path, **body: Any) -> Generate:
    (asked,) = _inference(tmp_path, "/v1/completions", {"prompt": "hi"} | body).asked
    assert isinstance(asked, Generate)
    return asked


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, {"temperature": 1.0, "top_p": 1.0}),
        ({"temperature": 0, "top_p": 0.5, "seed": 3}, {"temperature": 0.0, "top_p": 0.5, "seed": 3}),
        ({"max_tokens": 5, "temperature": None}, {"temperature": 1.0, "top_p": 1.0, "num_predict": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"temperature": 1.0, "top_p": 1.0, "num_predict": 6}),
        ({"stop": "x"}, {"temperature": 1.0, "top_p": 1.0, "stop": ("x",)}),
        ({"stop": ["x", 5, "y"]}, {"temperature": 1.0, "top_p": 1.0, "stop": ("x", "y")}),
        (
            {"options": {"temperature": 0.5, "top_k": 3, "num_ctx": 64}, "num_ctx": 128},
            {"temperature": 0.5, "top_p": 1.0, "top_k": 3, "num_ctx": 128},
        ),
        ({"min_p": 0.25, "num_predict": 3}, {"temperature": 1.0, "top_p": 1.0, "min_p": 0.25, "num_predict": 3}),
        (
            {"frequency_penalty": 0.5, "presence_penalty": -0.5},
            {"temperature": 1.0, "top_p": 1.0, "frequency_penalty": 0.5, "presence_penalty": -0.5},
        ),
    ],
)
def test_options_are_openais_defaults_then_ours_then_fields(tmp_path: Path, body: Any, said: dict[str, Any]) -> None:
    assert _chat(tmp_path, **body).asked.checked().said() == said


def test_every_option_of_a_request_can_be_said_beside_openais_fields() -> None:
    assert set(NAMES) - set(LOAD) <= set(ChatRequest.__struct_fields__)
    assert set(NAMES) - set(LOAD) <= set(CompletionRequest.__struct_fields__)


def test_a_completion_states_every_default(tmp_path: Path) -> None:
    said = {"temperature": 1.0, "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
    assert _generate(tmp_path, top_p=0).asked.checked().said() == said


@pytest.mark.parametrize(
    ("body", "think"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "medium"}, "medium"),
        ({"reasoning_effort": "ultra"}, "max"),
        ({"reasoning_effort": "low", "reasoning": {"effort": "high"}}, "high"),
        ({"reasoning_effort": "low", "reasoning": {}}, None),
        ({"reasoning_effort": "low", "think": True}, True),
        ({"think": "high"}, "high"),
    ],
)
def test_how_hard_to_think(tmp_path: Path, body: Any, think: Any) -> None:
    assert _chat(tmp_path, **body).think == think


@pytest.mark.parametrize(
    ("wanted", "form"),
    [
        ({"type": "text"}, None),
        ({"type": "other"}, None),
        ({"type": " JSON_object "}, "json"),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "strict": False, "schema": {"type": "object"}}},
            {"type": "object"},
        ),
    ],
)
def test_the_form_of_an_answer(tmp_path: Path, wanted: Any, form: Any) -> None:
    """Rows 8, 9."""
    assert _chat(tmp_path, response_format=wanted).format == form


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    ("choice", "tools", "expected"),
    [
        (None, (_F, _G), ToolChoice()),
        ("auto", (_F, _G), ToolChoice()),
        ("none", (), ToolChoice()),
        ("required", (_F, _G), ToolChoice("required")),
        (_named("g"), (_F, _G), ToolChoice("required", "g")),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [_named("g")]}},
            (_G,),
            ToolChoice("required"),
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "name": "f"}]}},
            (_F,),
            ToolChoice(),
        ),
    ],
)
def test_which_tools_may_be_called(tmp_path: Path, choice: Any, tools: Any, expected: ToolChoice) -> None:
    """Row 26, heeded."""
    asked = _chat(tmp_path, tools=[_named("f"), _named("g")], tool_choice=choice, parallel_tool_calls=False)
    assert (asked.tools, asked.tool_choice, asked.parallel_tool_calls) == (tools, expected, False)


def test_forms_of_our_own(tmp_path: Path) -> None:
    assert _chat(tmp_path, grammar="root ::= [a-z]").grammar == "root ::= [a-z]"
    assert _chat(tmp_path, guided_choice=["a", "b"]).choices == ("a", "b")
    assert _generate(tmp_path, guided_regex="[0-9]+").pattern == "[0-9]+"
    assert _generate(tmp_path, keep_alive="5m").keep_alive == 300.0


def test_biases_are_token_ids_and_numbers(tmp_path: Path) -> None:
    """Row 26, heeded: -100 forbids a token."""
    assert _chat(tmp_path, logit_bias={"5": -100, "7": 2.5}).logit_bias == ((5, -math.inf), (7, 2.5))


@pytest.mark.parametrize(("body", "top"), [({}, None), ({"logprobs": True}, 0), ({"top_logprobs": 3}, None)])
def test_log_probabilities_are_asked_for_by_logprobs(tmp_path: Path, body: Any, top: int | None) -> None:
    assert _chat(tmp_path, **body).top_logprobs == top


def _call(arguments: str, known_as: str = "c1") -> dict[str, Any]:
    return {"id": known_as, "type": "function", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize(
    ("sent", "messages"),
    [
        ([{"role": "USER", "content": "a"}], [Message(role="user", content="a")]),
        ([{"role": "developer", "content": "a"}], [Message(role="system", content="a")]),
        ([{"role": "user", "content": []}], [Message(role="user")]),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image_url", "image_url": {"url": _PNG, "detail": "low"}},
                        {"type": "text", "text": "b"},
                        {"type": "image_url", "image_url": "data:;base64,REVG"},
                    ],
                }
            ],
            [Message(role="user", content="ab", images=(b"ABC", b"DEF"))],
        ),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}]}],
            [Message(role="user", images=(b"ABC",))],
        ),
        (
            [
                {"role": "assistant", "content": "a", "reasoning": "h"},
                {"role": "assistant", "content": "b", "reasoning_content": "i"},
            ],
            [
                Message(role="assistant", content="a", thinking="h"),
                Message(role="assistant", content="b", thinking="i"),
            ],
        ),
        (
            [
                {"role": "assistant", "tool_calls": [_call('{"b": 1, "a": 2}')]},
                {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "r"}]},
                {"role": "tool", "tool_call_id": "c2", "name": "g", "content": "s"},
            ],
            [
                Message(role="assistant", tool_calls=(ToolCall(name="f", arguments={"b": 1, "a": 2}, id="c1"),)),
                Message(role="tool", content="r", tool_name="f", tool_call_id="c1"),
                Message(role="tool", content="s", tool_name="g", tool_call_id="c2"),
            ],
        ),
        ([{"role": "assistant", "content": None, "tool_calls": []}], [Message(role="assistant")]),
    ],
)
def test_messages_are_read(tmp_path: Path, sent: Any, messages: list[Message]) -> None:
    """Rows 12, 13, 17, 19, 21."""
    assert list(_chat(tmp_path, messages=sent).messages) == messages


def test_token_ids_are_read_by_the_model_that_they_are_of(tmp_path: Path) -> None:
    """Rows 41, 44."""
    asked = _inference(tmp_path, "/v1/completions", {"prompt": [[1, 2], [3]], "num_ctx": 64}).asked
    read = [each.tokens for each in asked if isinstance(each, Detokenize)]
    run = [each for each in asked if isinstance(each, Generate)]
    assert (read, [each.raw for each in run]) == ([(1, 2), (3,)], [True, True])
    assert {each.asked.options.num_ctx for each in asked} == {64}
    vectors = _inference(tmp_path, "/v1/embeddings", {"input": [1, 2], "keep_alive": 5, "dimensions": -1}).asked
    assert isinstance(vectors[0], Detokenize)
    assert isinstance(vectors[1], Embed)
    assert (vectors[1].keep_alive, vectors[1].dimensions, len(vectors[1].texts)) == (5.0, 0, 1)
