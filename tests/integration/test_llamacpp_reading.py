"""Two hundred answers of the built-in model: what its bare text holds, in calls and in thoughts, is what comes out."""

import asyncio
import importlib
import json
import random
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from a3s_power.core.events import Event, Text, Thinking, ToolCalls
from a3s_power.core.messages import Message, Tool
from a3s_power.core.options import DEFAULTS, Options
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from a3s_power.prompt.render import Prompter
from a3s_power.runner.frames import Run
from a3s_power.runner.process import RunnerProcess
from tests.runners import answer, events, loaded
from tests.shared import BUILTIN_MODEL, REPOSITORY

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PROMPTS: Final = 200
_AT_ONCE: Final = 2
_CALL: Final = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
_THOUGHT: Final = re.compile(r"<think>\s*(.*?)(?:</think>\s*|\Z)", re.DOTALL)
_GREEDY: Final = Options.merged(DEFAULTS, Options(temperature=0.0, num_predict=120))


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with loaded("llamacpp", tmp_path, context_length=1024) as loaded_runner:
        yield loaded_runner


def asked(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Questions like those that the model learnt from, with other dice; every fourth is to be thought about."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools" / "power-tiny"))
    dialogues = importlib.import_module("dialogues")
    dice = random.Random(20_260)
    runs: list[Run] = []
    while len(runs) < PROMPTS:
        sample = dialogues.with_functions(dice)
        if sample.kind in ("tool_call", "tool_par", "tool_none"):
            turns = sample.messages[:-1]
            messages = tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns)
            tools = tuple(Tool(**tool["function"]) for tool in sample.tools)
            runs.append(Run(messages=messages, tools=tools, options=_GREEDY, think=len(runs) % 4 == 0))
    return runs


def joined(said: list[Event], kind: type[Text | Thinking]) -> str:
    return "".join(event.text for event in said if isinstance(event, kind))


def calls_in(text: str, tools: Sequence[Tool]) -> list[tuple[str, Any]]:
    """What the bare text calls of the tools that there are, read by nothing of ours."""
    offered = {tool.name for tool in tools}
    calls = [(call["name"], call["arguments"]) for call in map(json.loads, _CALL.findall(text))]
    return [(name, arguments) for name, arguments in calls if name in offered]


async def test_every_call_and_every_thought_of_the_bare_text_comes_out(
    runner: RunnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompter = Prompter(facts(read_header(BUILTIN_MODEL)).chat_template)
    free = asyncio.Semaphore(_AT_ONCE)
    seen = {"calls": 0, "thoughts": 0}

    async def check(run: Run) -> None:
        async with free:
            said = await events(runner, run)
            prompt = prompter.render(run.messages, tools=run.tools, think=run.think).text
            bare, _ = await answer(runner, Run(text=prompt, options=_GREEDY))
        thought = _THOUGHT.match(bare)
        assert joined(said, Thinking) == (thought[1] if thought else "")
        assert "think>" not in joined(said, Text)
        calls = [(call.name, call.arguments) for event in said if isinstance(event, ToolCalls) for call in event.calls]
        assert calls == calls_in(bare, run.tools)
        rest = bare[thought.end() :] if thought else bare
        assert joined(said, Text) == ("" if calls else rest)
        seen["calls"] += len(calls)
        seen["thoughts"] += thought is not None

    await asyncio.gather(*map(check, asked(monkeypatch)))
    assert seen["calls"] > PROMPTS // 2
    assert seen["thoughts"] > PROMPTS // 5
