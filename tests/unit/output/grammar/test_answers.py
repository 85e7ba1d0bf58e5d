"""Whole answers as grammars: thinking, choices, patterns, grammars of the client's own, and calls of tools."""

import random
from typing import Any

import jsonschema_rs
import pytest

from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Tool, ToolChoice
from a3s_power.output.families import PARSERS, Prompted
from a3s_power.output.grammar import Calling, Layout, Wanted, form, grammar, layout
from a3s_power.output.parser import OutputParser
from tests.gbnf import Grammar

THINK = ("<think>", "</think>")
PLAIN = Layout()
WEATHER = Tool(
    name="get_weather",
    parameters={"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]},
)
TIME = Tool(name="get_time")
CALL = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'


_BOMB = "\n".join(["root ::= a0", *(f"a{at} ::= a{at + 1} a{at + 1} | a{at + 1}" for at in range(24)), 'a24 ::= "x"?'])


def ignore(note: str) -> None:
    raise AssertionError(note)


def made(wanted: Wanted, where: Layout = PLAIN, calling: Calling | None = None) -> Grammar:
    return Grammar(grammar(wanted, where, calling, ignore))


def forced(parser: str, tag: str, *, mode: Any = "required", name: str = "", several: bool = True) -> Calling:
    how = form(parser, tag)
    assert how is not None
    return Calling(form=how, tools=(WEATHER, TIME), choice=ToolChoice(mode, name), several=several)


@pytest.mark.parametrize(
    ("where", "text", "follows"),
    [
        (Layout(), "yes", True),
        (Layout(), "<think>a</think>yes", False),
        (Layout(thinking=THINK), "yes", True),
        (Layout(thinking=THINK), "<think>\nWhat? < </ </thin</think>\n\nyes", True),
        (Layout(thinking=THINK), "<think></think>yes", True),
        (Layout(thinking=THINK), "<think>a</think>b</think>yes", False),
        (Layout(thinking=THINK), "<think>a</think><think>b</think>yes", False),
        (Layout(thinking=THINK), "<think>a<think>b</think>yes", False),
        (Layout(thinking=THINK), "<think>a</think>\n\n\n\n\nyes", False),
        (Layout(thinking=THINK, opened=True), "yes", False),
        (Layout(thinking=THINK, opened=True), "Well.</think>yes", True),
        (Layout(thinking=THINK, opened=True), "<<<</</think></think>yes", False),
        (Layout(thinking=THINK, opened=True), "<<<</</think>yes", True),
        (Layout(before="[", after="]"), "[yes]", True),
    ],
)
def test_thinking_comes_once_and_first(where: Layout, text: str, follows: bool) -> None:
    assert made(Wanted(choices=("yes", "no")), where).matches(text) is follows


@pytest.mark.parametrize(
    ("parser", "begun", "thinks", "text"),
    [
        (
            "harmony",
            "",
            True,
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>yes",
        ),
        ("harmony", "", True, "<|channel|>final<|message|>yes"),
        ("harmony", "", False, "<|channel|>final<|message|>yes"),
        ("harmony", "<|start|>assistant<|channel|>final<|message|>", True, "yes"),
        (
            "harmony",
            "<|channel|>analysis<|message|>",
            True,
            "Hm.<|end|><|start|>assistant<|channel|>final<|message|>yes",
        ),
        ("cohere", "", True, "<|START_TEXT|>yes<|END_TEXT|>"),
        ("qwen3", "", True, "yes"),
    ],
)
def test_families_have_their_own_layout(parser: str, begun: str, thinks: bool, text: str) -> None:
    where = layout(parser, None, opened=False, begun=begun, thinks=thinks)
    assert made(Wanted(choices=("yes",)), where).matches(text)
    reader = PARSERS[parser](Prompted(begun=begun))
    assert "".join(part for part in (*reader.feed(text), *reader.close()) if isinstance(part, str)) == "yes"


def test_a_family_whose_answers_have_another_form_is_refused() -> None:
    with pytest.raises(BadRequest, match="form of their own"):
        layout("glimmer", None, opened=False, begun="", thinks=True)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(format="json", pattern="a"), "format and pattern cannot be asked for together"),
        (Wanted(choices=("a",), grammar='root ::= "a"'), "grammar and choices cannot be asked for together"),
        (Wanted(choices=("a", "")), "choices must not be empty texts"),
        (Wanted(choices=("a",) * 1_001), "too many choices"),
        (Wanted(pattern="a(?!b)"), "the pattern cannot be enforced: it looks around"),
        (Wanted(pattern="x{9}{9}"), "one repetition behind another"),
        (Wanted(pattern="(a|b){1000000}"), "it repeats too much"),
        (Wanted(pattern="a{1,1000000000000000000}"), "it repeats too much"),
        (Wanted(grammar='start ::= "a"'), 'it has no rule "root"'),
        (Wanted(grammar="root ::= "), 'the rule "root" is empty'),
        (Wanted(grammar='root ::= a\na ::= # nothing\nb ::= "x"'), 'the rule "a" is empty'),
        (Wanted(grammar="root ::= a"), 'the rule "root" uses "a", which is not there'),
        (Wanted(grammar='root ::= "a'), "line 1: what begins with '\"a' cannot be read"),
        (Wanted(grammar='root ::= ("a"'), 'the parentheses of the rule "root" do not match'),
        (Wanted(grammar='root ::= "a"\nroot ::= "b"'), 'line 2: the rule "root" is there twice'),
        (Wanted(grammar='root ::= "a"{3000}'), "it repeats too much"),
        (Wanted(grammar='root ::= a "x"\na ::= "y" | root'), 'the rule "root" begins with itself'),
        (Wanted(grammar="root ::= * | +"), "a repetition has nothing before it"),
        (Wanted(grammar='%llguidance {}\nstart: "a"'), "line 1: what begins with '%llguidanc' cannot be read"),
        (Wanted(grammar='root ::= ("a"?){500}'), 'the rule "root" may be nothing in too many ways'),
        (
            Wanted(grammar='root ::= a{1999}\na ::= b? b?\nb ::= "x"?'),
            'the rule "root" may be nothing in too many ways',
        ),
        (Wanted(grammar=_BOMB), "may be nothing in too many ways"),
        (Wanted(pattern="(a?){500}(b?){500}c"), "can be read in too many ways at once"),
        (Wanted(pattern="([ab]{1,60}){60}"), "can be read in too many ways at once"),
        (Wanted(grammar="#" * 100_001), "it is longer than 100000 signs"),
    ],
)
def test_what_cannot_be_wanted_is_refused(wanted: Wanted, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        wanted.check()
    assert message in refusal.value.message


def test_a_grammar_of_the_clients_own_keeps_its_meaning_behind_thinking() -> None:
    own = 'root ::= first (blank  # a note\n  first)* \nfirst ::= [a-c]+ | "x\\"y"\nblank ::= " "'
    both = made(Wanted(grammar=own), Layout(thinking=THINK))
    assert both.matches('<think>?</think>ab x"y c')
    assert both.matches("ab c")
    assert not both.matches("ab  c")


@pytest.mark.parametrize(
    ("wanted", "text", "good"),
    [
        (Wanted(choices=("a", "b")), "a", True),
        (Wanted(choices=("a", "b")), "c", False),
        (Wanted(pattern="[ab]+"), "abba", True),
        (Wanted(pattern="[ab]+"), "abbac", False),
        (Wanted(format="json"), '{"a": 1}', True),
        (Wanted(format="json"), "[1]", False),
        (Wanted(format="json"), '{"a": 1', False),
        (Wanted(format={"type": "integer"}), " 5\n", True),
        (Wanted(format={"type": "integer"}), '"5"', False),
        (Wanted(format={"type": "integer"}), "", False),
        (Wanted(grammar='root ::= "a"'), "a", True),
    ],
)
def test_a_finished_answer_is_looked_over(wanted: Wanted, text: str, good: bool) -> None:
    assert (wanted.fault(text) == "") is good


@pytest.mark.parametrize(
    ("parser", "tag", "text"),
    [
        ("", "<tool_call>", f"<tool_call>\n{CALL}\n</tool_call>"),
        ("", "<tool_call>", f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>"),
        ("", "[TOOL_CALLS]", f"[TOOL_CALLS] [{CALL}, {CALL}]"),
        ("", "[TOOL_CALLS][", f"[TOOL_CALLS][{CALL}]"),
        ("", "<|tool_call|>", f"<|tool_call|>[{CALL}]"),
        ("", "<TOOLCALL>", f"<TOOLCALL>[{CALL}]</TOOLCALL>"),
        ("", "<function_call>", f"<function_call>{CALL}</function_call>"),
        ("", "{", CALL.replace("arguments", "parameters")),
        ("qwen3", "", f"<tool_call>\n{CALL}\n</tool_call>"),
        ("ministral", "", '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}'),
        (
            "deepseek3",
            "",
            (
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
                '{"city": "Oslo"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
            ),
        ),
        (
            "cogito",
            "",
            (
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
                '{"city": "Oslo"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
            ),
        ),
        (
            "cohere",
            "",
            (
                '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", "parameters": {"city": "Oslo"}}]'
                "<|END_ACTION|>"
            ),
        ),
        (
            "qwen3-coder",
            "",
            "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>",
        ),
        ("qwen3.5", "", "<tool_call><function=get_weather><parameter=city>Oslo</parameter></function></tool_call>"),
        (
            "glm-4.7",
            "",
            "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>",
        ),
        ("laguna", "", "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>"),
        ("harmony", "", '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Oslo"}'),
    ],
)
def test_a_call_in_a_familys_own_words_is_allowed_and_read(parser: str, tag: str, text: str) -> None:
    allowed = made(Wanted(), Layout(), forced(parser, tag))
    assert allowed.matches(text)
    assert not allowed.matches(text.replace("Oslo", "Bonn"))
    assert not allowed.matches("Hello")
    family = PARSERS[parser](Prompted(tools=(WEATHER, TIME))) if parser else None
    reader = OutputParser(tool_tag=tag, tools=("get_weather", "get_time"), family=family)
    events = [*reader.feed(text), *reader.close()]
    calls = [call for event in events for call in getattr(event, "calls", ())]
    assert calls
    assert all((call.name, call.arguments) == ("get_weather", {"city": "Oslo"}) for call in calls)


@pytest.mark.parametrize("parser", ["qwen3-coder", "glm-4.7"])
def test_arguments_between_marks_follow_their_schemas(parser: str) -> None:
    tool = Tool(
        name="f",
        parameters={
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "count": {"type": "integer", "minimum": 1, "maximum": 9},
                "more": {"type": "array", "items": {"$ref": "#/$defs/flag"}, "maxItems": 2},
            },
            "required": ["text", "count"],
            "$defs": {"flag": {"type": "boolean"}},
        },
    )
    how, chance = form(parser, ""), random.Random(parser)
    assert how is not None
    allowed = made(Wanted(), PLAIN, Calling(form=how, tools=(tool,), choice=ToolChoice("required"), several=False))
    for _ in range(30):
        reader = PARSERS[parser](Prompted(tools=(tool,)))
        text = allowed.walk(chance)
        (call,) = [part for part in (*reader.feed(text), *reader.close()) if isinstance(part, tuple)]
        assert call[0] == "f"
        jsonschema_rs.validate(tool.parameters, call[1])


def test_one_call_is_one_and_a_named_one_is_that_one() -> None:
    two = f"<tool_call>{CALL}</tool_call><tool_call>{CALL}</tool_call>"
    assert made(Wanted(), Layout(), forced("", "<tool_call>")).matches(two)
    assert not made(Wanted(), Layout(), forced("", "<tool_call>", several=False)).matches(two)
    named = made(Wanted(), Layout(), forced("", "<tool_call>", name="get_time"))
    assert not named.matches(f"<tool_call>{CALL}</tool_call>")
    assert named.matches('<tool_call>{"name": "get_time", "arguments": {}}</tool_call>')


@pytest.mark.parametrize("parameters", [{}, {"type": "object", "properties": {}}])
def test_a_tool_without_parameters_is_given_nothing(parameters: dict[str, Any]) -> None:
    how = form("", "<tool_call>")
    assert how is not None
    tools = (Tool(name="f", parameters=parameters),)
    allowed = made(Wanted(), PLAIN, Calling(form=how, tools=tools, choice=ToolChoice("required"), several=False))
    assert allowed.matches('<tool_call>{"name": "f", "arguments": {}}</tool_call>')
    assert not allowed.matches('<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>')


def test_calls_that_need_not_be_are_another_way_to_answer() -> None:
    both = made(Wanted(choices=("yes",)), Layout(thinking=THINK), forced("", "<tool_call>", mode="auto"))
    assert both.matches("yes")
    assert both.matches(f"<think>Hm.</think><tool_call>{CALL}</tool_call>")
    assert not both.matches(f"<think><tool_call>{CALL}</tool_call></think>yes")


@pytest.mark.parametrize(("parser", "tag"), [("gemma4", ""), ("lfm2", ""), ("", "Action: ```json\n"), ("pythonic", "")])
def test_families_whose_calls_cannot_be_forced_have_no_form(parser: str, tag: str) -> None:
    assert form(parser, tag) is None


def test_arguments_that_cannot_be_enforced_are_any_object_and_somebody_is_told() -> None:
    notes: list[str] = []
    odd = Tool(name="odd", parameters={"type": "object", "properties": {"a": {"not": {}}}})
    how = form("", "<tool_call>")
    assert how is not None
    calling = Calling(form=how, tools=(odd,), choice=ToolChoice("required"))
    loose = Grammar(grammar(Wanted(), Layout(), calling, notes.append))
    assert loose.matches('<tool_call>{"name": "odd", "arguments": {"a": 1}}</tool_call>')
    assert '"not" at $.allOf[0].properties.a' in notes[0]
