"""The official Python client of OpenAI against our server: every check of the sheet that it can make."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam, ChatCompletionToolParam

from a3s_power.core.errors import RunnerDied
from a3s_power.core.events import Text
from tests.fakes import FakeInference, service
from tests.models import tiny_llama
from tests.pictures import base64_of, picture
from tests.running import playing
from tests.served import Served
from tests.shared import shared_file

_MODEL = "power-tiny"
_SUM: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is 3 + 4?"}]
_HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
_WEATHER: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Paris?"}]
_CANADA: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "Tell me about Canada. Respond in JSON."},
]
_TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather for a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The name of the city"}},
            "required": ["city"],
        },
    },
}
_PLAIN: dict[str, Any] = {"model": _MODEL, "temperature": 0, "reasoning_effort": "none"}


class Country(pydantic.BaseModel):
    """What an answer shall be."""

    name: str
    capital: str
    languages: list[str]


_CANADAS = Country(name="Canada", capital="Ottawa", languages=["English", "French"])


@pytest.fixture
def client(server: Served) -> Iterator[openai.OpenAI]:
    """A client of the server, with a key that nobody asks for."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


@pytest.fixture
async def async_client(server: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    """An asynchronous client of the server."""
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


def _text(answer: ChatCompletion) -> str:
    return answer.choices[0].message.content or ""


def _reasoning(holder: Any) -> str:
    """A field that the client does not know, and keeps."""
    return str((holder.model_extra or {}).get("reasoning", ""))


def test_a_chat_is_answered(client: openai.OpenAI) -> None:
    """Rows 1, 2, 3: text, role, reason and counts; the model just as it was named."""
    answer = client.chat.completions.create(messages=_SUM, **_PLAIN)
    choice, usage = answer.choices[0], answer.usage
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "7", "stop")
    assert usage is not None
    assert usage.prompt_tokens + usage.completion_tokens == usage.total_tokens > usage.prompt_tokens > 0
    assert (answer.model, answer.object, answer.id[:9]) == (_MODEL, "chat.completion", "chatcmpl-")
    assert answer.created > 0
    assert answer.system_fingerprint


@pytest.mark.parametrize("limit", [{"max_tokens": 1}, {"max_completion_tokens": 1}])
def test_an_answer_is_cut_at_its_limit(client: openai.OpenAI, limit: Any) -> None:
    """Rows 4, 27."""
    answer = client.chat.completions.create(messages=_HELLO, **_PLAIN, **limit)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 1


@pytest.mark.parametrize("stop", [" How", ["never", " How"]])
def test_an_answer_ends_before_a_stop_text(client: openai.OpenAI, stop: Any) -> None:
    """Row 5."""
    whole = _text(client.chat.completions.create(messages=_HELLO, **_PLAIN))
    answer = client.chat.completions.create(messages=_HELLO, **_PLAIN, stop=stop)
    assert _text(answer) == whole.partition(" How")[0] != whole
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("said", [{}, {"temperature": 1.0, "top_p": 1.0}])
def test_a_seed_gives_the_same_answer_and_defaults_are_one(client: openai.OpenAI, tiny: str, said: Any) -> None:
    """Rows 6, 7."""
    asked: dict[str, Any] = {"model": tiny, "messages": _HELLO, "seed": 7, "max_tokens": 12}
    first = _text(client.chat.completions.create(**asked, **said))
    assert first == _text(client.chat.completions.create(**asked, temperature=1.0, top_p=1.0))
    assert first != _text(client.chat.completions.create(**asked, temperature=0))


def test_an_answer_is_json(client: openai.OpenAI) -> None:
    """Row 8."""
    answer = client.chat.completions.create(messages=_CANADA, **_PLAIN, response_format={"type": "json_object"})
    assert isinstance(json.loads(_text(answer)), dict)


@pytest.mark.parametrize("effort", ["none", "high"])
def test_an_answer_follows_a_schema(client: openai.OpenAI, effort: str) -> None:
    """Row 9: also behind a thought."""
    answer = client.chat.completions.parse(
        messages=_CANADA, response_format=Country, **_PLAIN | {"reasoning_effort": effort}
    )
    assert answer.choices[0].message.parsed == _CANADAS
    assert bool(_reasoning(answer.choices[0].message)) == (effort != "none")


def test_a_streamed_answer_follows_a_schema(client: openai.OpenAI) -> None:
    """Rows 9, 32."""
    with client.chat.completions.stream(messages=_CANADA, response_format=Country, **_PLAIN) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.parsed == _CANADAS


@pytest.mark.parametrize(
    ("form", "answered"),
    [
        ({"guided_choice": ["eight", "seven"]}, "eight|seven"),
        ({"guided_regex": "[0-9]{3}"}, "[0-9]{3}"),
        ({"grammar": 'root ::= "x" [a-b]+ "y"'}, "x[ab]+y"),
    ],
)
def test_an_answer_follows_a_form_of_ours(client: openai.OpenAI, form: Any, answered: str) -> None:
    answer = client.chat.completions.create(messages=_SUM, **_PLAIN, max_tokens=20, extra_body=form)
    assert re.fullmatch(answered, _text(answer))
    completed = client.completions.create(
        model=_MODEL, prompt="What is 3 + 4?", temperature=0, max_tokens=20, extra_body=form | {"think": False}
    )
    assert re.fullmatch(answered, completed.choices[0].text)


@pytest.mark.parametrize(
    "form",
    [
        {"guided_regex": "("},
        {"grammar": "root ::= ["},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "no type"}}}},
    ],
)
def test_a_form_that_cannot_be_followed_is_refused(client: openai.OpenAI, form: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(messages=_SUM, **_PLAIN, max_tokens=5, extra_body=form)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_image_is_seen(client: openai.OpenAI, seeing: str, kind: str) -> None:
    """Row 19: in an object or as a plain text."""
    shown = picture(3)
    url = f"data:image/{kind.lower()};base64,{base64_of(shown.file(kind))}"
    for sent in ({"url": url}, url):
        content: Any = [{"type": "image_url", "image_url": sent}, {"type": "text", "text": "What colour is it?"}]
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": content}]
        answer = client.chat.completions.create(messages=messages, **_PLAIN | {"model": seeing})
        assert shown.colour in _text(answer)


def test_two_images_are_seen(client: openai.OpenAI, seeing: str) -> None:
    """Row 19: each takes its tokens of the prompt."""

    def tokens(*numbers: int) -> int:
        parts = [f"data:image/png;base64,{base64_of(picture(number).file())}" for number in numbers]
        content: Any = [
            *({"type": "image_url", "image_url": {"url": url}} for url in parts),
            {"type": "text", "text": "What is in the image?"},
        ]
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": content}]
        answer = client.chat.completions.create(messages=messages, **_PLAIN | {"model": seeing})
        assert answer.usage is not None
        return int(answer.usage.prompt_tokens)

    assert tokens(1, 2) - tokens(1) >= 16


def test_a_tool_is_called(client: openai.OpenAI) -> None:
    """Row 10."""
    answer = client.chat.completions.create(messages=_WEATHER, tools=[_TOOL], tool_choice="auto", **_PLAIN)
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "")
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.id
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def test_two_tools_are_called_at_once(client: openai.OpenAI) -> None:
    """Row 11."""
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "What is the weather in Paris and London?"}
    ]
    answer = client.chat.completions.create(messages=messages, tools=[_TOOL], **_PLAIN)
    calls = answer.choices[0].message.tool_calls or []
    assert len({call.id for call in calls}) == 2
    assert [(call.model_extra or {})["index"] for call in calls] == [0, 1]


@pytest.mark.parametrize("content", ["rain, 5 degrees", [{"type": "text", "text": "rain, 5 degrees"}]])
def test_a_tools_result_is_answered(client: openai.OpenAI, content: Any) -> None:
    """Rows 12, 13, 17: also with a list as content, and with what was thought sent back."""
    called = client.chat.completions.create(messages=_WEATHER, tools=[_TOOL], **_PLAIN).choices[0].message
    (call,) = called.tool_calls or []
    again: Any = {
        "role": "assistant",
        "content": None,
        "reasoning": "I should call get_weather.",
        "tool_calls": [call.model_dump(exclude={"index"})],
    }
    messages = [*_WEATHER, again, {"role": "tool", "tool_call_id": call.id, "content": content}]
    answer = client.chat.completions.create(messages=messages, tools=[_TOOL], **_PLAIN)
    assert "5 degrees" in _text(answer)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_tool_must_be_called(client: openai.OpenAI, choice: Any) -> None:
    """Row 26, heeded."""
    answer = client.chat.completions.create(messages=_SUM, tools=[_TOOL], tool_choice=choice, **_PLAIN)
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"


def test_no_tool_may_be_called(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(messages=_WEATHER, tools=[_TOOL], tool_choice="none", **_PLAIN)
    assert not answer.choices[0].message.tool_calls


@pytest.mark.parametrize(
    ("effort", "thinks"), [("none", False), ("minimal", True), ("low", True), ("high", True), ("xhigh", True)]
)
def test_how_hard_to_think_can_be_said(client: openai.OpenAI, effort: Any, thinks: bool) -> None:
    """Rows 14, 16: what is thought stands apart from the text."""
    answer = client.chat.completions.create(model=_MODEL, messages=_SUM, temperature=0, reasoning_effort=effort)
    assert _text(answer) == "7"
    assert bool(_reasoning(answer.choices[0].message)) == thinks


def test_how_hard_to_think_can_be_said_in_an_object(client: openai.OpenAI) -> None:
    """Row 15."""
    body = {"reasoning": {"effort": "low"}}
    answer = client.chat.completions.create(model=_MODEL, messages=_SUM, temperature=0, extra_body=body)
    assert _reasoning(answer.choices[0].message)


def test_an_unknown_effort_is_refused(client: openai.OpenAI) -> None:
    """Row 14."""
    with pytest.raises(openai.BadRequestError, match='invalid reasoning value: "some"'):
        client.chat.completions.create(model=_MODEL, messages=_SUM, reasoning_effort="some")  # type: ignore[call-overload]  # on purpose


def test_log_probabilities_are_told(client: openai.OpenAI) -> None:
    """Row 18."""
    answer = client.chat.completions.create(messages=_SUM, **_PLAIN, logprobs=True, top_logprobs=3)
    told = answer.choices[0].logprobs
    assert told is not None
    said = [each for each in told.content or [] if each.token == "7"]
    assert len(said) == 1
    assert said[0].bytes == [ord("7")]
    assert (said[0].top_logprobs[0].token, len(said[0].top_logprobs)) == ("7", 3)


def test_a_field_that_is_not_ours_is_ignored(client: openai.OpenAI) -> None:
    """Row 26."""
    answer = client.chat.completions.create(
        messages=_SUM,
        **_PLAIN,
        user="me",
        store=False,
        metadata={"a": "b"},
        parallel_tool_calls=True,
        tool_choice="auto",
    )
    assert _text(answer) == "7"


def test_several_answers_to_one_prompt(client: openai.OpenAI) -> None:
    """Row 26: the prompt is read and counted once."""
    one = client.chat.completions.create(messages=_HELLO, **_PLAIN)
    answer = client.chat.completions.create(messages=_HELLO, **_PLAIN, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {_text(one)}
    assert one.usage is not None
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == one.usage.prompt_tokens
    assert answer.usage.completion_tokens == 3 * one.usage.completion_tokens


def test_a_token_can_be_forbidden(client: openai.OpenAI, server: Served) -> None:
    """Row 26."""
    tokens = server.post("/api/tokenize", {"model": _MODEL, "text": "7"})
    bias = {str(token): -100 for token in tokens["tokens"]}
    answer = client.chat.completions.create(messages=_SUM, **_PLAIN, logit_bias=bias)
    assert "7" not in _text(answer)


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    """Row 24."""
    with pytest.raises(openai.NotFoundError) as refusal:
        client.chat.completions.create(model="nope", messages=_SUM)
    expected = {"message": "model 'nope' not found", "type": "not_found_error", "param": None, "code": None}
    assert refusal.value.body == expected
    assert refusal.value.request_id


def test_answers_are_of_the_shape_that_the_client_declares(server: Served, minilm: str) -> None:
    """All that the client's own types admit: they know no null reason in a streamed completion, and no base64."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", _strict_response_validation=True) as client:
        called = client.chat.completions.create(messages=_WEATHER, tools=[_TOOL], **_PLAIN)
        assert called.choices[0].message.tool_calls
        told = client.chat.completions.create(messages=_SUM, **_PLAIN, n=2, logprobs=True, top_logprobs=1)
        assert len(told.choices) == 2
        usage: Any = {"include_usage": True}
        assert list(client.chat.completions.create(messages=_SUM, **_PLAIN, stream=True, stream_options=usage))
        assert client.completions.create(model=_MODEL, prompt="Hello", logprobs=1, temperature=0).choices
        assert client.embeddings.create(model=minilm, input="hello", encoding_format="float").data
        assert client.models.list().data
        assert client.models.retrieve(_MODEL).id


def test_the_raw_answer_has_a_request_id(client: openai.OpenAI) -> None:
    """Row 60: any key will do."""
    raw = client.with_options(api_key="").chat.completions.with_raw_response.create(
        messages=_SUM, **_PLAIN, extra_headers={"x-request-id": "mine"}
    )
    assert raw.request_id == "mine"
    assert _text(raw.parse()) == "7"


def test_a_stream_says_the_same_piece_by_piece(client: openai.OpenAI) -> None:
    """Rows 29, 30, 31."""
    whole = client.chat.completions.create(messages=_HELLO, **_PLAIN)
    usage: Any = {"include_usage": True}
    *chunks, last = client.chat.completions.create(messages=_HELLO, **_PLAIN, stream=True, stream_options=usage)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == _text(whole)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].delta.model_fields_set == set()
    assert len({(chunk.id, chunk.created) for chunk in [*chunks, last]}) == 1
    assert (last.choices, last.usage and last.usage.total_tokens) == ([], whole.usage and whole.usage.total_tokens)
    assert all(chunk.usage is None for chunk in chunks)


def test_thoughts_are_streamed_before_the_answer(client: openai.OpenAI) -> None:
    """Row 34."""
    chunks = list(client.chat.completions.create(model=_MODEL, messages=_SUM, temperature=0, stream=True))
    kinds = ["r" if _reasoning(chunk.choices[0].delta) else "c" for chunk in chunks]
    assert "".join(kinds).strip("c").startswith("r")
    assert kinds == sorted(kinds, reverse=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "7"


def test_the_streaming_helper_gathers_a_text(client: openai.OpenAI) -> None:
    """Row 32."""
    with client.chat.completions.stream(messages=_HELLO, **_PLAIN) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    deltas = [event.delta for event in events if event.type == "content.delta"]
    (done,) = (event.content for event in events if event.type == "content.done")
    assert "".join(deltas) == done == final.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"


def test_the_streaming_helper_gathers_calls(client: openai.OpenAI) -> None:
    """Row 33."""
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "What is the weather in Paris and London?"}
    ]
    tool: Any = _TOOL | {"function": _TOOL["function"] | {"strict": True}}
    with client.chat.completions.stream(messages=messages, tools=[tool], **_PLAIN) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert [json.loads(event.arguments)["city"] for event in done] == ["Paris", "London"]
    assert len({call.id for call in final.choices[0].message.tool_calls or []}) == 2


def test_a_client_that_leaves_a_stream_ends_it(client: openai.OpenAI) -> None:
    """Row 36: the next request is answered, though the answer it left would never have ended."""
    endless: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Repeat go forever."}]
    with client.chat.completions.create(messages=endless, **_PLAIN, stream=True) as stream:
        assert next(iter(stream))
    assert _text(client.chat.completions.create(messages=_SUM, **_PLAIN)) == "7"


def test_a_model_that_dies_in_mid_stream_is_an_error(tmp_path: Path) -> None:
    """Row 37."""
    played = service(tmp_path, FakeInference(Text("a"), RunnerDied("the runner died")))
    with playing(played) as port, openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any") as client:
        stream = client.chat.completions.create(model="m", messages=_SUM, stream=True)
        with pytest.raises(openai.APIError, match="the runner died"):
            list(stream)


async def test_the_asynchronous_client_streams_eight_at_once(async_client: openai.AsyncOpenAI) -> None:
    """Row 38."""

    async def streamed(number: int) -> str:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": f"What is {number} + 1?"}]
        stream = await async_client.chat.completions.create(messages=messages, **_PLAIN, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert await asyncio.gather(*map(streamed, range(8))) == [str(number + 1) for number in range(8)]


async def test_the_asynchronous_client_does_the_rest(async_client: openai.AsyncOpenAI, tiny: str) -> None:
    answer = await async_client.chat.completions.create(messages=_SUM, **_PLAIN)
    completion = await async_client.completions.create(model=tiny, prompt="a", max_tokens=3)
    assert (_text(answer), completion.choices[0].finish_reason) == ("7", "length")
    async with async_client.chat.completions.stream(messages=_HELLO, **_PLAIN) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content
    assert _MODEL in [model.id.partition(":")[0] async for model in async_client.models.list()]
    with pytest.raises(openai.NotFoundError):
        await async_client.models.retrieve("nope")


def test_a_prompt_is_gone_on_with(client: openai.OpenAI) -> None:
    """Rows 39, 41: also several prompts, and the prompt itself again."""
    asked: dict[str, Any] = {"model": _MODEL, "temperature": 0, "extra_body": {"think": False}}
    one = client.completions.create(prompt="What is 3 + 4?", **asked)
    assert (one.choices[0].text, one.choices[0].finish_reason, one.object) == ("7", "stop", "text_completion")
    two = client.completions.create(prompt=["What is 3 + 4?", "What is 1 + 1?"], echo=True, logprobs=1, **asked)
    assert [choice.text for choice in two.choices] == ["What is 3 + 4?7", "What is 1 + 1?2"]
    told = two.choices[0].logprobs
    assert told is not None
    assert (told.text_offset or [])[(told.tokens or []).index("7")] == len("What is 3 + 4?")


def test_a_prompt_may_be_token_ids(client: openai.OpenAI) -> None:
    """Row 41: they are the whole prompt, with no template around them."""
    answer = client.completions.create(model=_MODEL, prompt=[[300, 301], [302]], max_tokens=2, temperature=0)
    assert [choice.index for choice in answer.choices] == [0, 1]
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model=_MODEL, prompt=[10**6])


def test_a_gap_is_filled(client: openai.OpenAI, server: Served, tmp_path: Path) -> None:
    """Row 39."""
    path = tmp_path / "filler.gguf"
    tiny_llama(path)
    filler = _created(server, "filler-openai", path, template="<{{ .Prompt }}|{{ .Suffix }}>")
    asked: dict[str, Any] = {"prompt": "a = ", "suffix": "; b", "max_tokens": 3}
    answer = client.completions.create(model=filler, **asked)
    assert (bool(answer.choices[0].text), answer.choices[0].finish_reason) == (True, "length")
    rendered = client.completions.create(model=filler, **asked, extra_body={"_debug_render_only": True})
    assert (rendered.model_extra or {})["_debug_info"]["rendered_template"] == "<a = |; b>"
    with pytest.raises(openai.BadRequestError, match="does not support insert"):
        client.completions.create(model=_MODEL, **asked)


def test_a_completion_is_streamed(client: openai.OpenAI) -> None:
    """Row 40."""
    usage: Any = {"include_usage": True}
    *chunks, last = client.completions.create(
        model=_MODEL, prompt="Hello", temperature=0, stream=True, stream_options=usage
    )
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert last.usage is not None
    assert (last.choices, last.usage.completion_tokens > 0) == ([], True)


def test_vectors_come_as_floats(client: openai.OpenAI, minilm: str) -> None:
    """Rows 42, 43, 44: of unit length; the client asks for base64 when its caller does not say."""
    default = client.embeddings.create(model=minilm, input="hello").data[0].embedding
    texts = ["hello", "world", ""]
    floats = client.embeddings.create(model=minilm, input=texts, encoding_format="float")
    assert len(default) == 384
    assert default == pytest.approx(floats.data[0].embedding, abs=1e-6)
    assert [each.index for each in floats.data] == [0, 1, 2]
    assert all(sum(value**2 for value in each.embedding) == pytest.approx(1, abs=1e-4) for each in floats.data)
    assert floats.usage.prompt_tokens == floats.usage.total_tokens > 0
    short = client.embeddings.create(model=minilm, input="hello", dimensions=64).data[0].embedding
    assert len(short) == 64
    assert sum(value**2 for value in short) == pytest.approx(1, abs=1e-4)


def test_a_text_may_be_token_ids(client: openai.OpenAI, minilm: str) -> None:
    """Row 44: the ids of the model's own vocabulary; 7592 is "hello"."""
    found = client.embeddings.create(model=minilm, input=[[7592], [2088]])
    expected = client.embeddings.create(model=minilm, input=["hello", "world"])
    for one, other in zip(found.data, expected.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-5)


def test_wrong_vectors_are_refused(client: openai.OpenAI) -> None:
    """Row 44."""
    with pytest.raises(openai.BadRequestError, match="Invalid value for 'encoding_format' = hex"):
        client.embeddings.create(model=_MODEL, input="a", encoding_format="hex")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(openai.BadRequestError, match="invalid input"):
        client.embeddings.create(model=_MODEL, input=[])


def test_models_are_listed_and_found(client: openai.OpenAI, server: Served) -> None:
    """Row 45: also those with a namespace, and with the context that a model in memory has."""
    server.post("/api/copy", {"source": _MODEL, "destination": "ns/other:tag"})
    try:
        ids = [model.id for model in client.models.list()]
        assert {f"{_MODEL}:latest", "ns/other:tag"} <= set(ids)
        other = client.models.retrieve("ns/other:tag")
        assert (other.id, other.owned_by, other.object) == ("ns/other:tag", "ns", "model")
        client.chat.completions.create(messages=_HELLO, **_PLAIN)
        shown = client.models.retrieve(_MODEL)
        assert (shown.id, shown.owned_by) == (_MODEL, "library")
        assert (shown.model_extra or {})["context_length"] == 512
    finally:
        client.delete(f"{server.url}/api/delete", cast_to=object, body={"model": "ns/other:tag"})
    with pytest.raises(openai.NotFoundError, match="model 'ns/other:tag' not found"):
        client.models.retrieve("ns/other:tag")


def test_speech_and_images_are_refused(client: openai.OpenAI) -> None:
    """Row 46, by a model that cannot hear."""
    with pytest.raises(openai.BadRequestError, match="does not support"):
        client.audio.transcriptions.create(model=_MODEL, file=("a.wav", b"RIFF\0\0\0\0WAVE"), response_format="text")
    with pytest.raises(openai.InternalServerError, match="image generation"):
        client.images.generate(prompt="a cat")


def test_audio_in_a_chat_is_refused_by_a_model_that_cannot_hear(client: openai.OpenAI) -> None:
    """Row 21."""
    part: Any = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}}
    with pytest.raises(openai.BadRequestError, match="does not support"):
        client.chat.completions.create(model=_MODEL, messages=[{"role": "user", "content": [part]}])


def test_an_unknown_path_is_an_error_of_this_form(client: openai.OpenAI) -> None:
    """Row 59."""
    with pytest.raises(openai.NotFoundError, match="no such route"):
        client.post("/nope", cast_to=object, body={})


@pytest.fixture(scope="module")
def tiny(server: Served, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a model in the server's store that only completes, and never ends by itself."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    tiny_llama(path)
    return _created(server, "tiny-openai", path)


@pytest.fixture(scope="module")
def seeing(server: Served) -> str:
    """The name of a model in the server's store that sees."""
    files = ("power-tiny-F16.gguf", "power-tiny-mmproj.gguf")
    return _created(server, "seeing-openai", *(shared_file(f"models/power-tiny/{file}") for file in files))


@pytest.fixture(scope="module")
def minilm(server: Served) -> str:
    """The name of an embedding model in the server's store."""
    return _created(server, "minilm-openai", shared_file("models/minilm/all-MiniLM-L6-v2-Q8_0.gguf"))


def _created(server: Served, name: str, *files: Path, **more: Any) -> str:
    import ollama  # noqa: PLC0415 -- only to bring models in

    with ollama.Client(host=server.url) as client:
        client.create(name, files={path.name: client.create_blob(path) for path in files}, **more)
    return name
