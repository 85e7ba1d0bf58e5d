"""Answers of a real engine that must have a form: schemas, choices, patterns, grammars, and calls of tools."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from a3s_power.core.errors import BadRequest, EngineRefused
from a3s_power.core.events import Done, Event, Text, Thinking, ToolCalls
from a3s_power.core.messages import Message, Tool, ToolCall, ToolChoice
from a3s_power.core.options import DEFAULTS, Options
from a3s_power.runner.frames import Run
from a3s_power.runner.process import RunnerProcess
from tests.models import tiny_llama
from tests.runners import events, loaded
from tests.schemas import SCHEMAS, thing

pytestmark = pytest.mark.anyio

PERSON = thing({"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0}}, "name", "age")
WEATHER = Tool(
    name="get_weather",
    parameters=thing({"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["C", "F"]}}, "city"),
)
TIME = Tool(name="get_time", parameters=thing({}))
_TOKENS = 250


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with loaded("llamacpp", tmp_path, context_length=1024) as loaded_runner:
        yield loaded_runner


def asked(text: str, *, seed: int = 0, temperature: float = 1.0, tokens: int = _TOKENS, **run: Any) -> Run:
    """A question, answered by chance."""
    options = Options.merged(DEFAULTS, Options(temperature=temperature, num_predict=tokens, seed=seed))
    return Run(messages=(Message(role="user", content=text),), options=options, **({"think": False} | run))


def text_of(said: list[Event], kind: type[Text | Thinking] = Text) -> str:
    return "".join(event.text for event in said if isinstance(event, kind))


def calls_of(said: list[Event]) -> list[ToolCall]:
    return [call for event in said if isinstance(event, ToolCalls) for call in event.calls]


async def valid_answers(runner: RunnerProcess, **run: Any) -> int:
    """How many of all schemas were answered to the end; each of those answers must be valid."""
    ended = 0
    for seed, (name, schema) in enumerate(SCHEMAS.items()):
        said = await events(runner, asked("Tell me something.", seed=seed, format=schema, **run))
        done = said[-1]
        assert isinstance(done, Done)
        if done.reason == "stop":
            jsonschema_rs.validate(schema, json.loads(text_of(said)))
            ended += 1
        else:
            assert done.usage.output_tokens >= run.get("tokens", _TOKENS), name
    return ended


async def test_every_schema_is_fulfilled(runner: RunnerProcess) -> None:
    assert await valid_answers(runner) > 0.9 * len(SCHEMAS)


async def test_every_schema_is_fulfilled_by_a_model_whose_vocabulary_puts_a_blank_first(tmp_path: Path) -> None:
    weights = tmp_path / "tiny.gguf"
    tiny_llama(weights, key_values={"tokenizer.ggml.add_space_prefix": True})
    async with loaded("llamacpp", tmp_path, weights) as runner:
        assert await valid_answers(runner, tokens=100) > 0.6 * len(SCHEMAS)


async def test_a_form_begins_behind_thinking(runner: RunnerProcess) -> None:
    said = await events(runner, asked("What is 2 + 3?", format=PERSON, think=True, temperature=0.0))
    assert "2 + 3" in text_of(said, Thinking)
    jsonschema_rs.validate(PERSON, json.loads(text_of(said)))
    kinds = [type(event) for event in said]
    assert kinds.index(Text) > max(at for at, kind in enumerate(kinds) if kind is Thinking)


async def test_json_is_an_object(runner: RunnerProcess) -> None:
    said = await events(runner, asked("Tell me about Canada. Respond in JSON.", format="json", temperature=0.0))
    assert json.loads(text_of(said))["capital"] == "Ottawa"


async def test_a_form_that_the_tokens_do_not_suffice_for_is_cut_and_no_error(runner: RunnerProcess) -> None:
    said = await events(runner, asked("Who are you?", format=PERSON, tokens=5))
    done = said[-1]
    assert isinstance(done, Done)
    assert done.reason == "length"


@pytest.mark.parametrize(
    ("form", "answers"),
    [
        ({"choices": ("four", "five", 'si"x\\')}, {"four", "five", 'si"x\\'}),
        ({"pattern": "(ab|ba){2}"}, {"abab", "abba", "baab", "baba"}),
        ({"grammar": 'root ::= "yes" |\n  no # or\nno ::= [n] "o"'}, {"yes", "no"}),
    ],
)
async def test_an_answer_is_one_that_is_allowed(runner: RunnerProcess, form: Any, answers: set[str]) -> None:
    for seed in range(4):
        assert text_of(await events(runner, asked("What is 2 + 3?", seed=seed, **form))) in answers


async def test_a_raw_prompt_can_have_a_form(runner: RunnerProcess) -> None:
    raw = Run(text="Once upon a time", options=Options.merged(DEFAULTS, Options(num_predict=50)), choices=("a", "b"))
    assert text_of(await events(runner, raw)) in {"a", "b"}


async def test_a_grammar_that_the_engine_refuses_is_refused_with_its_reason(runner: RunnerProcess) -> None:
    with pytest.raises(EngineRefused, match="failed to parse grammar"):
        await events(runner, asked("Hello", grammar="root ::= a\na ::= b? a\nb ::= [x]"))


async def test_a_schema_that_cannot_be_enforced_is_refused(runner: RunnerProcess) -> None:
    with pytest.raises(BadRequest, match=r'"not" at \$\.properties\.a'):
        await events(runner, asked("Hello", format=thing({"a": {"not": {}}})))


async def test_a_tool_that_must_be_called_is_called_in_100_of_100(runner: RunnerProcess) -> None:
    schemas = {WEATHER.name: WEATHER.parameters, TIME.name: TIME.parameters}
    for seed in range(100):
        question = ("Hello", "What is 2 + 3?", "Tell me a joke.", "Weather in Oslo?")[seed % 4]
        run = asked(question, seed=seed, think=seed % 5 == 0, tools=(WEATHER, TIME), tool_choice=ToolChoice("required"))
        said = await events(runner, run)
        calls = calls_of(said)
        assert calls, said
        assert text_of(said) == ""
        for call in calls:
            jsonschema_rs.validate(schemas[call.name], call.arguments)


async def test_a_tool_that_is_named_is_the_one_that_is_called(runner: RunnerProcess) -> None:
    for seed in range(5):
        choice = ToolChoice("required", "get_time")
        run = asked("Weather in Oslo?", seed=seed, tools=(WEATHER, TIME), tool_choice=choice, parallel_tool_calls=False)
        assert [call.name for call in calls_of(await events(runner, run))] == ["get_time"]


async def test_without_parallel_calls_there_is_one(runner: RunnerProcess) -> None:
    question = "What is the weather in Paris and in Rome?"
    tools = (WEATHER, TIME)
    for choice in (ToolChoice(), ToolChoice("required")):
        run = asked(question, temperature=0.0, tools=tools, tool_choice=choice, parallel_tool_calls=False)
        assert len(calls_of(await events(runner, run))) <= 1


async def test_an_answer_with_a_form_may_be_a_call_instead(runner: RunnerProcess) -> None:
    for seed in range(8):
        said = await events(runner, asked("Weather in Oslo?", seed=seed, tools=(WEATHER, TIME), format=PERSON))
        if not calls_of(said):
            jsonschema_rs.validate(PERSON, json.loads(text_of(said)))
