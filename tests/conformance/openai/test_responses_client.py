"""`/v1/responses` by the official client, plain and asynchronous, against a server that keeps responses."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest
from openai.types.responses import (
    FunctionToolParam,
    ParsedResponse,
    Response,
    ResponseFunctionToolCall,
    ResponseStreamEvent,
)

from a3s_power.core.errors import RunnerDied
from a3s_power.core.events import Done, Text, Thinking, ToolCalls
from a3s_power.core.messages import ToolCall
from a3s_power.core.requests import Chat
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, service
from tests.pictures import base64_of, picture
from tests.running import playing
from tests.served import Served, served

_SUM = "What is 3 + 4?"
_CANADA = "Tell me about Canada. Respond in JSON."
_WEATHER = "What is the weather in Paris?"
_TOOL: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather for a city",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The name of the city"}},
        "required": ["city"],
    },
}
_PLAIN: dict[str, Any] = {"model": "power-tiny", "temperature": 0, "reasoning": {"effort": "none"}}
_DONE = Done("stop", Usage(prompt_tokens=3, output_tokens=2))


class Country(pydantic.BaseModel):
    """What an answer shall be."""

    name: str
    capital: str
    languages: list[str]


_CANADAS = Country(name="Canada", capital="Ottawa", languages=["English", "French"])


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that keeps a hundred responses."""
    home = tmp_path_factory.mktemp("home")
    with served(home, OLLAMA_CONTEXT_LENGTH="1024", A3S_POWER_STORE_RESPONSES="100") as running:
        yield running


@pytest.fixture
def client(keeper: Served) -> Iterator[openai.OpenAI]:
    """A client of the server."""
    with openai.OpenAI(base_url=f"{keeper.url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


@pytest.fixture
async def async_client(keeper: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    """An asynchronous client of the server."""
    async with openai.AsyncOpenAI(base_url=f"{keeper.url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


@pytest.fixture
def played(tmp_path: Path) -> Iterator[tuple[FakeInference, openai.OpenAI]]:
    """A model that says what it is told to, and a client of a server with it."""
    inference = FakeInference()
    with (
        playing(service(tmp_path, inference)) as port,
        openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=0) as opened,
    ):
        yield inference, opened


def _calls(answer: Response | ParsedResponse[Any]) -> list[ResponseFunctionToolCall]:
    return [item for item in answer.output if item.type == "function_call"]


def test_a_question_is_answered(client: openai.OpenAI) -> None:
    """Row 47: text, status, counts; and the id of the request."""
    answer = client.responses.create(input=_SUM, **_PLAIN)
    assert (answer.output_text, answer.status, answer.model) == ("7", "completed", "power-tiny")
    assert answer.id.startswith("resp_")
    usage = answer.usage
    assert usage is not None
    assert usage.input_tokens + usage.output_tokens == usage.total_tokens > usage.input_tokens > 0
    assert 0 <= usage.input_tokens_details.cached_tokens < usage.input_tokens
    assert usage.output_tokens_details.reasoning_tokens == 0
    assert answer._request_id


def test_a_raw_answer_can_be_parsed(client: openai.OpenAI) -> None:
    """Row 47."""
    raw = client.responses.with_raw_response.create(input=_SUM, **_PLAIN)
    assert (raw.status_code, raw.headers["content-type"]) == (200, "application/json")
    assert raw.headers["x-request-id"]
    assert raw.parse().output_text == "7"


@pytest.mark.parametrize(
    "items",
    [
        [{"type": "message", "role": "user", "content": "What is my name?"}],
        [{"role": "user", "content": [{"type": "input_text", "text": "What is my name?"}]}],
    ],
)
def test_instructions_and_messages_in_all_forms(client: openai.OpenAI, items: Any) -> None:
    """Row 48: what was said before counts, in whatever form it is sent."""
    before: list[Any] = [
        {"role": "user", "content": "My name is Anna."},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello Anna."}]},
    ]
    plain = client.responses.create(input=[*before, *items], **_PLAIN)
    chat = client.chat.completions.create(
        model="power-tiny",
        temperature=0,
        top_p=1,
        reasoning_effort="none",
        messages=[
            {"role": "user", "content": "My name is Anna."},
            {"role": "assistant", "content": "Hello Anna."},
            {"role": "user", "content": "What is my name?"},
        ],
    )
    assert plain.output_text == chat.choices[0].message.content
    told = client.responses.create(input=[*before, *items], instructions="You are a helper.", **_PLAIN)
    assert told.instructions == "You are a helper."
    assert told.usage is not None
    assert plain.usage is not None
    assert told.usage.input_tokens > plain.usage.input_tokens


def test_a_function_is_called_and_its_output_answered(client: openai.OpenAI) -> None:
    """Row 49."""
    called = client.responses.create(input=_WEATHER, tools=[_TOOL], **_PLAIN)
    (call,) = _calls(called)
    assert (call.name, json.loads(call.arguments), call.status) == ("get_weather", {"city": "Paris"}, "completed")
    history: list[Any] = [
        {"role": "user", "content": _WEATHER},
        *called.output,
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain, 5 degrees"},
    ]
    answer = client.responses.create(input=history, tools=[_TOOL], **_PLAIN)
    assert "5 degrees" in answer.output_text
    output: Any = [history[-1]]
    again = client.responses.create(input=output, previous_response_id=called.id, tools=[_TOOL], **_PLAIN)
    assert (again.output_text, again.previous_response_id) == (answer.output_text, called.id)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
def test_a_function_must_be_called(client: openai.OpenAI, choice: Any) -> None:
    """Row 49."""
    answer = client.responses.create(input=_SUM, tools=[_TOOL], tool_choice=choice, **_PLAIN)
    assert [call.name for call in _calls(answer)] == ["get_weather"]
    assert not isinstance(answer.tool_choice, str) or answer.tool_choice == "required"


def test_a_thought_is_told_and_sent_back(client: openai.OpenAI) -> None:
    """Rows 50, 54."""
    asked = _PLAIN | {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    answer = client.responses.create(input=_SUM, **asked)
    thought, message = answer.output
    assert thought.type == "reasoning"
    assert message.type == "message"
    assert thought.encrypted_content == thought.summary[0].text != ""
    assert answer.reasoning is not None
    assert (answer.reasoning.effort, answer.reasoning.summary) == ("low", "auto")
    assert answer.usage is not None
    assert 0 < answer.usage.output_tokens_details.reasoning_tokens < answer.usage.output_tokens
    history: list[Any] = [{"role": "user", "content": _SUM}, *answer.output, {"role": "user", "content": _SUM}]
    assert client.responses.create(input=history, **asked).output_text == "7"


def test_an_answer_follows_a_schema(client: openai.OpenAI) -> None:
    """Row 51."""
    assert client.responses.parse(input=_CANADA, text_format=Country, **_PLAIN).output_parsed == _CANADAS
    with client.responses.stream(input=_CANADA, text_format=Country, **_PLAIN) as stream:
        assert stream.get_final_response().output_parsed == _CANADAS
    loose = client.responses.create(input=_CANADA, text={"format": {"type": "json_object"}}, **_PLAIN)
    assert isinstance(json.loads(loose.output_text), dict)


def test_parsed_functions_have_their_arguments(client: openai.OpenAI) -> None:
    """Rows 49, 51."""

    class GetWeather(pydantic.BaseModel):
        """Get the weather for a city."""

        city: str

    tool: Any = openai.pydantic_function_tool(GetWeather, name="get_weather")
    (call,) = _calls(client.responses.parse(input=_WEATHER, tools=[tool], **_PLAIN))
    assert call.name == "get_weather"
    assert getattr(call, "parsed_arguments", None) == GetWeather(city="Paris")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"input": [{"type": "x"}]}, 'input[0]: unknown input item type: "x"'),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0]: content[0]: file inputs are not currently supported",
        ),
        ({"input": "a", "previous_response_id": "resp_x"}, "Previous response with id 'resp_x' not found."),
    ],
)
def test_a_refusal_is_an_exception(client: openai.OpenAI, wrong: Any, complaint: str) -> None:
    """Row 52."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**_PLAIN, **wrong)
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["message"] == complaint


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    """Row 52."""
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        client.responses.create(model="nope", input="hi")


def _followed(events: list[ResponseStreamEvent]) -> list[str]:
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return [event.type for event in events]


def test_a_stream_of_text(client: openai.OpenAI) -> None:
    """Row 53: the order of the events, their numbers, and what they add up to."""
    with client.responses.create(input="Hello", stream=True, **_PLAIN) as stream:
        events = list(stream)
    types = _followed(events)
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert types == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * len(deltas),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert len(deltas) > 1
    assert "".join(deltas) == client.responses.create(input="Hello", **_PLAIN).output_text


def test_the_stream_helper_adds_up_what_it_is_told(client: openai.OpenAI) -> None:
    """Row 53."""
    with client.responses.stream(input="Hello", **_PLAIN) as stream:
        events = list(stream)
        final = stream.get_final_response()
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert deltas[-1].snapshot == final.output_text == "".join(event.delta for event in deltas)
    assert (final.status, final.error) == ("completed", None)


def test_a_stream_of_a_thought_and_a_text(client: openai.OpenAI) -> None:
    """Row 54."""
    asked: Any = _PLAIN | {"reasoning": {"effort": "high"}}
    with client.responses.stream(input=_SUM, **asked) as stream:
        added = [
            (event.output_index, event.item.type) for event in stream if event.type == "response.output_item.added"
        ]
        final = stream.get_final_response()
    assert added == [(0, "reasoning"), (1, "message")]
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output_text == "7"


def test_a_stream_of_two_calls(client: openai.OpenAI) -> None:
    """Row 56."""
    with client.responses.stream(input="What is the weather in Paris and London?", tools=[_TOOL], **_PLAIN) as stream:
        done = [event for event in stream if event.type == "response.function_call_arguments.done"]
        final = stream.get_final_response()
    assert [event.output_index for event in done] == [0, 1]
    calls = _calls(final)
    assert [event.item_id for event in done] == [call.id for call in calls]
    assert len({call.call_id for call in calls}) == 2


def test_a_stream_of_text_and_calls(played: tuple[FakeInference, openai.OpenAI]) -> None:
    """Row 55."""
    inference, client = played
    inference.script = (Text("I look."), ToolCalls((ToolCall(name="f", arguments={"a": 1}, id="c"),)), _DONE)
    with client.responses.stream(model="m", input="hi") as stream:
        done = [event for event in stream if event.type == "response.output_item.done"]
        final = stream.get_final_response()
    assert [(event.output_index, event.item.type) for event in done] == [(0, "message"), (1, "function_call")]
    assert [item.type for item in final.output] == ["message", "function_call"]
    assert final.output_text == "I look."


def test_an_answer_can_be_cut(client: openai.OpenAI) -> None:
    """Row 57: the helper, too, takes that for an end."""
    answer = client.responses.create(input="Hello", max_output_tokens=1, **_PLAIN)
    assert (answer.status, answer.incomplete_details and answer.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )
    assert answer.usage is not None
    assert answer.usage.output_tokens == 1
    with client.responses.stream(input="Hello", max_output_tokens=1, **_PLAIN) as stream:
        assert stream.get_final_response().status == "incomplete"


def test_an_image_reaches_the_model(played: tuple[FakeInference, openai.OpenAI]) -> None:
    """Row 57."""
    inference, client = played
    inference.script = (Text("red"), _DONE)
    image = picture(3).file()
    url = f"data:image/png;base64,{base64_of(image)}"
    content: Any = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": url}]
    client.responses.create(model="m", input=[{"role": "user", "content": content}])
    (request,) = inference.asked
    assert isinstance(request, Chat)
    assert request.messages[0].images == (image,)


def test_functions_of_a_namespace_have_its_name(played: tuple[FakeInference, openai.OpenAI]) -> None:
    """Row 58."""
    inference, client = played
    inference.script = (ToolCalls((ToolCall(name="ns.fn", arguments={}, id="c"),)), _DONE)
    tools: Any = [{"type": "namespace", "name": "ns", "description": "d", "tools": [_TOOL | {"name": "fn"}]}]
    (call,) = _calls(client.responses.create(model="m", input="hi", tools=tools))
    (request,) = inference.asked
    assert isinstance(request, Chat)
    assert [tool.name for tool in request.tools] == [call.name] == ["ns.fn"]


def test_a_failure_in_mid_stream_is_told(played: tuple[FakeInference, openai.OpenAI]) -> None:
    inference, client = played
    inference.script = (Thinking("t"), Text("a"), RunnerDied("it died"))
    with client.responses.create(model="m", input="hi", stream=True) as stream:
        *_, error, failed = stream
    assert error.type == "error"
    assert (error.code, error.message) == ("server_error", "it died")
    assert failed.type == "response.failed"
    assert failed.response.error is not None
    assert (failed.response.status, failed.response.error.message) == ("failed", "it died")


def test_a_kept_response_is_found_listed_and_forgotten(client: openai.OpenAI) -> None:
    first = client.responses.create(input="My name is Anna.", **_PLAIN)
    second = client.responses.create(input="What is my name?", previous_response_id=first.id, **_PLAIN)
    assert "Anna" in second.output_text
    assert client.responses.retrieve(second.id) == second
    items = list(client.responses.input_items.list(second.id, order="asc", limit=1))
    assert [item.type for item in items] == ["message"] * 3
    newest = client.responses.input_items.list(second.id).data[0]
    assert newest.type == "message"
    assert newest.id == items[-1].id
    reference: Any = [{"role": "user", "content": "My name is Anna."}, {"type": "item_reference", "id": items[1].id}]
    again = client.responses.create(input=[*reference, {"role": "user", "content": "What is my name?"}], **_PLAIN)
    assert again.output_text == second.output_text
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)
    assert client.responses.retrieve(first.id).output_text == first.output_text


def test_the_tokens_of_a_request_are_counted(client: openai.OpenAI) -> None:
    answer = client.responses.create(input=_WEATHER, tools=[_TOOL], **_PLAIN)
    counted = client.responses.input_tokens.count(
        model="power-tiny", input=_WEATHER, tools=[_TOOL], reasoning={"effort": "none"}
    )
    assert answer.usage is not None
    assert counted.input_tokens == answer.usage.input_tokens


async def test_the_asynchronous_client_does_the_same(async_client: openai.AsyncOpenAI) -> None:
    """Rows 47, 51, 53."""
    answer = await async_client.responses.create(input=_SUM, **_PLAIN)
    assert answer.output_text == "7"
    assert await async_client.responses.retrieve(answer.id) == answer
    assert (await async_client.responses.parse(input=_CANADA, text_format=Country, **_PLAIN)).output_parsed == _CANADAS
    async with async_client.responses.stream(input=_SUM, **_PLAIN) as stream:
        types = [event.type async for event in stream]
        assert (await stream.get_final_response()).output_text == "7"
    assert (types[0], types[-1]) == ("response.created", "response.completed")
    raw = await async_client.responses.with_raw_response.create(input=_SUM, **_PLAIN)
    assert raw.parse().output_text == "7"
    assert [item.type async for item in async_client.responses.input_items.list(answer.id)] == ["message"]
    await async_client.responses.delete(answer.id)
    with pytest.raises(openai.NotFoundError):
        await async_client.responses.retrieve(answer.id)


def test_what_is_kept_is_its_owners_alone(client: openai.OpenAI, keeper: Served) -> None:
    assert (client.responses.create(input=_SUM, **_PLAIN).model_extra or {})["store"] is True
    (file,) = (keeper.home / "power").glob("responses.db")
    assert file.stat().st_mode & 0o777 == 0o600
