"""Laws of the output parsers: what they say does not depend on how the text was cut, and nothing slows them down."""

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a3s_power.core.events import Text, Thinking, ToolCalls
from a3s_power.core.messages import Tool, ToolCall
from a3s_power.output.families import PARSERS, Prompted
from a3s_power.output.parser import OutputParser
from a3s_power.prompt.readings import READINGS

TAGS: Final = ("<think>", "</think>")
KINDS: Final = ("Thinking", "Text")
CALL: Final = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
FRAGMENTS: Final = (
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]", CALL, f"[{CALL}]", "get", "get_weather"),
    *('{"get": {}}', '{"x": [1]}', "{", "}", "[", "]", '"', "\\", '\\"', "\n", "  ", "a", "<", "</", "é", "🙂"),
)
written = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join)
cuts = st.lists(st.integers(0, 8), max_size=60)
parsers = st.fixed_dictionaries(
    {
        "thinking": st.sampled_from([None, TAGS]),
        "opened": st.booleans(),
        "tool_tag": st.sampled_from(["", "<tool_call>", "[TOOL_CALLS]", "[TOOL_CALLS][", "{", "["]),
        "tools": st.sampled_from([("get_weather", "get"), ()]),
    }
)


def pieces(text: str, sizes: Iterable[int]) -> list[str]:
    """The text in pieces of these sizes, the rest in one."""
    found, at = [], 0
    for size in sizes:
        found.append(text[at : at + size])
        at += size
    return [*found, text[at:]]


def said(parser: OutputParser, texts: Iterable[str]) -> list[tuple[str, str] | ToolCall]:
    """What the events say, neighbours of one kind put together."""
    events = [event for text in texts for event in parser.feed(text)]
    parts: list[tuple[str, str] | ToolCall] = []
    for event in [*events, *parser.close()]:
        match event, parts:
            case ToolCalls(calls), _:
                parts += calls
            case Text(text) | Thinking(text), [*_, (kind, before)] if kind == type(event).__name__:
                parts[-1] = (kind, before + text)
            case Text(text) | Thinking(text), _:
                parts.append((type(event).__name__, text))
    return parts


def parser(**settings: object) -> OutputParser:
    ids = itertools.count()
    return OutputParser(**settings, new_id=lambda: f"call_{next(ids)}")  # type: ignore[arg-type] # made by hypothesis


@given(written, cuts, parsers)
def test_what_is_said_does_not_depend_on_the_cutting(text: str, sizes: list[int], settings: dict[str, object]) -> None:
    assert said(parser(**settings), pieces(text, sizes)) == said(parser(**settings), [text])


@given(written, cuts)
def test_an_answer_with_nothing_to_find_passes_unchanged(text: str, sizes: list[int]) -> None:
    assert said(parser(), pieces(text, sizes)) == ([("Text", text)] if text else [])


@given(written, st.sampled_from(["<tool_call>", "[TOOL_CALLS]", "{", "["]))
def test_an_answer_without_calls_is_text_to_the_last_sign(text: str, tag: str) -> None:
    parts = said(parser(tool_tag=tag, tools=("get_weather", "get")), [text])
    if not any(isinstance(part, ToolCall) for part in parts):
        assert parts == ([("Text", text)] if text else [])


@given(written, st.booleans())
def test_of_an_answer_with_thinking_only_tags_and_blanks_are_left_out(text: str, opened: bool) -> None:
    parts = [part for part in said(parser(thinking=TAGS, opened=opened), [text]) if isinstance(part, tuple)]
    thought, answer = ("".join("".join(part[1].split()) for part in parts if part[0] == kind) for kind in KINDS)
    marks = itertools.product(("", TAGS[0]), ("", TAGS[1]))
    assert "".join(text.split()) in {f"{opening}{thought}{closing}{answer}" for opening, closing in marks}


MARKS: Final = sorted({mark for reading in READINGS.values() for mark in (*reading.shown, *(reading.thinking or ()))})
PIECES: Final = (
    *MARKS,
    *(
        "get(",
        "get_weather(city='Oslo', n=1)",
        "[get_weather(",
        ")]",
        "<function=get>",
        "<parameter=city>",
        "call:get{",
    ),
    *(
        "get_weather<｜tool▁sep｜>{}",
        "get[ARGS]{}",
        CALL,
        '{"tool_name": "get", "parameters": {}}',
        "to=get",
        "to=self",
    ),
    *(
        "analysis",
        "final",
        "commentary to=functions.get",
        "assistant",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "\n",
        "  ",
        "a",
        "<",
    ),
)
in_families = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
askings = st.fixed_dictionaries(
    {
        "opened": st.booleans(),
        "think": st.booleans(),
        "begun": st.sampled_from(["", "<|start|>assistant", "<|start|>assistant<|channel|>final<|message|>"]),
        "tools": st.sampled_from([(Tool(name="get_weather"), Tool(name="get")), ()]),
    }
)


def family(name: str, asked: dict[str, Any]) -> OutputParser:
    return parser(family=PARSERS[name](Prompted(**asked)))


@given(st.sampled_from(sorted(PARSERS)), in_families, cuts, askings)
@settings(max_examples=400)
def test_what_a_family_says_does_not_depend_on_the_cutting(
    name: str, text: str, sizes: list[int], asked: dict[str, Any]
) -> None:
    assert said(family(name, asked), pieces(text, sizes)) == said(family(name, asked), [text])


@given(st.sampled_from(sorted(PARSERS)), st.text(alphabet="ab .\n{}\"'", max_size=40), cuts)
def test_plain_answers_pass_through_every_family(name: str, text: str, sizes: list[int]) -> None:
    asked = {"tools": (Tool(name="get"),), "begun": "<|start|>assistant<|channel|>final<|message|>"}
    assert said(family(name, asked), pieces(text, sizes)) == ([("Text", text)] if text else [])


HOSTILE: Final[dict[str, Callable[[int], list[str]]]] = {
    "escapes without end": lambda size: ["<tool_call>", '{"a":"', *['\\"'] * size],
    "parentheses": lambda size: ["<tool_call>", *["("] * size],
    "half-open tags": lambda size: ["<tool_cal"] * size,
    "open tags": lambda size: ["<tool_call>"] * size,
    "braces": lambda size: ["<tool_call>", *["{"] * size],
    "braces that close": lambda size: ["<tool_call>", *["{"] * size, *["}"] * size],
    "objects that are no calls": lambda size: ["<tool_call>", *["{}"] * (size // 4)],
    "objects in one piece": lambda size: ["<tool_call>" + "{}" * (size // 4)],
    "beginnings of names": lambda size: ["<tool_call>", *["get_weathe"] * size],
    "blanks": lambda size: [" "] * size,
    "thinking without end": lambda size: ["<think>", *["</thin"] * size],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_the_cost_of_a_piece_does_not_grow_with_what_came_before(name: str) -> None:
    def seconds(size: int) -> float:
        texts, reader = HOSTILE[name](size), parser(thinking=TAGS, tool_tag="<tool_call>", tools=("get_weather",))
        started = time.thread_time()
        for text in texts:
            reader.feed(text)
        reader.close()
        return time.thread_time() - started

    once = min(seconds(10_000) for _ in range(3))
    # Eight times the text in the square of that would be 64 times the time.
    assert min(seconds(80_000) for _ in range(3)) < 24 * once + 0.05


FLOODS: Final = {
    "blanks": " ",
    "words": "word ",
    "beginnings of marks": "<tool_cal",
    "open marks": "<tool_call>",
    "half a bar": "<|",
    "lists": "[get_weather(",
    "braces": "{",
    "starts": "<|start|>",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3-thinking", "lfm2", "ministral", "harmony"])
@pytest.mark.parametrize("flood", FLOODS)
def test_no_flood_makes_a_family_slow(name: str, flood: str) -> None:
    def seconds(size: int) -> float:
        reader = family(name, {"tools": (Tool(name="get_weather"),)})
        started = time.thread_time()
        for _ in range(size):
            reader.feed(FLOODS[flood])
        reader.close()
        return time.thread_time() - started

    once = min(seconds(2_000) for _ in range(3))
    assert min(seconds(16_000) for _ in range(2)) < 24 * once + 0.05
