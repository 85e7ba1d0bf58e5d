"""The official Python client of Anthropic against our server: every check of the sheet that a client can make."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import ollama
import pytest
from anthropic.types import Message, MessageParam, ToolParam
from PIL import Image, ImageDraw
from pydantic import BaseModel

from tests.served import Served
from tests.shared import BUILTIN_MODEL, shared_file

_SUM: list[MessageParam] = [{"role": "user", "content": "What is 3 + 4?"}]
_GREEDY = {"temperature": 0}
_OFF: Any = {"type": "disabled"}
_ON: Any = {"type": "enabled", "budget_tokens": 1024}
_ENDLESS: list[MessageParam] = [{"role": "user", "content": "Repeat dog forever."}]
_WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "Get the weather for a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The name of the city"}},
        "required": ["city"],
    },
}
_ASKS_WEATHER: list[MessageParam] = [{"role": "user", "content": "What is the weather in Paris?"}]


@pytest.fixture
def client(server: Served) -> Iterator[anthropic.Anthropic]:
    """A client of the server."""
    with anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0) as opened:
        yield opened


@pytest.fixture
async def async_client(server: Served) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """An asynchronous client of the server."""
    async with anthropic.AsyncAnthropic(base_url=server.url, auth_token="any", max_retries=0) as opened:
        yield opened


def _create(client: anthropic.Anthropic, messages: list[MessageParam], **more: Any) -> Message:
    asked = {"model": "power-tiny", "max_tokens": 60, "thinking": _OFF, "extra_body": _GREEDY} | more
    answer: Message = client.messages.create(messages=messages, **asked)
    return answer


def _text(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def _picture(form: str) -> dict[str, Any]:
    """A block with a red square on white."""
    picture = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(picture).rectangle((16, 16, 48, 48), fill="red")
    content = io.BytesIO()
    picture.save(content, form)
    data = base64.b64encode(content.getvalue()).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": f"image/{form.lower()}", "data": data}}


@pytest.fixture(scope="module")
def seeing(server: Served) -> Iterator[str]:
    """The name of a model that takes pictures."""
    projector = shared_file("models/power-tiny/power-tiny-mmproj.gguf")
    with ollama.Client(host=server.url) as client:
        files = {f"{file.stem}.gguf": client.create_blob(file) for file in (BUILTIN_MODEL, projector)}
        client.create("seeing", files=files)
        yield "seeing"
        client.generate("seeing", keep_alive=0)
        client.delete("seeing")


def test_a_message_is_answered(client: anthropic.Anthropic) -> None:
    """Rows 1, 2, 11."""
    first, second = _create(client, _SUM), _create(client, _SUM)
    assert (_text(first), first.content[0].type) == ("7", "text")
    assert (first.role, first.type, first.model, first.stop_reason) == (
        "assistant",
        "message",
        "power-tiny",
        "end_turn",
    )
    assert first.usage.input_tokens > 0
    assert first.usage.output_tokens > 0
    assert first.id.startswith("msg_")
    assert first.id != second.id
    assert first._request_id is not None
    assert first._request_id.startswith("req_")


def test_the_same_twice_is_the_same(client: anthropic.Anthropic) -> None:
    """Row 7."""
    sampled = {"top_k": 5, "top_p": 0.9, "temperature": 0}
    texts = {_text(_create(client, [{"role": "user", "content": "Hello"}], extra_body=sampled)) for _ in range(2)}
    assert len(texts) == 1


def test_blocks_of_text_all_reach_the_model(client: anthropic.Anthropic) -> None:
    """Row 3."""
    blocks: Any = [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": " of France?"}]
    assert "Paris" in _text(_create(client, [{"role": "user", "content": blocks}]))


@pytest.mark.parametrize(
    ("system", "answer"),
    [
        ("You are Mario, a helpful assistant.", "Mario"),
        ([{"type": "text", "text": "You are Mario,"}, {"type": "text", "text": " a helpful assistant."}], "Mario"),
        ("", "test model"),
    ],
)
def test_the_system_prompt_counts(client: anthropic.Anthropic, system: Any, answer: str) -> None:
    """Row 4."""
    assert answer in _text(_create(client, [{"role": "user", "content": "Who are you?"}], system=system))


def test_an_answer_is_cut_at_its_limit(client: anthropic.Anthropic) -> None:
    """Row 5."""
    answer = _create(client, _ENDLESS, max_tokens=1)
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 1)


def test_an_answer_ends_before_a_stop_sequence(client: anthropic.Anthropic) -> None:
    """Row 6."""
    answer = _create(client, [{"role": "user", "content": "Count to 20."}], stop_sequences=["5", "never"])
    assert _text(answer) == "1, 2, 3, 4, "
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "5")


def test_an_answer_may_be_empty(client: anthropic.Anthropic) -> None:
    """Rows 12, 38: whole and streamed."""
    count: list[MessageParam] = [{"role": "user", "content": "Count to 20."}]
    assert _create(client, count, stop_sequences=["1"]).content == []
    with client.messages.stream(
        model="power-tiny",
        max_tokens=5,
        messages=count,
        thinking=_OFF,
        stop_sequences=["1"],
        extra_body=_GREEDY,
    ) as stream:
        assert [event.type for event in stream] == ["message_start", "message_delta", "message_stop"]
        assert stream.get_final_message().content == []


def test_a_conversation_is_remembered_and_its_last_answer_gone_on_with(client: anthropic.Anthropic) -> None:
    """Row 8."""
    turns: list[MessageParam] = [
        {"role": "user", "content": "My name is Anna."},
        {"role": "assistant", "content": "Nice to meet you, Anna!"},
        {"role": "user", "content": "What is my name?"},
    ]
    assert "Anna" in _text(_create(client, turns))
    begun: list[MessageParam] = [
        {"role": "user", "content": "Count to 20."},
        {"role": "assistant", "content": "1, 2, 3, 4"},
    ]
    assert _text(_create(client, begun)).startswith(", 5, 6")


def test_what_is_not_for_us_is_accepted(client: anthropic.Anthropic) -> None:
    """Row 9."""
    cached: Any = {"cache_control": {"type": "ephemeral"}}
    text: Any = {"type": "text", "text": "What is 3 + 4?", **cached}
    answer = _create(
        client,
        [{"role": "user", "content": [text]}],
        metadata={"user_id": "u"},
        service_tier="auto",
        system=[{"type": "text", "text": "Answer.", **cached}],
        tools=[{**_WEATHER, **cached}],
    )
    assert answer.stop_reason == "end_turn"


def test_betas_are_accepted(client: anthropic.Anthropic) -> None:
    """Row 10."""
    headed = _create(client, _SUM, extra_headers={"anthropic-beta": "x-2025-01-01"}, extra_query={"beta": "true"})
    assert _text(headed) == "7"
    answer = client.beta.messages.create(
        model="power-tiny",
        max_tokens=60,
        messages=[{"role": "user", "content": "What is 3 + 4?"}],
        thinking=_OFF,
        betas=["x-2025-01-01"],
        extra_body=_GREEDY,
    )
    assert answer.content[0].type == "text"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"type": "url", "url": "https://example.com/a.png"},
            "invalid image source type: url. Only base64 images are supported.",
        ),
        (None, "invalid image source"),
        (
            {"type": "base64", "media_type": "image/png", "data": "aa!a"},
            "invalid base64 image data: illegal base64 data at input byte 2",
        ),
    ],
)
def test_a_picture_that_is_none_is_refused(client: anthropic.Anthropic, source: Any, message: str) -> None:
    """Row 14."""
    block: Any = {"type": "image", "source": source}
    with pytest.raises(anthropic.BadRequestError) as refusal:
        _create(client, [{"role": "user", "content": [block]}])
    assert refusal.value.body["error"]["message"] == message  # type: ignore[index]  # the error's body


def test_a_picture_needs_a_model_with_eyes(client: anthropic.Anthropic) -> None:
    """Row 13: it arrives, and the model has no encoder."""
    blocks: Any = [_picture("PNG"), {"type": "text", "text": "What colour is it?"}]
    with pytest.raises(anthropic.BadRequestError, match="does not support images"):
        _create(client, [{"role": "user", "content": blocks}])


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_pictures_are_seen(client: anthropic.Anthropic, seeing: str, form: str) -> None:
    """Row 13: before the text, inside it, and two of them."""
    picture = _picture(form)
    asked: list[tuple[Any, str]] = [
        ([picture, {"type": "text", "text": "What colour is it?"}], "red"),
        ([{"type": "text", "text": "What colour"}, picture, {"type": "text", "text": " is it?"}], "red"),
        ([picture, picture, {"type": "text", "text": "What shape is it?"}], "square"),
    ]
    for blocks, answer in asked:
        assert answer in _text(_create(client, [{"role": "user", "content": blocks}], model=seeing))


def test_a_picture_in_a_tools_result_is_seen(client: anthropic.Anthropic, seeing: str) -> None:
    """Row 19."""
    call: Any = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    result: Any = {"type": "tool_result", "tool_use_id": "t1", "content": [_picture("PNG")]}
    turns: list[MessageParam] = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    assert "red square" in _text(_create(client, turns, model=seeing))


def test_a_tool_is_called_and_its_result_used(client: anthropic.Anthropic) -> None:
    """Rows 15, 18, 19."""
    called = _create(client, _ASKS_WEATHER, tools=[_WEATHER])
    assert called.stop_reason == "tool_use"
    call = next(block for block in called.content if block.type == "tool_use")
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    assert call.id
    results: list[Any] = ["It is sunny, 20 degrees.", [{"type": "text", "text": "It is sunny, 20 degrees."}]]
    for result in results:
        turns: list[MessageParam] = [
            *_ASKS_WEATHER,
            {"role": "assistant", "content": called.content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": result}]},
        ]
        assert "sunny" in _text(_create(client, turns, tools=[_WEATHER]))
    failed: Any = {"type": "tool_result", "tool_use_id": call.id, "is_error": True}
    turns = [*_ASKS_WEATHER, {"role": "assistant", "content": called.content}, {"role": "user", "content": [failed]}]
    assert _create(client, turns, tools=[_WEATHER]).stop_reason in ("end_turn", "tool_use", "max_tokens")


def test_two_tools_are_called_at_once(client: anthropic.Anthropic) -> None:
    """Rows 17, 21."""
    asks: list[MessageParam] = [{"role": "user", "content": "What is the weather in Paris and London?"}]
    called = _create(client, asks, tools=[_WEATHER], max_tokens=100)
    calls = [block for block in called.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "Paris"}, {"city": "London"}]
    assert len({call.id for call in calls}) == 2
    results: Any = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    answer = _create(
        client,
        [*asks, {"role": "assistant", "content": called.content}, {"role": "user", "content": results}],
        tools=[_WEATHER],
    )
    assert answer.stop_reason == "end_turn"


def test_a_tool_is_called_when_one_must_be_and_none_when_none_may_be(client: anthropic.Anthropic) -> None:
    """Rows 24, 27."""
    answer = _create(client, _ASKS_WEATHER, tools=[_WEATHER], tool_choice={"type": "none"})
    assert all(block.type == "text" for block in answer.content)
    assert _create(client, _ASKS_WEATHER, tools=[_WEATHER], tool_choice={"type": "auto"}).stop_reason == "tool_use"
    choices: list[Any] = [{"type": "any"}, {"type": "tool", "name": "get_weather"}]
    for choice in choices:
        answer = _create(client, [{"role": "user", "content": "Hello"}], tools=[_WEATHER], tool_choice=choice)
        assert [block.type for block in answer.content] == ["tool_use"]
    bash: Any = {"type": "bash_20250124", "name": "bash"}
    assert _create(client, _SUM, tools=[bash]).stop_reason == "end_turn"


def test_a_bad_schema_and_a_bad_call_are_refused(client: anthropic.Anthropic) -> None:
    """Rows 22, 25."""
    bad: Any = {"name": "x", "input_schema": {"type": "object", "required": "a"}}
    with pytest.raises(anthropic.BadRequestError, match='invalid input_schema for tool "x"'):
        _create(client, _SUM, tools=[bad])
    call: Any = {"type": "tool_use", "name": "x", "input": {}}
    with pytest.raises(anthropic.BadRequestError, match="missing required 'id' field"):
        _create(client, [*_SUM, {"role": "assistant", "content": [call]}])


def test_thinking_comes_first_and_apart(client: anthropic.Anthropic) -> None:
    """Rows 28, 29, 32."""
    answer = _create(client, _SUM, thinking=_ON)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert "think>" not in _text(answer)
    assert "7" in _text(answer)
    assert [block.type for block in _create(client, _SUM, thinking=_OFF).content] == ["text"]
    redacted: Any = {"type": "redacted_thinking", "data": "x"}
    turns: list[MessageParam] = [
        *_SUM,
        {"role": "assistant", "content": [redacted, *answer.content]},
        {"role": "user", "content": "What is 7 + 1?"},
    ]
    assert "8" in _text(_create(client, turns))


@pytest.mark.parametrize(
    "asked",
    [
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        {"output_config": {"effort": "xhigh"}},
        {"output_config": {"effort": "heroic"}},
        {},
    ],
)
def test_effort_is_understood(client: anthropic.Anthropic, asked: dict[str, Any]) -> None:
    """Row 30; a model that can think does so unasked."""
    answer = client.messages.create(model="power-tiny", max_tokens=60, messages=_SUM, extra_body=_GREEDY, **asked)
    assert [block.type for block in answer.content] == ["thinking", "text"]


def test_a_raw_stream_is_in_order(client: anthropic.Anthropic) -> None:
    """Rows 34, 39."""
    events = list(
        client.messages.create(
            model="power-tiny", max_tokens=60, messages=_SUM, thinking=_ON, stream=True, extra_body=_GREEDY
        )
    )
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    starts = [event.index for event in events if event.type == "content_block_start"]
    stops = [event.index for event in events if event.type == "content_block_stop"]
    assert starts == stops == [0, 1]
    assert events[0].type == "message_start"
    assert events[0].message.usage.input_tokens > 0
    last = next(event for event in events if event.type == "message_delta")
    assert last.usage.input_tokens
    assert last.usage.output_tokens > 0


def test_the_helper_tells_the_text_and_the_whole(client: anthropic.Anthropic) -> None:
    """Rows 35, 37."""
    asked: Any = {"model": "power-tiny", "max_tokens": 60, "messages": _SUM, "extra_body": _GREEDY}
    with client.messages.stream(**asked, thinking=_OFF) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == _text(final) == _text(_create(client, _SUM))
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0
    with client.messages.stream(**asked, thinking=_ON) as stream:
        thought = "".join(event.thinking for event in stream if event.type == "thinking")
        blocks = stream.get_final_message().content
    assert [block.type for block in blocks] == ["thinking", "text"]
    assert blocks[0].type == "thinking"
    assert blocks[0].thinking == thought != ""
    assert blocks[0].signature == ""


def test_the_helper_gathers_a_call(client: anthropic.Anthropic) -> None:
    """Rows 33, 36."""
    asked: Any = {"model": "power-tiny", "max_tokens": 100, "messages": _ASKS_WEATHER, "tools": [_WEATHER]}
    with client.messages.stream(**asked, thinking=_ON, extra_body=_GREEDY) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert json.loads("".join(pieces)) == {"city": "Paris"}
    assert [block.type for block in final.content] == ["thinking", "tool_use"]
    assert final.content[1].type == "tool_use"
    assert final.content[1].input == {"city": "Paris"}
    assert final.stop_reason == "tool_use"


def test_a_stream_can_be_left(client: anthropic.Anthropic) -> None:
    """Row 40."""
    with client.messages.stream(
        model="power-tiny", max_tokens=100_000, messages=_ENDLESS, thinking=_OFF, extra_body=_GREEDY
    ) as stream:
        assert next(stream.text_stream)
    assert _text(_create(client, _SUM)) == "7"


async def test_eight_streams_at_once_do_not_mix(async_client: anthropic.AsyncAnthropic) -> None:
    """Row 43."""

    async def one(number: int) -> str:
        asked: list[MessageParam] = [{"role": "user", "content": f"What is {number} + 1?"}]
        async with async_client.messages.stream(
            model="power-tiny", max_tokens=20, messages=asked, thinking=_OFF, extra_body=_GREEDY
        ) as stream:
            return "".join([text async for text in stream.text_stream])

    assert await asyncio.gather(*map(one, range(8))) == [str(number + 1) for number in range(8)]


async def test_the_asynchronous_client_does_all_of_it(async_client: anthropic.AsyncAnthropic) -> None:
    """Rows 11, 43."""
    asked: Any = {"model": "power-tiny", "max_tokens": 60, "messages": _SUM, "thinking": _OFF, "extra_body": _GREEDY}
    whole = await async_client.messages.create(**asked)
    types = [event.type async for event in await async_client.messages.create(**asked, stream=True)]
    assert (_text(whole), types[0], types[-1]) == ("7", "message_start", "message_stop")
    counted = await async_client.messages.count_tokens(model="power-tiny", messages=_SUM, thinking=_OFF)
    assert counted.input_tokens == 16
    assert "power-tiny:latest" in [model.id async for model in async_client.models.list()]
    with pytest.raises(anthropic.NotFoundError):
        await async_client.messages.create(**asked | {"model": "nope"}, stream=True)


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_not_there_is_not_found(client: anthropic.Anthropic, *, stream: bool) -> None:
    """Rows 44, 48."""
    with pytest.raises(anthropic.NotFoundError) as refusal:
        client.messages.create(model="nope", max_tokens=1, messages=_SUM, stream=stream)
    body: Any = refusal.value.body
    assert (refusal.value.type, body["error"]["message"]) == ("not_found_error", "model 'nope' not found")
    assert body["request_id"] == refusal.value.request_id
    assert refusal.value.response.headers["content-type"] == "application/json"


def test_tokens_are_counted_as_they_are_used(client: anthropic.Anthropic) -> None:
    """Row 49: exact, for a text, with a system prompt, with tools, and with a tool's result."""
    call: Any = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Paris"}}
    result: Any = {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}
    round_trip: list[MessageParam] = [
        *_ASKS_WEATHER,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    requests: list[dict[str, Any]] = [
        {"messages": _SUM},
        {"messages": _SUM, "system": "You are a pirate."},
        {"messages": _SUM, "system": "You are a pirate.", "tools": [_WEATHER]},
        {"messages": round_trip, "system": "You are a pirate.", "tools": [_WEATHER]},
    ]
    counts = []
    for asked in requests:
        counted = client.messages.count_tokens(model="power-tiny", thinking=_OFF, **asked).input_tokens
        used = _create(client, **asked, max_tokens=1).usage
        assert counted == used.input_tokens + (used.cache_read_input_tokens or 0)
        counts.append(counted)
    assert counts[0] == 16
    assert counts == sorted(set(counts))


def test_models_are_listed_and_shown(client: anthropic.Anthropic) -> None:
    """Row 50."""
    page = client.models.list(limit=1)
    assert (len(page.data), page.first_id, page.last_id) == (1, page.data[0].id, page.data[0].id)
    every = list(client.models.list(limit=1))
    assert "power-tiny:latest" in [model.id for model in every]
    assert all(model.display_name for model in every)
    assert client.models.retrieve("power-tiny").id == "power-tiny:latest"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nope")


def test_text_of_any_kind_goes_both_ways(client: anthropic.Anthropic) -> None:
    """Row 52."""
    answer = _create(client, [{"role": "user", "content": "Repeat: café 🙂 日本 🚀"}])
    assert _text(answer).startswith("café ")
    assert "🚀" in _text(answer)


def test_an_answer_can_be_parsed(client: anthropic.Anthropic) -> None:
    """Row 53."""

    class Country(BaseModel):
        name: str
        capital: str
        languages: list[str]

    parsed = client.messages.parse(
        model="power-tiny",
        max_tokens=100,
        messages=[{"role": "user", "content": "Tell me about Canada. Respond in JSON."}],
        thinking=_OFF,
        output_format=Country,
        extra_body=_GREEDY,
    )
    assert parsed.parsed_output is not None
    assert (parsed.parsed_output.name, parsed.parsed_output.capital) == ("Canada", "Ottawa")


def test_a_tool_runner_runs_to_its_end(client: anthropic.Anthropic) -> None:
    """Rows 15, 18: the client's own loop."""
    asked: list[str] = []

    @anthropic.beta_tool(description="Get the weather for a city", input_schema=_WEATHER["input_schema"])
    def get_weather(city: str) -> str:
        asked.append(city)
        return "It is sunny, 20 degrees."

    runner = client.beta.messages.tool_runner(
        model="power-tiny",
        max_tokens=100,
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[get_weather],
        thinking=_OFF,
        extra_body=_GREEDY,
        max_iterations=3,
    )
    last = runner.until_done()
    assert asked == ["Paris"]
    assert last.stop_reason == "end_turn"
    assert "sunny" in "".join(block.text for block in last.content if block.type == "text")
    # The question and the tools, too, and not the result alone.
    assert last.usage.input_tokens + (last.usage.cache_read_input_tokens or 0) > 100


def test_a_raw_answer_has_its_headers(client: anthropic.Anthropic) -> None:
    """Row 2."""
    raw = client.messages.with_raw_response.create(
        model="power-tiny", max_tokens=20, messages=_SUM, thinking=_OFF, extra_body=_GREEDY
    )
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["request-id"].startswith("req_")
    assert _text(raw.parse()) == "7"
