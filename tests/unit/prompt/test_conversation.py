"""What templates are shown of messages, calls and tools."""

import pytest

from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.prompt.conversation import Arguments, message_value, tool_value, without_thinking

TAGS = ("<think>", "</think>")


def test_a_plain_message_is_a_role_and_a_content() -> None:
    assert message_value(Message(role="user", content="hi")) == {"role": "user", "content": "hi"}


def test_a_result_of_a_tool_names_the_tool_and_the_call() -> None:
    message = Message(role="tool", content="42", tool_name="f", tool_call_id="id")
    assert message_value(message) == {"role": "tool", "content": "42", "name": "f", "tool_call_id": "id"}


def test_a_call_is_shown_as_transformers_shows_it() -> None:
    message = Message(role="assistant", tool_calls=(ToolCall(name="f", arguments={"a": 1}, id="id"),))
    function = {"name": "f", "arguments": {"a": 1}}
    shown = {"role": "assistant", "content": "", "tool_calls": [{"id": "id", "type": "function", "function": function}]}
    assert message_value(message) == shown
    assert message_value(message, empty_is_none=True) == shown | {"content": None}


def test_thinking_stands_where_the_template_looks_for_it() -> None:
    message = Message(role="assistant", content="a", thinking="t")
    assert message_value(message)["reasoning_content"] == "t"
    assert message_value(message, thinking_key="thinking")["thinking"] == "t"


def test_arguments_print_as_json() -> None:
    assert str(Arguments({"city": "Köln", "days": [1, None]})) == '{"city": "Köln", "days": [1, null]}'


def test_a_tool_keeps_its_schema_and_says_when_it_has_none() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}, "additionalProperties": False}
    tool = Tool(name="f", description="d", parameters=schema)
    assert tool_value(tool) == {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": schema},
    }
    assert tool_value(Tool(name="f"))["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ("<think>\nhm\n</think>\n\nyes", "yes"),
        (" \n<think>hm</think>yes</think>", "yes</think>"),
        ("yes <think>hm</think>", "yes <think>hm</think>"),
        ("<think>never closed", ""),
        ("", ""),
    ],
)
def test_earlier_answers_lose_what_was_thought(content: str, left: str) -> None:
    turns = [Message(role="assistant", content=content), Message(role="user", content="<think>a</think>b")]
    assert without_thinking(turns, TAGS) == [Message(role="assistant", content=left), turns[1]]


def test_answers_after_the_last_question_keep_what_was_thought() -> None:
    turns = [Message(role="user", content="q"), Message(role="assistant", content="<think>a</think>b")]
    assert without_thinking(turns, TAGS) == turns
