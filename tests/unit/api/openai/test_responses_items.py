"""Items of every kind, and the conversation that lists of them become."""

from typing import Any

import pytest

from a3s_power.api.openai.responses_items import conversation, listed
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Message, ToolCall
from tests.pictures import base64_of, picture

_PICTURE = picture(1).file()
_URL = f"data:image/png;base64,{base64_of(_PICTURE)}"


def _said(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def _call(call_id: str, name: Any = "f", arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments} | more


def _output(call_id: str, output: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def _thought(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": text} | more


def _calls(*ids: str) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(name="f", arguments={}, id=each, index=index) for index, each in enumerate(ids))


_A = Message(role="assistant", content="a")
_U = Message(role="user", content="u")
_SAID = _said("assistant", "a")
_USED = _said("user", "u")
_TOOL = Message(role="tool", content="r", tool_name="f", tool_call_id="c")

CONVERSATIONS: dict[str, tuple[Any, tuple[Message, ...]]] = {
    "text": ("hi", (Message(role="user", content="hi"),)),
    "empty text": ("", ()),
    "nothing": (None, ()),
    "no items": ([], ()),
    "shorthand": ([{"role": "user", "content": "hi"}], (Message(role="user", content="hi"),)),
    "parts without a separator": (
        [_said("user", [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}])],
        (Message(role="user", content="ab"),),
    ),
    "an answer of the model": ([_said("assistant", [{"type": "output_text", "text": "a"}])], (_A,)),
    "roles": (
        [_said("Developer", "d"), _said("system", "s"), _said("critic", "c")],
        (
            Message(role="system", content="d"),
            Message(role="system", content="s"),
            Message(role="critic", content="c"),
        ),
    ),
    "an image": (
        [_said("user", [{"type": "input_image", "image_url": _URL, "detail": "high"}])],
        (Message(role="user", images=(_PICTURE,)),),
    ),
    "an image that is elsewhere": (
        [_said("user", [{"type": "input_image", "file_id": "file_1"}, {"type": "input_text", "text": "u"}])],
        (_U,),
    ),
    "a call": ([_call("c", arguments="")], (Message(role="assistant", tool_calls=_calls("c")),)),
    "calls joined to what was said": (
        [_SAID, _call("c"), _call("d")],
        (Message(role="assistant", content="a", tool_calls=_calls("c", "d")),),
    ),
    "a call after the user": ([_USED, _call("c")], (_U, Message(role="assistant", tool_calls=_calls("c")))),
    "an output, named by its call": (
        [_call("c"), _output("c", "r")],
        (Message(role="assistant", tool_calls=_calls("c")), _TOOL),
    ),
    "an output in parts": (
        [
            _call("c"),
            _output("c", [{"type": "input_text", "text": "r"}, {"type": "input_image", "image_url": _URL}]),
        ],
        (
            Message(role="assistant", tool_calls=_calls("c")),
            Message(role="tool", content="r", images=(_PICTURE,), tool_name="f", tool_call_id="c"),
        ),
    ),
    "an output of no call": ([_output("x", "r")], (Message(role="tool", content="r", tool_call_id="x"),)),
    "said between a call and its output": (
        [_SAID, _call("c"), _said("assistant", "b"), _output("c", "r")],
        (Message(role="assistant", content="a\nb", tool_calls=_calls("c")), _TOOL),
    ),
    "said after both": (
        [_call("c"), _output("c", "r"), _SAID],
        (Message(role="assistant", tool_calls=_calls("c")), _TOOL, _A),
    ),
    "said after a call that nobody answers": (
        [_call("c"), _SAID],
        (Message(role="assistant", tool_calls=_calls("c")), _A),
    ),
    "a thought before an answer": (
        [_thought("t"), _SAID],
        (Message(role="assistant", content="a", thinking="t"),),
    ),
    "thoughts before a call": (
        [_thought("t"), _thought("u"), _call("c")],
        (Message(role="assistant", thinking="tu", tool_calls=_calls("c")),),
    ),
    "a thought between an answer and its call": (
        [_SAID, _thought("t"), _call("c")],
        (Message(role="assistant", content="a", thinking="t", tool_calls=_calls("c")),),
    ),
    "a thought at the end": ([_USED, _thought("t")], (_U, Message(role="assistant", thinking="t"))),
    "a thought in parts": (
        [_thought("", content=[{"type": "reasoning_text", "text": "x"}, {"type": "reasoning_text", "text": "y"}])],
        (Message(role="assistant", thinking="xy"),),
    ),
    "a thought in summary": (
        [_thought("", summary=[{"type": "summary_text", "text": "s"}])],
        (Message(role="assistant", thinking="s"),),
    ),
    "a search of the web": ([{"type": "web_search_call", "id": "ws_1", "status": "completed"}, _USED], (_U,)),
    "a call inside a namespace": (
        [_call("c", namespace="n"), _call("d", name="n.f", namespace="n")],
        (
            Message(
                role="assistant",
                tool_calls=(
                    ToolCall(name="n.f", arguments={}, id="c"),
                    ToolCall(name="n.f", arguments={}, id="d", index=1),
                ),
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_items_become_a_conversation(name: str) -> None:
    """Rows 48, 49, 50."""
    sent, messages = CONVERSATIONS[name]
    assert conversation(listed(sent), "") == messages
    system = Message(role="system", content="be short")
    assert conversation(listed(sent), "be short") == (system, *messages)


_NEITHER = "must be a string or array: json: cannot unmarshal {} into Go value of type []json.RawMessage"

REFUSED: list[tuple[Any, str]] = [
    (5, f"input {_NEITHER.format('number')}"),
    ({}, f"input {_NEITHER.format('object')}"),
    (True, f"input {_NEITHER.format('bool')}"),
    ([{"type": "x"}], 'input[0]: unknown input item type: "x"'),
    ([_USED, {"type": "computer_call"}], 'input[1]: unknown input item type: "computer_call"'),
    ([{"type": "custom_tool_call"}], 'input[0]: unknown input item type: "custom_tool_call"'),
    ([{"type": ["x"]}], "input[0]: unknown input item type: \"['x']\""),
    ([{"content": "u"}], "input[0]: input item missing required 'type' field"),
    (["u"], "input[0]: an item must be an object"),
    ([_said("user", 5)], f"input[0]: content {_NEITHER.format('number')}"),
    ([_output("c", {})], f"input[0]: output {_NEITHER.format('object')}"),
    (
        [_said("user", [{"type": "input_text", "text": "a"}, {"type": "x"}])],
        "input[0]: content[1]: unknown content type: x",
    ),
    ([_said("user", ["a"])], "input[0]: content[0]: content part missing required 'type' field"),
    (
        [_said("user", [{"type": "input_file", "file_data": "x"}])],
        "input[0]: content[0]: file inputs are not currently supported",
    ),
    (
        [_said("user", [{"type": "input_image", "image_url": "https://example.org/a.png"}])],
        "input[0]: content[0]: image URLs are not currently supported, please use base64 encoded data instead",
    ),
    (
        [_said("user", [{"type": "input_image", "image_url": "data:image/png;base64,!"}])],
        "input[0]: content[0]: invalid image input",
    ),
    ([{"type": "message", "role": 5}], "input[0]: role must be a string"),
    ([_call("c", name=[])], "input[0]: name must be a string"),
    ([_call("c", arguments={})], "input[0]: arguments must be a string"),
    ([_USED] * (limits.MESSAGES + 1), f"too many messages: the limit is {limits.MESSAGES}"),
]


@pytest.mark.parametrize(("sent", "complaint"), REFUSED, ids=[complaint[:50] for _, complaint in REFUSED])
def test_the_first_wrong_item_is_named(sent: Any, complaint: str) -> None:
    """Row 52."""
    with pytest.raises(BadRequest) as refused:
        conversation(listed(sent), "")
    assert refused.value.message == complaint


@pytest.mark.parametrize("arguments", ["{", "5", "[]", "\ud800"])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    """Row 49."""
    with pytest.raises(BadRequest, match=r"input\[0\]: failed to parse function call arguments: "):
        conversation([_call("c", arguments=arguments)], "")
