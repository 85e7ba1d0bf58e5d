"""Laws of the stream of a response: whatever a model says, and in whatever order, clients can follow it."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from a3s_power.api.openai.responses_events import Told
from a3s_power.api.openai.responses_items import conversation
from a3s_power.api.openai.responses_wire import ResponsesRequest
from a3s_power.core.events import Done, Event, Progress, Text, Thinking, ToolCalls
from a3s_power.core.messages import ToolCall
from a3s_power.core.usage import Usage

_words = st.text(max_size=5)
_call = st.builds(ToolCall, name=st.just("f"), arguments=st.dictionaries(_words, _words, max_size=2), id=_words)
_said: st.SearchStrategy[Event] = st.one_of(
    st.builds(Text, _words),
    st.builds(Thinking, _words),
    st.builds(ToolCalls, st.lists(_call, max_size=3).map(tuple)),
    st.just(Progress("loading")),
)
_done = st.builds(Done, st.sampled_from(["stop", "length", "load"]), st.just(Usage(output_tokens=9)))


def _told(said: list[Event]) -> tuple[Told, list[dict[str, Any]]]:
    told = Told(ResponsesRequest(model="m").begun("1"), "1")
    text = b"".join(told.say(event) or b"" for event in said).decode()
    frames = [frame.split("\n") for frame in text.split("\n\n")[:-1]]
    return told, [json.loads(data.removeprefix("data: ")) for _, data in frames]


@given(said=st.lists(_said, max_size=8), done=_done)
def test_every_item_begins_grows_and_ends_before_the_next(said: list[Event], done: Done) -> None:
    told, events = _told([*said, done])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [events[0]["type"], events[1]["type"], events[-1]["type"]] == [
        *("response.created", "response.in_progress", "response.completed")
    ]
    open_item: dict[str, Any] | None = None
    grown = ""
    output: list[dict[str, Any]] = []
    for event in events[2:-1]:
        assert event["output_index"] == len(output)
        match event["type"]:
            case "response.output_item.added":
                assert open_item is None
                open_item, grown = event["item"], ""
            case "response.output_item.done":
                assert open_item is not None
                assert (open_item["id"], open_item["type"]) == (event["item"]["id"], event["item"]["type"])
                assert grown == _text(event["item"])
                open_item = None
                output.append(event["item"])
            case _:
                assert open_item is not None
                assert event["item_id"] == open_item["id"]
                grown += event.get("delta", "")
    assert open_item is None
    assert events[-1]["response"]["output"] == output == told.response["output"]
    assert len({item["id"] for item in output}) == len(output)
    assert {item["type"] for item in output} & {"message", "function_call"}


def _text(item: dict[str, Any]) -> str:
    match item:
        case {"type": "message", "content": [{"text": str() as text}]}:
            return text
        case {"type": "reasoning", "summary": [{"text": str() as text}]}:
            return text
    return str(item["arguments"])


@given(said=st.lists(_said, max_size=8), done=_done)
def test_all_that_was_said_can_be_sent_back(said: list[Event], done: Done) -> None:
    """What was said, thought and called is the same, whatever items it lay in."""
    told, _ = _told([*said, done])
    messages = conversation(told.response["output"], "")
    whole = "".join(event.text for event in said if isinstance(event, Text))
    assert "".join(message.content for message in messages).replace("\n", "") == whole.replace("\n", "")
    thought = "".join(event.text for event in said if isinstance(event, Thinking))
    assert "".join(message.thinking for message in messages) == thought
    calls = [call for event in said if isinstance(event, ToolCalls) for call in event.calls]
    assert [(call.id, call.arguments) for message in messages for call in message.tool_calls] == [
        (call.id, call.arguments) for call in calls
    ]
