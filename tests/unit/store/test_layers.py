"""Layers: Ollama's JSON read and written, and texts as they are."""

from hashlib import sha256
from typing import Any

import pytest

from a3s_power.core.errors import BadManifest
from a3s_power.core.messages import Message, ToolCall
from a3s_power.store.layers import read_messages, read_parameters, read_text, write_messages, write_parameters


@pytest.mark.parametrize(
    ("parameters", "content"),
    [
        ({}, b"{}\n"),
        ({"top_k": 10, "temperature": 0.6}, b'{"temperature":0.6,"top_k":10}\n'),
        ({"temperature": 1.0, "num_ctx": 4096.0}, b'{"num_ctx":4096,"temperature":1}\n'),
        ({"stop": ["<|im_end|>", "&"]}, b'{"stop":["\\u003c|im_end|\\u003e","\\u0026"]}\n'),
        ({"use_mmap": False, "x": None}, b'{"use_mmap":false,"x":null}\n'),
    ],
)
def test_parameters_are_written_as_go_writes_them(parameters: dict[str, Any], content: bytes) -> None:
    assert write_parameters(parameters) == content
    assert read_parameters(content) == parameters


def test_no_parameters_may_be_a_null() -> None:
    assert read_parameters(b"null\n") == {}


MESSAGES = (
    Message(role="assistant", content="What is my purpose?"),
    Message(role="user", content="You run tests."),
    Message(role="assistant", content="Oh, my god."),
)


def test_messages_have_the_digest_of_ollama_s_own() -> None:
    assert (
        sha256(write_messages(MESSAGES)).hexdigest()
        == "298baeaf6928a60cf666d88d64a1ba606feb43a2865687c39e40652e407bffc4"
    )


def test_messages_keep_all_they_may_hold() -> None:
    messages = (
        Message(role="user", content="<look>", images=(b"\x89PNG\0", b"")),
        Message(
            role="assistant",
            thinking="hm",
            tool_calls=(
                ToolCall(name="f", arguments={"a": [1, None]}, id="c1"),
                ToolCall(name="g", arguments={}, index=1),
            ),
        ),
        Message(role="tool", content="42", tool_name="f", tool_call_id="c1"),
    )
    assert read_messages(write_messages(messages)) == messages


def test_messages_of_ollama_are_read_with_their_nulls_and_unknown_fields() -> None:
    content = (
        b'[{"role":"assistant","content":null,"images":null,"new":1,'
        b'"tool_calls":[{"id":"x","function":{"index":2,"name":"f","arguments":{"a":1}}}]}]'
    )
    assert read_messages(content) == (
        Message(role="assistant", tool_calls=(ToolCall(name="f", arguments={"a": 1}, id="x", index=2),)),
    )
    assert read_messages(b"null") == ()


@pytest.mark.parametrize("content", [b"", b"{", b"7", b'"x"', b"[" * 100_000, b"\xff", b'{"a":' * 100_000])
def test_what_is_no_json_of_that_shape_is_refused(content: bytes) -> None:
    with pytest.raises(BadManifest, match=r"^params layer cannot be read: "):
        read_parameters(content)
    with pytest.raises(BadManifest, match=r"^messages layer cannot be read: "):
        read_messages(content)


@pytest.mark.parametrize(
    "content",
    [b"[1]", b'[{"role":1}]', b'[{"images":["%"]}]', b'[{"tool_calls":[{}]}]', b'[{"tool_calls":[{"function":{}}]}]'],
)
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(BadManifest, match=r"^messages layer cannot be read: "):
        read_messages(content)


def test_a_text_is_utf8_as_it_is() -> None:
    assert read_text("  {{ .Prompt }}é\r\n".encode()) == "  {{ .Prompt }}é\r\n"
    with pytest.raises(BadManifest, match="not valid UTF-8"):
        read_text(b"\xff")
