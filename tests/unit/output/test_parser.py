"""OutputParser: thinking, calls and text in one stream of events."""

from typing import Final

from a3s_power.core.events import Logprob, Text, Thinking, TokenLogprob, ToolCalls
from a3s_power.core.messages import ToolCall
from a3s_power.output.parser import OutputParser

TAGS: Final = ("<think>", "</think>")
PROBABILITIES: Final = (TokenLogprob(Logprob("a", b"a", -0.5)),)


def test_without_thinking_and_tools_text_passes_as_it_is() -> None:
    parser = OutputParser()
    assert list(parser.feed(" <think>")) == [Text(" <think>")]
    assert list(parser.feed("")) == list(parser.close()) == []
    assert list(parser.feed("", PROBABILITIES)) == [Text("", PROBABILITIES)]


def test_thinking_then_calls_then_text_in_one_piece() -> None:
    parser = OutputParser(thinking=TAGS, tool_tag="<tool_call>", tools=["f", "g"], new_id=lambda: "id")
    said = (
        '<think>\nhm\n</think>\n\n<tool_call>{"name":"f","arguments":{}}</tool_call>'
        '<tool_call>{"name":"g","arguments":{"a":1}}</tool_call>\n<tool_call>{'
    )
    both = ToolCalls(
        (ToolCall(name="f", arguments={}, id="id"), ToolCall(name="g", arguments={"a": 1}, id="id", index=1))
    )
    assert [*parser.feed(said), *parser.close()] == [Thinking("hm\n"), both, Text("<tool_call>{")]


def test_what_is_held_by_the_thinking_goes_through_the_tools_at_the_end() -> None:
    parser = OutputParser(thinking=TAGS, tool_tag="{", tools=["f"])
    assert list(parser.feed("<thi")) == []
    assert list(parser.close()) == [Text("<thi")]


def test_log_probabilities_are_never_held_back() -> None:
    parser = OutputParser(thinking=TAGS, tool_tag="<tool_call>", tools=["f"], new_id=lambda: "id")
    assert parser.feed("<think>", PROBABILITIES) == [Text("", PROBABILITIES)]
    assert parser.feed("a", PROBABILITIES) == [Thinking("a", PROBABILITIES)]
    assert parser.feed("</think>b", PROBABILITIES) == [Text("b", PROBABILITIES)]
    assert parser.feed('<tool_call>{"name":"f","arguments":{}}', PROBABILITIES) == [
        Text("", PROBABILITIES),
        ToolCalls((ToolCall(name="f", arguments={}, id="id"),)),
    ]


def test_after_thinking_text_passes_as_it_is() -> None:
    parser = OutputParser(thinking=TAGS)
    assert list(parser.feed("<think>a</think>b")) == [Thinking("a"), Text("b")]
    assert list(parser.feed(" <think>")) == [Text(" <think>")]


def test_thinking_that_the_prompt_began_needs_no_tag() -> None:
    parser = OutputParser(thinking=TAGS, opened=True)
    assert [*parser.feed("a</think>b"), *parser.close()] == [Thinking("a"), Text("b")]
