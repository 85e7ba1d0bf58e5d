"""ToolParser: the forms in which models call tools, and what is none."""

import itertools
import re
from collections.abc import Iterable
from typing import Any, Final

import pytest

from a3s_power.core.messages import ToolCall
from a3s_power.output.tools import ToolParser, call_id

TOOLS: Final = ("get_weather", "get_time", "get")
OSLO: Final = {"city": "Oslo"}


def read(pieces: Iterable[str], *, tag: str = "<tool_call>", tools: Iterable[str] = TOOLS) -> list[str | ToolCall]:
    ids = (f"call_{number}" for number in itertools.count())
    parser = ToolParser(tag, tools, new_id=lambda: next(ids))
    return [*(found for piece in pieces for found in parser.feed(piece)), *parser.close()]


def call(name: str, arguments: dict[str, Any], index: int = 0) -> ToolCall:
    return ToolCall(name=name, arguments=arguments, id=f"call_{index}", index=index)


@pytest.mark.parametrize(
    "said",
    [
        '{"name":"get_weather","arguments":{"city":"Oslo"}}',
        '{"name":"get_weather","parameters":{"city":"Oslo"}}',
        '{"name":"get_weather","arguments":"{\\"city\\":\\"Oslo\\"}"}',
        '{"arguments":{"city":"Oslo"},"name":"get_weather"}',
        '{"get_weather":{"city":"Oslo"}}',
        'get_weather{"city":"Oslo"}',
        '{"function":{"name":"get_weather","arguments":{"city":"Oslo"}}}',
        '[{"name":"get_weather","arguments":{"city":"Oslo"}}]',
        '{"tool_call_id":"0","tool_name":"get_weather","parameters":{"city":"Oslo"}}',
        'get_weather[ARGS]{"city":"Oslo"}',
        'function<｜tool▁sep｜>get_weather\n```json\n{"city": "Oslo"}\n```',
        '{"calls":[{"name":"get_weather","arguments":{"city":"Oslo"}}]}',
        '{bad} {"name":"get_weather","arguments":{"city":"Oslo"}}',
    ],
)
def test_every_form_of_a_call(said: str) -> None:
    whole = f"<tool_call>{said}</tool_call>"
    assert read([whole]) == read(whole) == [call("get_weather", OSLO)]


@pytest.mark.parametrize(
    "said",
    [
        '{"name":"get_weather"}',
        '{"name":"unknown","arguments":{}}',
        '{"name":"get_weather","arguments":{"city":"Os',
        '{"name":"get_weather","arguments":[1]}',
        '{"name":"get_weather","arguments":"Oslo"}',
        '{"city":"Oslo"}',
        "get_weather(city='Oslo')",
        "",
    ],
)
def test_what_is_no_call_comes_out_as_text(said: str) -> None:
    whole = f"Well: <tool_call>{said}</tool_call> bye"
    assert "".join(map(str, read(whole))) == whole
    assert read([whole]) == ["Well: ", whole.removeprefix("Well: ")]


def test_a_name_inside_the_arguments_is_not_the_tool() -> None:
    said = '<tool_call>{"name":"get_time","arguments":{"note":"get_weather"}}</tool_call>'
    assert read([said]) == [call("get_time", {"note": "get_weather"})]


def test_the_longest_name_is_meant() -> None:
    assert read('<tool_call>get_weather{"city":"Oslo"}') == [call("get_weather", OSLO)]
    assert read('<tool_call>get {"city":"Oslo"}') == [call("get", OSLO)]


def test_arguments_behind_a_name_may_have_a_name_of_their_own() -> None:
    assert read(['<tool_call>get{"name":"Bob"}']) == [call("get", {"name": "Bob"})]


def test_several_calls_and_nothing_between_or_behind_them() -> None:
    one, two = '{"name":"get_weather","arguments":{"city":"Oslo"}}', '{"name":"get_time","arguments":{}}'
    said = f"Let me see.\n<tool_call>\n{one}\n</tool_call>\n<tool_call>\n{two}\n</tool_call> bye"
    assert read([said]) == ["Let me see.\n", call("get_weather", OSLO), call("get_time", {}, 1)]


def test_a_call_that_breaks_off_after_another_comes_out_as_text() -> None:
    one = '<tool_call>{"name":"get_time","arguments":{}}</tool_call>'
    assert read([f'{one}\n<tool_call>{{"name":"get']) == [call("get_time", {}), '<tool_call>{"name":"get']


def test_what_was_announced_as_a_call_of_its_own_is_not_lost_between_others() -> None:
    one, none = '<tool_call>{"name":"get","arguments":{}}</tool_call>', '<tool_call>{"name":"nope","arguments":{}}'
    said = f"{one}\n{none}</tool_call>\n{one}"
    found = [call("get", {}), f"{none}</tool_call>\n", call("get", {}, 1)]
    assert read([said]) == found
    assert read([f"{none}</tool_call>{one}"]) == [f"{none}</tool_call>", call("get", {})]


def test_blanks_before_a_call_are_none_of_the_answer() -> None:
    assert read(["\n", "\n", '<tool_call>{"name":"get_time","arguments":{}}']) == [call("get_time", {})]


@pytest.mark.parametrize("said", ["\n \n", "a <tool_", "\n<tool_call> no", "no calls here", ""])
def test_an_answer_without_calls_is_text(said: str) -> None:
    assert "".join(map(str, read(said))) == said
    assert "".join(map(str, read([said]))) == said


@pytest.mark.parametrize(
    ("tag", "said", "found"),
    [
        ("{", '{"name":"get_time","parameters":{}}', [call("get_time", {})]),
        ("{", '\n\n{"name":"get_time","parameters":{}}', [call("get_time", {})]),
        (
            "{",
            '{"name":"get_time","parameters":{}}{"name":"get","parameters":{}}',
            [call("get_time", {}), call("get", {}, 1)],
        ),
        ("{", 'Here: {"name":"get_time","parameters":{}}', ['Here: {"name":"get_time","parameters":{}}']),
        ("{", '{"answer":42} and more', ['{"answer":42} and more']),
        ("{", '{"answer":"use get_time"}', ['{"answer":"use get_time"}']),
        ("{", '{"answer":', ['{"answer":']),
        (
            "[",
            '[{"name":"get_time","arguments":{}},{"name":"get","arguments":{}}]',
            [call("get_time", {}), call("get", {}, 1)],
        ),
        ("[", "[1, [2]] it is", ["[1, [2]] it is"]),
        ("[", "no", ["no"]),
        ("[", "\n[1] it is", ["\n[1] it is"]),
        ("{", "\n {", ["\n {"]),
        ("[TOOL_CALLS][", '[TOOL_CALLS][{"name":"get_time","arguments":{}}]', [call("get_time", {})]),
    ],
)
def test_bare_json_is_a_call_only_when_it_begins_the_answer_and_names_a_tool(
    tag: str, said: str, found: list[str | ToolCall]
) -> None:
    assert read([said], tag=tag) == found
    pieces = read(said, tag=tag)
    assert [each for each in pieces if isinstance(each, ToolCall)] == [e for e in found if isinstance(e, ToolCall)]
    assert "".join(each for each in pieces if isinstance(each, str)) == "".join(e for e in found if isinstance(e, str))


def test_without_any_tool_nothing_is_a_call() -> None:
    assert read(['<tool_call>{"x":1}'], tools=()) == ['<tool_call>{"x":1}']


def test_a_call_has_an_id_in_ollamas_form() -> None:
    assert re.fullmatch(r"call_[a-z0-9]{8}", call_id())
    assert call_id() != call_id()
