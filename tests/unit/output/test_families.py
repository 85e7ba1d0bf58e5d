"""Named families: what they write, read as they mean it, with what is wrong left in the text."""

import itertools
import re
from typing import Any, Final

import pytest

from a3s_power.core.events import Text, Thinking, ToolCalls
from a3s_power.core.messages import Tool
from a3s_power.output.families import PARSERS, Prompted
from a3s_power.output.parser import OutputParser
from a3s_power.prompt.readings import READINGS

TOOLS: Final = (
    Tool(
        name="get_weather",
        parameters={
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "exact": {"type": "boolean"},
                "limits": {"type": "array"},
                "more": {"anyOf": [{"type": "object"}, {"type": "number"}]},
            },
            "required": ["city"],
        },
    ),
    Tool(name="get_time"),
    Tool(name="read"),
)
OSLO: Final = ("get_weather", {"city": "Oslo"})
NOON: Final[tuple[str, dict[str, Any]]] = ("get_time", {})

Part = tuple[str, Any]


def read(family: str, *pieces: str, tools: tuple[Tool, ...] = TOOLS, **asked: Any) -> list[Part]:
    """What is said: thoughts, texts, and calls with their arguments."""
    ids = itertools.count()
    reader = PARSERS[family](Prompted(tools=tools, **asked))
    parser = OutputParser(family=reader, new_id=lambda: f"call_{next(ids)}")
    said: list[Part] = []
    for event in [*(event for piece in pieces for event in parser.feed(piece)), *parser.close()]:
        match event:
            case ToolCalls(calls):
                said += [(call.name, call.arguments) for call in calls]
            case Text(text) | Thinking(text):
                kind = "text" if isinstance(event, Text) else "thought"
                if said and said[-1][0] == kind:
                    said[-1] = (kind, said[-1][1] + text)
                else:
                    said.append((kind, text))
    return said


def both(family: str, text: str, **asked: Any) -> list[Part]:
    """As `read`, whole and sign by sign."""
    whole = read(family, text, **asked)
    assert read(family, *text, **asked) == whole
    return whole


CALLS: Final = {
    "cogito": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Oslo"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_time\n'
        "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "deepseek3": (
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city":"Oslo"}<｜tool▁call▁end｜>'
        "<｜tool▁call▁begin｜>get_time<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "qwen3": (
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'
    ),
    "qwen3-coder": (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>\n"
        "<tool_call>\n<function=get_time>\n</function>\n</tool_call>"
    ),
    "ministral": '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]get_time[ARGS]{}',
    "olmo3": '<function_calls>get_weather(city="Oslo")\nget_time()</function_calls>',
    "functiongemma": (
        "<start_function_call>call:get_weather{city:<escape>Oslo<escape>}<end_function_call>"
        "<start_function_call>call:get_time{}<end_function_call>"
    ),
    "gemma4": '<|tool_call>call:get_weather{city:<|"|>Oslo<|"|>}<tool_call|><|tool_call>call:get_time{}<tool_call|>',
    "glm-4.7": (
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>"
        "<tool_call>get_time</tool_call>"
    ),
    "laguna": (
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value></tool_call>\n"
        '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>'
    ),
    "lfm2": "<|tool_call_start|>[get_weather(city='Oslo'), get_time()]<|tool_call_end|>",
    "seed-oss": (
        "<seed:tool_call>\n<function=get_weather>\n<parameter=city>Oslo</parameter>\n</function>\n</seed:tool_call>"
        "<seed:tool_call><function=get_time></function></seed:tool_call>"
    ),
    "pythonic": "<|python_start|>[get_weather(city='Oslo'), get_time()]<|python_end|>",
    "cohere": (
        '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", "parameters": {"city": "Oslo"}},'
        '{"tool_call_id": "1", "tool_name": "get_time", "parameters": {}}]<|END_ACTION|>'
    ),
    "harmony": (
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
        '{"city": "Oslo"}<|call|><|start|>assistant<|channel|>commentary to=functions.get_time<|message|>{}<|call|>'
    ),
    "glimmer": (
        ' to=get_weather<|message|><atem:function_calls><atem:invoke name="get_weather"><atem:parameter name="city">'
        "Oslo</atem:parameter></atem:invoke></atem:function_calls><|eom|><|start|>assistant to=get_time<|message|>"
        '<atem:function_calls><atem:invoke name="get_time"></atem:invoke></atem:function_calls><|eot|>'
    ),
}
ALIKE: Final = {
    "gemma4-no-thinking": "gemma4",
    "glm-ocr": "glm-4.7",
    "lfm2-thinking": "lfm2",
    "nemotron-3-nano": "qwen3-coder",
    "nemotron-3.5-nano": "qwen3-coder",
    "ornith": "qwen3-coder",
    "poolside-v1": "laguna",
    "qwen3-thinking": "qwen3",
    "qwen3-vl-instruct": "qwen3",
    "qwen3-vl-thinking": "qwen3",
    "qwen3.5": "qwen3-coder",
}
NO_CALLS: Final = {"passthrough", "olmo3-think"}


def test_the_tables_of_prompts_and_of_answers_know_the_same_names() -> None:
    assert set(PARSERS) == set(READINGS) == {*CALLS, *ALIKE, *NO_CALLS}


@pytest.mark.parametrize("family", sorted({*CALLS, *ALIKE}))
def test_every_family_calls_tools(family: str) -> None:
    assert both(family, CALLS[ALIKE.get(family, family)]) == [OSLO, NOON]


@pytest.mark.parametrize("family", sorted({*CALLS, *ALIKE} - {"harmony", "glimmer"}))
def test_a_call_comes_out_before_the_answer_ends(family: str) -> None:
    text = CALLS[ALIKE.get(family, family)]
    reader = PARSERS[family](Prompted(tools=TOOLS))
    early = [part for sign in text for part in reader.feed(sign)]
    assert early == [OSLO, NOON]
    assert reader.close() == []


@pytest.mark.parametrize("family", sorted({*CALLS, *ALIKE} - {"harmony", "glimmer"}))
def test_without_tools_what_looks_like_a_call_is_text(family: str) -> None:
    text = CALLS[ALIKE.get(family, family)]
    said = "".join(part for _, part in both(family, text, tools=()))
    assert "get_weather" in said
    assert "Oslo" in said


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("qwen3", "<tool_call>{'name': 'get_weather'}</tool_call>"),
        ("qwen3", '<tool_call>{"name": "get_weather", "arguments": [1]}</tool_call>'),
        ("qwen3", '<tool_call>{"name": "get_weather", "arguments": {'),
        ("qwen3-coder", "<tool_call>get_weather</tool_call>"),
        ("qwen3-coder", "<tool_call><function=get_weather><parameter=city>Os</tool_call>"),
        ("deepseek3", "<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{Oslo}<｜tool▁call▁end｜>"),
        ("ministral", '[TOOL_CALLS]unknown[ARGS]{"city": "Oslo"}'),
        ("ministral", "[TOOL_CALLS]get_weather[ARGS]{"),
        ("olmo3", "<function_calls>get_weather('Oslo')</function_calls>"),
        ("functiongemma", "<start_function_call>get_weather{}<end_function_call>"),
        ("gemma4", "<|tool_call>call:get_weather<tool_call|>"),
        ("glm-4.7", "<tool_call>no such <thing></tool_call>"),
        ("glm-4.7", "<tool_call>unknown<arg_key>city</arg_key><arg_value>Os"),
        ("lfm2", "<|tool_call_start|>[get_weather(open('x'))]<|tool_call_end|>"),
        ("lfm2", "[get_weather(city='Oslo', x=f())]"),
        ("lfm2", "[unknown(city='Oslo')]"),
        ("lfm2", "[1, 2]"),
        ("cohere", "<|START_ACTION|>[]<|END_ACTION|>"),
    ],
)
def test_what_is_no_call_stays_in_the_text_to_the_last_sign(family: str, said: str) -> None:
    assert both(family, f"Well: {said}" if said[0] != "[" or family == "ministral" else said)[-1][1].endswith(said)
    assert [kind for kind, _ in both(family, said)] == ["text"]


@pytest.mark.parametrize(
    ("family", "said", "parts"),
    [
        ("qwen3", "Look:\n" + CALLS["qwen3"] + "\n\nDone.\n", [("text", "Look:"), OSLO, NOON, ("text", "Done.\n")]),
        ("qwen3", '<tool_call>{"name": "get_time", "arguments": "{}"}</tool_call>', [NOON]),
        ("qwen3", '<tool_call>{"name": "get_time", "arguments": {}}', [NOON]),
        (
            "qwen3-coder",
            ("<tool_call><function=get_weather><parameter=city>\n\n a\nb \n</parameter><parameter=days>3</parameter>"
            "<parameter=exact>TRUE</parameter><parameter=limits>[1]</parameter><parameter=more>2.0</parameter>"
            "<parameter=other>7</parameter></function></tool_call>"),
            [
                (
                    "get_weather",
                    {"city": "\n a\nb ", "days": 3, "exact": True, "limits": [1], "more": 2, "other": "7"},
                )
            ],
        ),
        (
            "qwen3-coder",
            ("<tool_call><function=get_weather><parameter=city>NULL</parameter><parameter=exact>perhaps</parameter>"
            "<parameter=days>many</parameter></function></tool_call>"),
            [("get_weather", {"city": None, "exact": False, "days": "many"})],
        ),
        ("cogito", "a<｜tool▁outputs▁begin｜>made up<｜tool▁outputs▁end｜>b", [("text", "ab")]),
        ("deepseek3", "a<｜tool▁output▁begin｜>said<｜tool▁output▁end｜>b", [("text", "asaidb")]),
        ("olmo3", "<function_calls>get_weather(city='O', days=-2, exact=true, limits=[1, None], more={'a': 0.5})", [
            ("get_weather", {"city": "O", "days": -2, "exact": True, "limits": [1, None], "more": {"a": 0.5}})
        ]),
        ("functiongemma", ("<start_function_call>call:get_weather{days:3,exact:true,limits:[1,<escape>a,b<escape>],"
         "more:{x:null}}<end_function_call>"), [
            ("get_weather", {"days": 3, "exact": True, "limits": [1, "a,b"], "more": {"x": None}})
        ]),
        ("gemma4", "<|tool_call>call:get_weather{city:'Oslo',days:2<tool_call|>", [
            ("get_weather", {"city": "Oslo", "days": 2})
        ]),
        ("gemma4", '<|tool_call>call:get_weather{city:<|"|>Oslo}', [OSLO]),
        ("gemma4", "<|tool_call>call:get_time{}<tool_call|><tool_call|><|tool_response>", [NOON]),
        ("gemma4", "a<|channel>thought\nhm<channel|>b", [("text", "a"), ("thought", "hm"), ("text", "b")]),
        ("glm-4.7", "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Oslo", [OSLO]),
        ("glm-4.7", "<tool_call>get_weather\n<arg_key>days<arg_value>3</arg_value></tool_call>", [
            ("get_weather", {"days": 3})
        ]),
        ("laguna", '<tool_call>read_file{"path": "x"}</tool_call>', [("read", {"path": "x"})]),
        ("laguna", "<tool_call>read_file\n<arg_key>path</arg_key><arg_value>x</arg_value></tool_call>", [
            ("read", {"path": "x"})
        ]),
        ("lfm2", "\n[get_weather(city='Oslo'), get_time()]\n", [OSLO, NOON]),
        ("lfm2", "[See](there) and [get_time()]", [("text", "[See](there) and [get_time()]")]),
        ("pythonic", "[get_weather(city='Oslo')]", [OSLO]),
        ("pythonic", ' {"name": "get_weather", "parameters": {"city": "Oslo"}}', [OSLO]),
        ("pythonic", '{"city": "Oslo"}', [("text", '{"city": "Oslo"}')]),
        ("cohere", '<|START_ACTION|>[{"tool_name": "get_time", "parameters": {}}, {"tool_name"<|END_ACTION|>', [NOON]),
        ("cohere", "<|START_TEXT|>Hello.<|END_TEXT|>", [("text", "Hello.")]),
        ("cohere", "<|START_RESPONSE|>Hello.<|END_RESPONSE|>", [("text", "Hello.")]),
        ("passthrough", "<think>a</think><tool_call>{}", [("text", "<think>a</think><tool_call>{}")]),
    ],
)  # fmt: skip
def test_how_each_family_is_read(family: str, said: str, parts: list[Part]) -> None:
    assert both(family, said) == parts


THINKS: Final = {
    "cogito": "</think>",
    "cohere": "<|END_THINKING|>",
    "deepseek3": "</think>",
    "glm-4.7": "</think>",
    "laguna": "</think>",
    "lfm2-thinking": "</think>",
    "ministral": "[/THINK]",
    "nemotron-3-nano": "</think>",
    "olmo3-think": "</think>",
    "qwen3-thinking": "</think>",
    "qwen3.5": "</think>",
    "seed-oss": "</seed:think>",
}


@pytest.mark.parametrize("family", THINKS)
def test_thinking_ends_with_its_mark(family: str) -> None:
    closing, opening = THINKS[family], THINKS[family].replace("/", "").replace("END", "START")
    parts = [("thought", "hm  <b>"), ("text", "yes </b> ")]
    said = f"\nhm  <b>\n{closing}\n\nyes </b> "
    assert both(family, said, opened=True) == parts
    assert both(family, opening + said, opened=True) == parts
    assert both(family, f" {opening}{said}") == parts
    assert both(family, "yes </b> ") == parts[1:]
    assert both(family, "hm", opened=True) == [("thought", "hm")]
    assert both(family, f"{opening[:-1]} a") == [("text", f"{opening[:-1]} a")]


@pytest.mark.parametrize("family", ["qwen3-thinking", "qwen3.5", "nemotron-3-nano", "laguna"])
def test_a_call_ends_thinking(family: str) -> None:
    assert both(family, "hm\n" + CALLS[ALIKE.get(family, family)], opened=True) == [("thought", "hm"), OSLO, NOON]


def test_thinking_that_nobody_wants_is_not_shown() -> None:
    said = "<|channel>thought\nhm<channel|>yes"
    assert both("gemma4", said, think=False) == [("text", "yes")]


HARMONY: Final = (
    "<|channel|>analysis<|message|>They ask.<|end|><|start|>assistant<|channel|>commentary<|message|>I look."
    "<|end|><|start|>assistant<|channel|>final<|message|>It rains.<|return|>"
)


def test_harmony_has_a_channel_for_each_kind() -> None:
    parts = [("thought", "They ask."), ("text", "I look.It rains.")]
    assert both("harmony", HARMONY, begun="<|start|>assistant") == parts
    assert both("harmony", HARMONY) == parts


@pytest.mark.parametrize(
    ("begun", "said", "parts"),
    [
        ("<|start|>assistant<|channel|>final<|message|>", "rains.", [("text", "rains.")]),
        ("<|start|>assistant<|channel|>analysis<|message|>", "hm", [("thought", "hm")]),
        ("<|start|>assistant", "<|message|>Plain.", [("text", "Plain.")]),
        ("<|start|>assistant", "Plain.", [("text", "Plain.")]),
        ("<|start|>assistant", "<|channel|>ana", []),
        ("", " to=functions.get_time<|channel|>commentary json<|message|>{}", [NOON]),
        ("<|start|>assistant", " to=get_time<|channel|>analysis code<|message|>{}<|call|>", [NOON]),
        ("", "<|channel|>commentary to=functions.get_time<|constrain|>json<|message|>{}", [NOON]),
        ("", "<|channel|>commentary to=functions.get_time<|message|>{bad", [("text", "{bad")]),
        ("", "<|channel|>commentary to=functions.my_tool_2<|message|>{}", [("my.tool-2", {})]),
    ],
)
def test_how_harmony_headers_are_read(begun: str, said: str, parts: list[Part]) -> None:
    assert both("harmony", said, begun=begun, names={"my_tool_2": "my.tool-2"}) == parts


def test_glimmer_thinks_in_messages_to_itself() -> None:
    said = " to=self<|message|>hm<|eom|><|start|>assistant<|message|>yes<|eot|>"
    assert both("glimmer", said, begun="<|start|>assistant") == [("thought", "hm"), ("text", "yes")]


def test_calls_have_ids_and_places() -> None:
    parser = OutputParser(family=PARSERS["qwen3"](Prompted(tools=TOOLS)))
    calls = [call for event in parser.feed(CALLS["qwen3"]) if isinstance(event, ToolCalls) for call in event.calls]
    assert [call.index for call in calls] == [0, 1]
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize("family", sorted(CALLS))
def test_the_engine_is_told_to_show_the_marks_of_calls(family: str) -> None:
    marks = set(re.findall(r"<\|[^<>]*>|<｜[^<>]*>|<[a-z_]+>|<[a-z_]+\|>|\[[A-Z_]+\]|</[a-z_]+>", CALLS[family]))
    parameters = {mark for mark in marks if "parameter" in mark or "function>" in mark}
    assert marks - parameters <= set(READINGS[family].shown)
