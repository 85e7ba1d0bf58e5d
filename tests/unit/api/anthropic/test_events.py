"""The stream of a message, event by event, as bytes."""

import json
from typing import Any

import pytest

from a3s_power.api.anthropic.events import Stream
from a3s_power.core.events import Done, Event, Progress, Text, Thinking, ToolCalls
from a3s_power.core.messages import ToolCall
from a3s_power.core.usage import Usage

_DONE = Done("stop", Usage(prompt_tokens=9, cached_tokens=4, output_tokens=3))
_USAGE = {"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 3}


def _call(number: int, name: str = "f", **arguments: Any) -> ToolCalls:
    return ToolCalls((ToolCall(name=name, arguments=arguments, id=f"call_{number}"),))


def _bytes(*events: Event, stops: tuple[str, ...] = (), searches: bool = False) -> bytes:
    stream = Stream("m", stops, searches=searches, estimate=lambda: 7)
    return b"".join(said for event in events if (said := stream.say(event)) is not None)


def _read(content: bytes) -> list[dict[str, Any]]:
    """The events of a stream: each is two lines, named alike, and an empty one."""
    found = []
    for frame in content.decode().split("\n\n")[:-1]:
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def _stream(*events: Event, **more: Any) -> list[dict[str, Any]]:
    return _read(_bytes(*events, **more))


def _outline(events: list[dict[str, Any]]) -> list[str]:
    """Each event as one word, with its number where it has one."""
    short = [event["type"].removeprefix("content_block_").removeprefix("message_") for event in events]
    return [f"{word}{event['index']}" if "index" in event else word for word, event in zip(short, events, strict=True)]


def test_a_text_is_one_block_of_the_exact_bytes() -> None:
    """Row 34."""
    said = _bytes(Progress("loading"), Text("Hé"), Text('"<\n'), _DONE).decode()
    head, _, rest = said.partition("\n\n")
    start = json.loads(head.partition("data: ")[2])
    assert list(start) == ["type", "message"]
    message = start["message"]
    assert message.pop("id").startswith("msg_")
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 0},
    }
    delta = (
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":'
    )
    assert rest == (
        'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        '"content_block":{"type":"text","text":""}}\n\n'
        f'{delta}"Hé"}}}}\n\n'
        f'{delta}"\\"<\\n"}}}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        '"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":3}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


ORDERS: list[tuple[list[Event], list[str]]] = [
    ([_DONE], ["start", "delta", "stop"]),
    ([Text(""), Thinking(""), _DONE], ["start", "delta", "stop"]),
    (
        [Thinking("a"), Thinking("b"), Text("c"), _DONE],
        ["start", "start0", "delta0", "delta0", "delta0", "stop0", "start1", "delta1", "stop1", "delta", "stop"],
    ),
    (
        [Thinking("a"), _call(1), _DONE],
        ["start", "start0", "delta0", "delta0", "stop0", "start1", "delta1", "stop1", "delta", "stop"],
    ),
    (
        [Text("a"), _call(1), Text("b"), _DONE],
        [
            *("start", "start0", "delta0", "stop0", "start1", "delta1", "stop1"),
            *("start2", "delta2", "stop2", "delta", "stop"),
        ],
    ),
    (
        [_call(1), _call(1), _call(2), _DONE],
        ["start", "start0", "delta0", "stop0", "start1", "delta1", "stop1", "delta", "stop"],
    ),
]


@pytest.mark.parametrize(("events", "outline"), ORDERS)
def test_blocks_begin_grow_and_end_in_order(events: list[Event], outline: list[str]) -> None:
    """Rows 33, 34, 38: numbers without gaps, and the last piece of a thought is its signature."""
    assert _outline(_stream(*events)) == outline


def test_a_thought_is_signed_with_nothing() -> None:
    events = _stream(Thinking("hm"), Text("a"), _DONE)
    assert events[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert events[2]["delta"] == {"type": "thinking_delta", "thinking": "hm"}
    assert events[3]["delta"] == {"type": "signature_delta", "signature": ""}


@pytest.mark.parametrize(("arguments", "text"), [({}, "{}"), ({"b": 1, "a": "é"}, '{"b":1,"a":"é"}')])
def test_a_call_gets_its_arguments_as_one_piece(arguments: dict[str, Any], text: str) -> None:
    """Row 23."""
    events = _stream(_call(1, **arguments), _DONE)
    assert events[1]["content_block"] == {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
    assert events[2]["delta"] == {"type": "input_json_delta", "partial_json": text}


@pytest.mark.parametrize(
    ("events", "stops", "reason", "stop"),
    [
        ([Text("a"), _DONE], (), "end_turn", None),
        ([Text("a"), Done("length", Usage())], (), "max_tokens", None),
        ([Text("a"), Done("stop", Usage(), stop_text="X")], ("Y", "X"), "stop_sequence", "X"),
        ([Text("a"), Done("stop", Usage(), stop_text="<end>")], ("X",), "end_turn", None),
        ([_call(1), Done("length", Usage())], (), "tool_use", None),
        ([_call(1), _DONE], (), "tool_use", None),
        ([Done("load", Usage())], (), "end_turn", None),
    ],
)
def test_the_end_has_its_reason(events: list[Event], stops: tuple[str, ...], reason: str, stop: str | None) -> None:
    """Section 5; a stop text counts when it is the caller's own."""
    assert _stream(*events, stops=stops)[-2]["delta"] == {"stop_reason": reason, "stop_sequence": stop}


def test_the_end_has_its_counts() -> None:
    """Row 39: what was cached is counted apart, as the API defines it."""
    assert _stream(Text("a"), _DONE)[-2]["usage"] == _USAGE


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        ({"dropped_messages": 2, "cut_tokens": 5}, {"truncated_messages": 2, "truncated_tokens": 5}),
        ({"shifted": True}, {"truncated_messages": 0, "truncated_tokens": 0, "shifted": True}),
    ],
)
def test_what_was_left_out_of_the_conversation_is_told(left_out: dict[str, Any], told: dict[str, Any]) -> None:
    assert _stream(Text("a"), Done("stop", Usage(**left_out)))[-2]["usage"]["context"] == told


def test_a_search_at_the_server_is_not_to_be_had() -> None:
    """Section 8: blocks in one go, and an ordinary end."""
    events = _stream(_call(1, "web_search", query="x"), _call(2, "web_search"), _DONE, searches=True)
    assert _outline(events) == [
        *("start", "start0", "stop0", "start1", "stop1", "start2", "stop2", "start3", "stop3", "delta", "stop")
    ]
    blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert blocks[0] == {
        "type": "server_tool_use",
        "id": "srvtoolu_call_1",
        "name": "web_search",
        "input": {"query": "x"},
    }
    assert [block["content"]["error_code"] for block in blocks[1::2]] == ["unavailable", "invalid_request"]
    assert {block["tool_use_id"] for block in blocks[1::2]} == {"srvtoolu_call_1", "srvtoolu_call_2"}
    assert events[-2]["delta"]["stop_reason"] == "end_turn"


def test_a_sign_of_life_is_a_ping_behind_the_beginning() -> None:
    """Row 42."""
    stream = Stream("m", (), searches=False, estimate=lambda: 7)
    first, second = _read(stream.beat()), _read(stream.beat())
    assert [event["type"] for event in [*first, *second]] == ["message_start", "ping", "ping"]
    rest = _read((stream.say(Text("a")) or b"") + stream.beat() + (stream.say(Text("b")) or b""))
    assert _outline(rest) == ["start0", "delta0", "ping", "delta0"]


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\u2029", "\x0b", "\r"])
def test_no_sign_ends_a_line(sign: str) -> None:
    content = _bytes(Text(f"a{sign}b")).decode()
    assert content.splitlines() == content.split("\n")[:-1]
    assert _read(content.encode())[-1]["delta"]["text"] == f"a{sign}b"
