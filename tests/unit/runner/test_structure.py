"""The form of an answer, looked over behind it: a whole answer of another form is an error, a cut one is not."""

from typing import Any

import pytest

from a3s_power.core.errors import BadRequest, EngineFailed
from a3s_power.core.events import Event, Text, ToolCalls
from a3s_power.core.messages import Tool, ToolCall, ToolChoice
from a3s_power.engines.engine import Outcome
from a3s_power.prompt.render import Prompt
from a3s_power.runner.frames import Run
from a3s_power.runner.structure import Structure

TOOL = Tool(name="f")
CALL = ToolCall(name="f", arguments={})
STOP = Outcome(reason="stop")


def looked_over(run: Run, *said: Event, outcome: Outcome = STOP) -> list[Event]:
    """The events that get through, when these were said."""
    structure, through = Structure(run), list[Event]()
    say = structure.watched(through.append)
    for event in said:
        say(event)
    structure.check(outcome)
    return through


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (Run(), [Text("anything")]),
        (Run(choices=("yes",)), [Text("y"), Text("es")]),
        (Run(format="json"), [Text('{"a":'), Text("1}")]),
        (Run(format="json", tools=(TOOL,)), [ToolCalls((CALL,))]),
        (Run(tools=(TOOL,), tool_choice=ToolChoice("required")), [ToolCalls((CALL, CALL))]),
    ],
)
def test_an_answer_of_the_right_form_gets_through(run: Run, said: list[Event]) -> None:
    assert looked_over(run, *said) == said


@pytest.mark.parametrize(
    ("run", "text", "fault"),
    [
        (Run(choices=("yes",)), "no", "none of the choices"),
        (Run(format="json"), "{", "it is no JSON"),
        (Run(format={"type": "integer"}), '"x"', r"\$: type"),
        (Run(tools=(TOOL,), tool_choice=ToolChoice("required")), "Hello", "it calls no tool"),
    ],
)
def test_an_answer_of_another_form_is_an_error_unless_it_was_cut(run: Run, text: str, fault: str) -> None:
    with pytest.raises(EngineFailed, match=fault):
        looked_over(run, Text(text))
    assert looked_over(run, Text(text), outcome=Outcome(reason="length")) == [Text(text)]
    assert looked_over(run, Text(text), outcome=Outcome(reason="stop", stop_text="\n")) == [Text(text)]


def test_of_several_calls_only_the_first_gets_through_where_there_may_be_one() -> None:
    run = Run(tools=(TOOL,), parallel_tool_calls=False)
    assert looked_over(run, ToolCalls((CALL, CALL)), ToolCalls((CALL,))) == [ToolCalls((CALL,))]


@pytest.mark.parametrize(
    ("run", "prompt", "is_free"),
    [
        (Run(), {}, True),
        (Run(tools=(TOOL,)), {"tool_tag": "{"}, True),
        (Run(tools=(TOOL,), tool_choice=ToolChoice("required")), {"tool_tag": "{"}, False),
        (Run(choices=("a",)), {"thinking": ("<t>", "</t>"), "opened": True}, False),
    ],
)
def test_only_an_answer_that_must_have_a_form_gets_a_grammar(run: Run, prompt: dict[str, Any], is_free: bool) -> None:
    assert (Structure(run).grammar(Prompt(text="", **prompt)) == "") is is_free


def test_calls_in_a_way_that_cannot_be_forced_are_refused() -> None:
    run = Run(tools=(TOOL,), tool_choice=ToolChoice("required"))
    with pytest.raises(BadRequest, match="tool_choice cannot be enforced yet"):
        Structure(run).grammar(Prompt(text="", parser="gemma4"))
