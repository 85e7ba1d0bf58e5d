"""A coding agent's requests in their order: a warm-up, a title, a loop of tools over several rounds, all counted."""

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

from tests.running import DEADLINE

_CACHED: Final = {"cache_control": {"type": "ephemeral"}}
_TOOLS: Final = {
    "Task": "prompt",
    "Bash": "command",
    "Glob": "pattern",
    "Grep": "pattern",
    "LS": "path",
    "ExitPlanMode": "plan",
    "Read": "file_path",
    "Edit": "file_path",
    "MultiEdit": "file_path",
    "Write": "file_path",
    "NotebookEdit": "notebook_path",
    "WebFetch": "url",
    "TodoWrite": "todos",
    "BashOutput": "bash_id",
    "KillShell": "shell_id",
    "SlashCommand": "command",
}
_HEADERS: Final = {
    "accept": "application/json",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
    "anthropic-dangerous-direct-browser-access": "true",
    "anthropic-version": "2023-06-01",
    "authorization": "Bearer any",
    "x-app": "cli",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
    "x-stainless-timeout": "600",
}


def _tool(name: str, argument: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": {argument: {"type": "string"}}}
    if name == "Task":
        schema |= {"$schema": "http://json-schema.org/draft-07/schema#", "additionalProperties": False}
    return {"name": name, "description": "", "input_schema": schema}


def _text(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text} | more


def _call(number: int, name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number:02}", "name": name, "input": arguments}


def _result(number: int, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"toolu_{number:02}", "content": content} | more


_SYSTEM: Final = [_text("You are a coding agent.", **_CACHED), _text(" Be short.\nPlatform: linux", **_CACHED)]
_OPENING: Final = [_text("<system-reminder>\nNo notes.\n</system-reminder>\n"), _text("fix the test", **_CACHED)]
_LOG: Final[list[tuple[str, list[dict[str, Any]]]]] = [
    ("user", _OPENING),
    ("assistant", [_text("I look at it."), _call(1, "Read", file_path="/a/test.py"), _call(2, "LS", path="/a")]),
    ("user", [_result(1, "1\tassert add(1, 2) == 4\n"), _result(2, [_text("- /a/\n"), _text("  - test.py\n")])]),
    (
        "assistant",
        [
            {"type": "thinking", "thinking": "It should be 3.", "signature": "c2ln"},
            _call(3, "Edit", file_path="/a/test.py", old_string="4", new_string="3"),
        ],
    ),
    ("user", [_result(3, "<tool_use_error>Read it first</tool_use_error>", is_error=True, **_CACHED)]),
    ("assistant", [_call(4, "Bash", command="pytest -q", description="Run the tests")]),
    ("user", [_result(4, "1 passed"), _text("Repeat: done", **_CACHED)]),
]


@pytest.fixture
def agent(server: str) -> Iterator[httpx2.Client]:
    """What the agent calls the server with."""
    with httpx2.Client(base_url=server, headers=_HEADERS, timeout=DEADLINE) as client:
        yield client


def _body(turns: int, **more: Any) -> dict[str, Any]:
    """The request of a round: the log so far, with all that goes with it."""
    return {
        "model": "power-tiny",
        "max_tokens": 24,
        "temperature": 0,
        "system": _SYSTEM,
        "messages": [{"role": role, "content": content} for role, content in _LOG[:turns]],
        "tools": [_tool(name, argument) for name, argument in _TOOLS.items()],
        "metadata": {"user_id": "user_0_account__session_0"},
        "stream": True,
    } | more


def _events(text: str) -> list[dict[str, Any]]:
    frames = [frame.split("\n") for frame in text.split("\n\n")[:-1]]
    events = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [f"event: {event['type']}" for event in events] == [name for name, _ in frames]
    return events


def _in_order(events: list[dict[str, Any]]) -> None:
    """One message whose blocks begin, grow and end, one after the other."""
    assert [events[0]["type"], events[-2]["type"], events[-1]["type"]] == [
        *("message_start", "message_delta", "message_stop")
    ]
    opened: int | None = None
    ended = 0
    for event in events[1:-2]:
        match event["type"]:
            case "content_block_start":
                assert (opened, event["index"]) == (None, ended)
                opened = event["index"]
            case "content_block_delta":
                assert event["index"] == opened
            case "content_block_stop":
                assert event["index"] == opened
                opened, ended = None, ended + 1
            case other:
                assert other == "ping"
    assert opened is None


def _whole_prompt(usage: dict[str, int]) -> int:
    return usage["input_tokens"] + usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"]


def test_the_warm_up_and_the_title_are_answered(agent: httpx2.Client) -> None:
    """Row 51: what the agent asks before its first round."""
    quota = {"model": "power-tiny", "max_tokens": 1, "messages": [{"role": "user", "content": "quota"}]}
    answer = agent.post("/v1/messages?beta=true", json=quota | {"metadata": {"user_id": "u"}})
    assert (answer.status_code, answer.json()["stop_reason"]) == (200, "max_tokens")
    title = {
        "model": "power-tiny",
        "max_tokens": 16,
        "temperature": 0,
        "system": [_text("Write a title for what the user asks.")],
        "messages": [{"role": "user", "content": _OPENING}, {"role": "assistant", "content": "{"}],
        "stream": True,
    }
    _in_order(_events(agent.post("/v1/messages?beta=true", json=title).text))


@pytest.mark.parametrize("turns", [1, 3, 5, 7])
def test_a_round_of_the_loop_is_answered_and_counted(agent: httpx2.Client, turns: int) -> None:
    """Rows 18, 20, 21, 49, 51: system blocks, 16 tools, results; the count is exact, results included."""
    body = _body(turns)
    counted = {key: body[key] for key in ("model", "system", "messages", "tools")}
    count = agent.post("/v1/messages/count_tokens?beta=true", json=counted).json()["input_tokens"]
    answer = agent.post("/v1/messages?beta=true", json=body)
    assert answer.headers["content-type"] == "text/event-stream"
    events = _events(answer.text)
    _in_order(events)
    assert events[-2]["delta"]["stop_reason"] in ("end_turn", "max_tokens", "tool_use")
    assert _whole_prompt(events[-2]["usage"]) == count


def test_the_count_grows_with_every_round(agent: httpx2.Client) -> None:
    """Row 49: an agent that shortens its history by it must not be told too little."""
    counts = [
        agent.post("/v1/messages/count_tokens", json=_body(turns)).json()["input_tokens"] for turns in (1, 3, 5, 7)
    ]
    assert counts == sorted(set(counts))


def test_a_round_can_be_one_answer(agent: httpx2.Client) -> None:
    """Row 51."""
    body = _body(7, stream=False, tools=[])
    answer = agent.post("/v1/messages?beta=true", json=body).json()
    assert answer["type"] == "message"
    assert all(block["type"] in ("thinking", "text") for block in answer["content"])
