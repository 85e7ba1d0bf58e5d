"""Messages of content blocks become the conversation a model knows, and keep all of it."""

import base64
from typing import Any

import msgspec
import pytest

from a3s_power.api.anthropic.wire import CountRequest, MessagesRequest
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Message, ToolCall, ToolChoice
from a3s_power.core.requests import Chat

_DATA = base64.b64encode(b"picture").decode()
_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _DATA}}
_CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": 1, "a": 2}}
_DOMAIN_CALL = ToolCall(name="f", arguments={"b": 1, "a": 2}, id="t1")
_TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"x": {"type": "string"}}}}


def _asked(**more: Any) -> Chat:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]} | more
    return msgspec.convert(body, MessagesRequest).to_domain()


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _result(content: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t1", "content": content} | more


def _said(text: str = "", role: str = "user", **more: Any) -> Message:
    return Message(role=role, content=text, **more)


def _answered(text: str = "", **more: Any) -> Message:
    return Message(role="tool", content=text, tool_name="f", tool_call_id="t1", **more)


CONVERSATIONS: list[tuple[str, list[tuple[str, Any]], list[Message]]] = [
    ("a text is one block", [("user", "hi")], [_said("hi")]),
    ("a role in capitals is that role", [("User", "hi")], [_said("hi")]),
    ("texts are put together", [("user", [_text("a"), _text("b")])], [_said("ab")]),
    (
        "images are kept in order beside the text",
        [("user", [_text("a"), _IMAGE, _text("b"), _IMAGE])],
        [_said("ab", images=(b"picture", b"picture"))],
    ),
    ("nothing makes no message", [("user", []), ("user", ""), ("user", None), ("user", "hi")], [_said("hi")]),
    (
        "a call keeps its id and the order of its arguments",
        [("assistant", [_text("so"), _CALL])],
        [_said("so", "assistant", tool_calls=(_DOMAIN_CALL,))],
    ),
    (
        "a result knows the name of its tool",
        [("assistant", [_CALL]), ("user", [_result("42")])],
        [_said("", "assistant", tool_calls=(_DOMAIN_CALL,)), _answered("42")],
    ),
    (
        "a user's results come before what the user says",
        [("assistant", [_CALL]), ("user", [_text("so"), _result("42")])],
        [_said("", "assistant", tool_calls=(_DOMAIN_CALL,)), _answered("42"), _said("so")],
    ),
    (
        "another role's results come after it",
        [("assistant", [_CALL, _result("42"), _text("so")])],
        [_said("so", "assistant", tool_calls=(_DOMAIN_CALL,)), _answered("42")],
    ),
    (
        "a result may be of blocks, of nothing, or of an error",
        [("assistant", [_CALL]), ("user", [_result([_text("a"), _IMAGE, _text("b")]), _result(is_error=True)])],
        [_said("", "assistant", tool_calls=(_DOMAIN_CALL,)), _answered("ab", images=(b"picture",)), _answered()],
    ),
    (
        "a thought is kept, whatever signs it",
        [("assistant", [{"type": "thinking", "thinking": "hm", "signature": "x"}, _text("a")])],
        [_said("a", "assistant", thinking="hm")],
    ),
    (
        "what nobody can read is left out",
        [("user", [{"type": "redacted_thinking", "data": "x"}, _text("a")])],
        [_said("a")],
    ),
    (
        "a document of plain text is text",
        [("user", [{"type": "document", "source": {"type": "text", "data": "page"}}, _text("a")])],
        [_said("pagea")],
    ),
    (
        "any other document is left out",
        [("user", [{"type": "document", "source": {"type": "url"}}, _text("a")])],
        [_said("a")],
    ),
    (
        "a search at the server is a call and its result",
        [
            (
                "assistant",
                [
                    {"type": "server_tool_use", "id": "t1", "name": "f", "input": {}},
                    {
                        "type": "web_search_tool_result",
                        "tool_use_id": "t1",
                        "content": [{"type": "web_search_result", "title": "T", "url": "u"}],
                    },
                    {
                        "type": "web_search_tool_result",
                        "tool_use_id": "t1",
                        "content": {"type": "web_search_tool_result_error", "error_code": "unavailable"},
                    },
                ],
            )
        ],
        [
            _said("", "assistant", tool_calls=(ToolCall(name="f", arguments={}, id="t1"),)),
            _answered("- T: u"),
            _answered("web_search_tool_result_error: unavailable"),
        ],
    ),
]


@pytest.mark.parametrize(
    ("turns", "messages"), [row[1:] for row in CONVERSATIONS], ids=[row[0] for row in CONVERSATIONS]
)
def test_turns_become_messages(turns: list[tuple[str, Any]], messages: list[Message]) -> None:
    """Rows 3, 13, 19, 20, 21, 32."""
    asked = _asked(messages=[{"role": role, "content": content} for role, content in turns])
    assert list(asked.messages) == messages


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("be", (_said("be", "system"),)),
        ([{"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}, _text("e")], (_said("be", "system"),)),
        ("", ()),
        ([], ()),
        (None, ()),
    ],
)
def test_the_system_prompt_is_the_first_message(system: Any, message: tuple[Message, ...]) -> None:
    """Row 4."""
    assert _asked(system=system).messages == (*message, _said("hi"))


@pytest.mark.parametrize(
    ("said", "think"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, False),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": " Low "}}, "low"),
        ({"output_config": {"effort": "medium"}}, "medium"),
        ({"output_config": {"effort": "xhigh"}}, "high"),
        ({"output_config": {"effort": "max"}}, "max"),
        ({"output_config": {"effort": "heroic"}}, None),
        ({"output_config": {"effort": 3}}, None),
    ],
)
def test_thinking_is_asked_for_in_two_ways(said: dict[str, Any], think: Any) -> None:
    """Row 30."""
    asked = _asked(**said)
    assert (asked.think, asked.think_if_able) == (think, True)


@pytest.mark.parametrize(
    ("choice", "tools", "chosen"),
    [
        (None, 1, ToolChoice()),
        ({"type": "auto"}, 1, ToolChoice()),
        ({"type": "any"}, 1, ToolChoice("required")),
        ({"type": "tool", "name": "f"}, 1, ToolChoice("required", "f")),
        ({"type": "none"}, 0, ToolChoice()),
        ({"type": "something else"}, 1, ToolChoice()),
    ],
)
def test_a_choice_of_tools_is_handed_on(choice: Any, tools: int, chosen: ToolChoice) -> None:
    """Row 24."""
    asked = _asked(tools=[_TOOL], tool_choice=choice)
    assert (len(asked.tools), asked.tool_choice) == (tools, chosen)


def test_parallel_calls_can_be_switched_off() -> None:
    assert _asked(tools=[_TOOL]).parallel_tool_calls
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert not _asked(tools=[_TOOL], tool_choice=choice).parallel_tool_calls


def test_a_tool_keeps_its_schema_and_may_have_none() -> None:
    """Row 27."""
    schema = {"type": "object", "properties": {"x": {"anyOf": [{"type": "string"}]}, "y": True}, "required": ["x"]}
    tools = _asked(tools=[{"name": "f", "input_schema": schema}, {"type": "bash_20250124", "name": "bash"}]).tools
    assert [(tool.name, tool.parameters) for tool in tools] == [("f", schema), ("bash", {})]


def test_the_search_at_the_server_replaces_a_tool_of_its_name() -> None:
    """Section 4."""
    tools = _asked(tools=[{"name": "web_search"}, _TOOL, {"type": "web_search_20250305", "name": "web_search"}]).tools
    assert [tool.name for tool in tools] == ["f", "web_search"]
    assert list(tools[1].parameters["properties"]) == ["query"]


def test_only_what_is_said_becomes_an_option() -> None:
    """Row 7: a model's own parameters hold for the rest."""
    said = _asked(temperature=0, top_p=0.5, top_k=3, stop_sequences=["X"], num_ctx=99, options={"seed": 7, "top_k": 1})
    expected = {"num_ctx": 99, "seed": 7, "num_predict": 5, "top_k": 3, "top_p": 0.5, "temperature": 0, "stop": ("X",)}
    assert said.asked.checked().said() == expected
    assert _asked(stop_sequences=[], temperature=None).asked.checked().said() == {"num_predict": 5}


def test_a_schema_for_the_answer_is_its_format() -> None:
    """Row 53."""
    schema = {"type": "object"}
    assert _asked(output_config={"format": {"type": "json_schema", "schema": schema}}).format == schema
    assert _asked(output_config={"format": None}).format is None
    with pytest.raises(BadRequest, match="json_schema"):
        _asked(output_config={"format": {"type": "grammar"}})


def test_a_count_asks_for_the_prompt_only() -> None:
    """Row 49."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [_TOOL], "system": "be"}
    asked = msgspec.convert(body, CountRequest).to_domain()
    assert asked.render_only
    assert (len(asked.messages), len(asked.tools)) == (2, 1)


def test_the_estimate_counts_what_the_prompt_is_made_of() -> None:
    """Section 7: bytes of system, roles, contents and tools, by four; images are nothing."""
    body = {"model": "m", "system": "abcd", "messages": [{"role": "user", "content": [_text("éé"), _IMAGE]}]}
    assert msgspec.convert(body, CountRequest).estimate() == (4 + 4 + 4) // 4
    tools = [{"name": "ab", "description": "cd", "input_schema": {"a": 1}}]
    assert msgspec.convert(body | {"tools": tools}, CountRequest).estimate() == (12 + 4 + 7) // 4
    called = [{"role": "user", "content": [_CALL]}]
    length = len('{"type":"tool_use","id":"t1","name":"f","input":{"b":1,"a":2}}')
    assert msgspec.convert({"model": "m", "messages": called}, CountRequest).estimate() == (4 + length) // 4
    assert msgspec.convert({"model": "m", "messages": [{"role": "", "content": ""}]}, CountRequest).estimate() == 1
