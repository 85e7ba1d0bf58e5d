"""Named parsers in a child: the engine that repeats its prompt says what families write, and events come out."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from a3s_power.core.events import Text, Thinking, ToolCalls
from a3s_power.core.messages import Message, Tool
from a3s_power.core.options import DEFAULTS
from a3s_power.runner.frames import Run
from a3s_power.runner.process import RunnerProcess
from tests.runners import events, loaded

pytestmark = pytest.mark.anyio

REPEATED: Final = "{{ range .Messages }}{{ .Content }}{{ end }}"
HARMONY: Final = (
    "<|channel|>analysis<|message|>They ask.<|end|><|start|>assistant<|channel|>commentary to=functions.my_tool "
    '<|constrain|>json<|message|>{"city": "Oslo"}<|call|>'
)
CODER: Final = "<tool_call>\n<function=my-tool>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>"


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with loaded("echo", tmp_path) as loaded_runner:
        yield loaded_runner


async def said(runner: RunnerProcess, text: str, **run: Any) -> list[tuple[str, Any]]:
    """What comes out of an answer: thoughts and texts, and calls with their arguments."""
    asked = Run(messages=(Message(role="user", content=text),), template=REPEATED, options=DEFAULTS, **run)
    found: list[tuple[str, Any]] = []
    for event in await events(runner, asked):
        match event:
            case Thinking(text=thought):
                found.append(("thought", thought))
            case Text(text=answer):
                found.append(("text", answer))
            case ToolCalls(calls):
                found += [(call.name, call.arguments) for call in calls]
    return found


@pytest.mark.parametrize(
    ("parser", "text", "parts"),
    [
        ("harmony", HARMONY, [("thought", "They"), ("thought", " ask."), ("my-tool", {"city": "Oslo"})]),
        ("qwen3-coder", f"Look: {CODER}", [("text", "Look:"), ("my-tool", {"city": "Oslo"})]),
        ("qwen3-thinking", "so it\n</think>\n\nis", [("thought", "so"), ("thought", " it"), ("text", "is")]),
    ],
)
async def test_what_a_family_writes_becomes_events(
    runner: RunnerProcess, parser: str, text: str, parts: list[tuple[str, Any]]
) -> None:
    tool = Tool(name="my-tool", parameters={"properties": {"city": {"type": "string"}}})
    assert await said(runner, text, parser=parser, tools=(tool,)) == parts


async def test_a_prompt_that_is_gone_on_with_has_no_calls(runner: RunnerProcess) -> None:
    found = await said(runner, CODER, parser="qwen3-coder", parse_tools=False)
    assert "".join(text for _, text in found) == CODER
