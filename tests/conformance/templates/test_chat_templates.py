"""Chat templates in the styles that published models use, and the built-in model's own: the prompt, to the byte."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from a3s_power.core.errors import BadTemplate
from a3s_power.core.events import Text, Thinking, ToolCalls
from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from a3s_power.output.parser import OutputParser
from a3s_power.prompt.jinja import JinjaTemplate
from a3s_power.prompt.readings import READINGS
from a3s_power.prompt.render import Prompter
from tests.shared import BUILTIN_MODEL

GOLDEN: Final = Path(__file__).with_name("golden")
STYLES: Final = sorted(path.stem for path in GOLDEN.glob("*.jinja") if path.with_suffix(".txt").exists())
CASES: Final = {case["name"]: case for case in json.loads((GOLDEN / "power-tiny.json").read_text(encoding="utf-8"))}
NOW: Final = datetime(2026, 1, 5, tzinfo=UTC)

TURNS: Final = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Hello"),
    Message(role="assistant", content="Hi!"),
    Message(role="user", content="How are you?"),
)
CALL: Final = ToolCall(name="get_weather", arguments={"city": "Oslo"}, id="call_1")
TOOL_TURNS: Final = (
    TURNS[0],
    Message(role="user", content="Weather in Oslo?"),
    Message(role="assistant", thinking="They ask about Oslo.", tool_calls=(CALL,)),
    Message(role="tool", content="rain", tool_name="get_weather", tool_call_id="call_1"),
)
WEATHER: Final = Tool(
    name="get_weather",
    description="Weather of a city <now>",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string", "default": "Köln"}},
        "required": ["city"],
    },
)


def source(style: str) -> str:
    return (GOLDEN / f"{style}.jinja").read_text(encoding="utf-8")


def expected(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def prompter(style: str) -> Prompter:
    return Prompter(source(style), bos="<s>", eos="</s>", now=lambda: NOW)


@pytest.fixture(scope="module")
def built_in() -> Prompter:
    """The template inside the model that ships with the program."""
    return Prompter(facts(read_header(BUILTIN_MODEL)).chat_template)


def messages(case: dict[str, Any]) -> list[Message]:
    return [
        Message(
            role=turn["role"],
            content=turn["content"],
            tool_calls=tuple(
                ToolCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
                for call in turn.get("tool_calls", ())
            ),
            tool_name=turn.get("name", ""),
            tool_call_id=turn.get("tool_call_id", ""),
        )
        for turn in case["messages"]
    ]


def tools(case: dict[str, Any]) -> list[Tool]:
    return [Tool(**tool["function"]) for tool in case["tools"] or ()]


@pytest.mark.parametrize("name", CASES)
def test_the_built_in_model_gets_the_prompt_it_was_trained_on(built_in: Prompter, name: str) -> None:
    case = CASES[name]
    prompt = built_in.render(messages(case), tools=tools(case), think=case["enable_thinking"])
    assert prompt.text == case["prompt"]


@pytest.mark.parametrize("name", CASES)
def test_what_the_built_in_model_answers_is_read_as_it_was_meant(built_in: Prompter, name: str) -> None:
    case = CASES[name]
    prompt = built_in.render(messages(case), tools=tools(case), think=case["enable_thinking"])
    offered = [tool.name for tool in tools(case)]
    parser = OutputParser(thinking=prompt.thinking, opened=prompt.opened, tool_tag=prompt.tool_tag, tools=offered)
    events = [*parser.feed(case["answer"]), *parser.close()]
    calls = [call for event in events if isinstance(event, ToolCalls) for call in event.calls]
    assert "".join(event.text for event in events if isinstance(event, Text)) == case["message"]["content"]
    thought = "".join(event.text for event in events if isinstance(event, Thinking))
    assert thought == case["message"].get("reasoning_content", "")
    assert [(call.name, call.arguments) for call in calls] == [
        (call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in case["message"].get("tool_calls", ())
    ]


@pytest.mark.parametrize("style", STYLES)
def test_a_conversation_in_each_style(style: str) -> None:
    assert prompter(style).render(TURNS).text == expected(style)


@pytest.mark.parametrize("style", ["qwen3", "deepseek"])
def test_calls_and_results_of_tools(style: str) -> None:
    assert prompter(style).render(TOOL_TURNS, tools=[WEATHER]).text == expected(f"{style}.tools")


@pytest.mark.parametrize(
    ("think", "ending"),
    [
        (None, "assistant\n"),
        (True, "assistant\n"),
        ("low", "assistant\n"),
        (False, "assistant\n<think>\n\n</think>\n\n"),
    ],
)
def test_thinking_is_on_unless_it_is_turned_off(think: Any, ending: str) -> None:
    assert prompter("qwen3").render(TURNS, think=think).text.endswith(f"<|im_start|>{ending}")


@pytest.mark.parametrize(
    ("style", "thinking", "opened", "tool_tag", "visible"),
    [
        ("chatml", None, False, "{", ()),
        (
            "qwen3",
            ("<think>", "</think>"),
            False,
            "<tool_call>",
            ("<think>", "</think>", "<tool_call>", "</tool_call>"),
        ),
        (
            "deepseek",
            ("<think>", "</think>"),
            True,
            "<｜tool▁calls▁begin｜>",
            READINGS["deepseek3"].shown,
        ),
    ],
)
def test_how_the_answer_is_to_be_read(
    style: str, thinking: tuple[str, str] | None, opened: bool, tool_tag: str, visible: tuple[str, ...]
) -> None:
    prompt = prompter(style).render(TURNS, tools=[WEATHER])
    assert (prompt.thinking, prompt.opened, prompt.tool_tag) == (thinking, opened, tool_tag)
    assert sorted(prompt.visible) == sorted(visible)


def test_a_template_that_wants_turns_to_alternate_says_so_in_its_own_words() -> None:
    with pytest.raises(BadTemplate, match=r"^roles must alternate: user, assistant, user, assistant$"):
        prompter("mistral").render([TURNS[1], TURNS[1]])


class AssistantMarks(Extension):
    """What Transformers makes of `generation` blocks while nothing is tracked: their content."""

    tags = {"generation"}  # noqa: RUF012 -- as Extension declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def as_transformers_does(template: str, values: dict[str, Any]) -> str:
    """Rendered by an environment set up as Transformers documents it, with nothing of ours."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[AssistantMarks, loopcontrols]
    )

    environment.filters["tojson"] = lambda x, **how: json.dumps(x, **{"ensure_ascii": False, **how})
    environment.globals["strftime_now"] = NOW.strftime
    return environment.from_string(template).render(values)


VALUES: Final[dict[str, Any]] = {
    "messages": [
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "Hé\nllo"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": [True, None]}}}],
        },
        {"role": "tool", "content": "42", "name": "f"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"properties": {"b": {"type": ["a", "b"]}}}}}
    ],
    "bos_token": "<s>",
    "add_generation_prompt": True,
}

IDIOMS: Final = (GOLDEN / "idioms.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n----\n")


@pytest.mark.parametrize("template", IDIOMS)
def test_every_idiom_gives_what_transformers_gives(template: str) -> None:
    assert JinjaTemplate(template, now=lambda: NOW).render(VALUES) == as_transformers_does(template, VALUES)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_gives_what_transformers_gives(style: str) -> None:
    values = {**VALUES, "messages": VALUES["messages"][:2], "eos_token": "</s>"}
    assert JinjaTemplate(source(style), now=lambda: NOW).render(values) == as_transformers_does(source(style), values)
