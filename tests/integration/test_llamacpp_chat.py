"""Conversations through the child: rendered by the model's own template, answered, and read again."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.errors import PromptTooLong
from a3s_power.core.events import Done, Event, Rendered, Text, Thinking, ToolCalls
from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.core.options import DEFAULTS, Options
from a3s_power.runner.frames import Run
from a3s_power.runner.process import RunnerProcess
from tests.runners import answer, events, loaded
from tests.shared import shared_file

pytestmark = pytest.mark.anyio


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with loaded("llamacpp", tmp_path, context_length=1024) as loaded_runner:
        yield loaded_runner


def chat(*messages: Message, **run: Any) -> Run:
    options = Options.merged(DEFAULTS, Options(temperature=0.0, num_predict=200), run.pop("options", Options()))
    return Run(messages=messages, options=options, **({"think": False} | run))


def user(content: str) -> Message:
    return Message(role="user", content=content)


def _message(value: dict[str, Any]) -> Message:
    calls = (call["function"] | {"id": call.get("id", "")} for call in value.get("tool_calls") or ())
    return Message(
        role=value["role"],
        content=value.get("content") or "",
        thinking=value.get("reasoning_content") or "",
        tool_calls=tuple(
            ToolCall(name=call["name"], arguments=_object(call["arguments"]), id=call["id"]) for call in calls
        ),
        tool_name=value.get("name", ""),
        tool_call_id=value.get("tool_call_id", ""),
    )


def _object(arguments: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(arguments) if isinstance(arguments, str) else arguments
    return value


def _joined(said: list[Event], kind: type[Text | Thinking]) -> str:
    return "".join(event.text for event in said if isinstance(event, kind))


async def test_every_recorded_conversation_gives_its_message(runner: RunnerProcess) -> None:
    cases = json.loads(shared_file("models/power-tiny/expected.json").read_text())["cases"]
    tried = 0
    for case in (case for case in cases if case.get("messages")):
        tools = tuple(Tool(**tool["function"]) for tool in case["tools"] or ())
        think = bool(case["enable_thinking"])
        said = await events(runner, chat(*map(_message, case["messages"]), tools=tools, think=think))
        expected = case["server_message_F16"]
        done = said[-1]
        assert isinstance(done, Done)
        assert done.usage.prompt_tokens == case["prompt_tokens"], case["name"]
        assert _joined(said, Text) == expected["content"], case["name"]
        assert _joined(said, Thinking).strip() == expected.get("reasoning_content", "").strip(), case["name"]
        calls = [call for event in said if isinstance(event, ToolCalls) for call in event.calls]
        wanted = [call["function"] for call in expected.get("tool_calls", ())]
        assert [(call.name, call.arguments) for call in calls] == [
            (call["name"], json.loads(call["arguments"])) for call in wanted
        ], case["name"]
        tried += 1
    assert tried > 20


async def test_a_conversation_too_long_for_the_context_loses_its_oldest_turns(tmp_path: Path) -> None:
    turns = [
        message
        for number in range(40)
        for message in (user(f"What is {number}+1?"), Message(role="assistant", content=str(number + 1)))
    ]
    conversation = (*turns, user("My name is Anna."), Message(role="assistant", content="Hi, Anna!"), user("Who am I?"))
    async with loaded("llamacpp", tmp_path, context_length=256) as runner:
        _, done = await answer(runner, chat(*conversation))
        assert 0 < done.usage.dropped_messages < len(conversation) - 1
        assert 200 < done.usage.prompt_tokens < 256
        assert done.usage.cut_tokens == 0
        with pytest.raises(PromptTooLong):
            await answer(runner, chat(*conversation, truncate=False))
        with pytest.raises(PromptTooLong, match="exceed_context_size_error"):
            await answer(runner, chat(user("word " * 300)))


async def test_a_limit_of_nothing_reads_the_prompt_and_says_nothing(runner: RunnerProcess) -> None:
    said = await events(runner, chat(user("Hello"), options=Options(num_predict=0)))
    (done,) = said
    assert isinstance(done, Done)
    assert (done.reason, done.usage.prompt_tokens, done.usage.output_tokens) == ("length", 9, 0)


async def test_only_the_prompt_may_be_asked_for(runner: RunnerProcess) -> None:
    (rendered,) = await events(runner, chat(user("Hello"), render_only=True))
    assert rendered == Rendered("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", 0, 9)


async def test_a_context_goes_on_where_the_last_answer_ended(runner: RunnerProcess) -> None:
    def ask(text: str, context: tuple[int, ...] = ()) -> Run:
        return chat(user(text), context=context, want_context=True, parse_tools=False)

    _, first = await answer(runner, ask("My name is Anna."))
    assert first.context is not None
    shown = await runner.detokenize(first.context)
    assert shown.startswith("<|im_start|>user\nMy name is Anna.<|im_end|>\n<|im_start|>assistant\n")
    _, second = await answer(runner, ask("What is my name?", first.context))
    assert second.usage.prompt_tokens > len(first.context)
    assert second.context is not None
    assert len(second.context) > len(first.context)
