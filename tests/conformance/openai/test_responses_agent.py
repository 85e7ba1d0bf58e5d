"""A coding agent's requests in their order, over `/v1/responses`: a log of several rounds, and a loop of its own."""

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

from tests.running import DEADLINE

_HEADERS: Final = {
    "accept": "text/event-stream",
    "authorization": "Bearer any",
    "conversation_id": "0199a1b2-0000-7000-8000-000000000000",
    "openai-beta": "responses=experimental",
    "originator": "codex_cli_rs",
    "session_id": "0199a1b2-0000-7000-8000-000000000000",
    "user-agent": "codex_cli_rs/0.60.1 (Linux 6.8; x86_64) xterm",
    "version": "0.60.1",
}
_STRINGS: Final = {"type": "array", "items": {"type": "string"}}


def _function(name: str, **properties: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": [*properties][:1],
        "additionalProperties": False,
    }
    return {"type": "function", "name": name, "description": f"Runs {name}.", "strict": False, "parameters": schema}


_TEXT: Final = {"type": "string"}
_TOOLS: Final = [
    _function("shell", command=_STRINGS, workdir=_TEXT, timeout_ms={"type": "number"}),
    _function(
        "update_plan",
        plan={
            "type": "array",
            "items": {"type": "object", "properties": {"step": _TEXT, "status": {"enum": ["pending", "completed"]}}},
        },
        explanation=_TEXT,
    ),
    _function("view_image", path=_TEXT),
    _function("list_mcp_resources", server=_TEXT),
    _function("read_mcp_resource", server=_TEXT, uri=_TEXT),
    {"type": "namespace", "name": "docs", "description": "Docs.", "tools": [_function("find", query=_TEXT)]},
    {
        "type": "custom",
        "name": "apply_patch",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"},
    },
    {"type": "web_search", "external_web_access": False},
]


def _said(role: str, *texts: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text} for text in texts]}


def _thought(text: str) -> dict[str, Any]:
    return {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text}],
        "content": None,
        "encrypted_content": text,
    }


def _called(number: int, name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "function_call", "name": name, "arguments": json.dumps(arguments), "call_id": f"call_{number}"}


def _output(number: int, output: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"call_{number}", "output": output}


_LOG: Final = [
    _said("developer", "<permissions>Write nowhere but here.</permissions>"),
    _said("user", "# AGENTS.md\n\n<INSTRUCTIONS>Be short.</INSTRUCTIONS>"),
    _said("user", "<environment_context>\n  <cwd>/a</cwd>\n</environment_context>"),
    _said("user", "fix the test"),
    _thought("I look at it."),
    _said("assistant", "I read the test."),
    _called(1, "shell", command=["bash", "-lc", "cat test.py"], workdir="/a"),
    _called(2, "docs.find", query="add"),
    _output(
        1, json.dumps({"output": "assert add(1, 2) == 4\n", "metadata": {"exit_code": 0, "duration_seconds": 0.1}})
    ),
    _output(2, "nothing found"),
    _thought("It should be 3."),
    _called(3, "shell", command=["apply_patch", "*** Begin Patch\n*** End Patch\n"]),
    _said("assistant", "I run it."),
    _output(3, "Success."),
    {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}},
    _said("assistant", "Done."),
    _said("user", "Repeat: done"),
]


@pytest.fixture
def agent(server: str) -> Iterator[httpx2.Client]:
    """What the agent calls the server with."""
    with httpx2.Client(base_url=server, headers=_HEADERS, timeout=DEADLINE) as client:
        yield client


def _body(items: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The request of a round: all items so far, with all that goes with them."""
    return {
        "model": "power-tiny",
        "instructions": "You are a coding agent running in a terminal.",
        "input": items,
        "tools": _TOOLS,
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "low"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199a1b2-0000-7000-8000-000000000000",
        "max_output_tokens": 48,
        "temperature": 0,
    } | more


def _round(agent: httpx2.Client, body: dict[str, Any]) -> dict[str, Any]:
    """The final response of a stream whose events all are what the agent goes by: items done, then the end."""
    answer = agent.post("/v1/responses", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream"), answer.text
    frames = [frame.split("\n") for frame in answer.text.split("\n\n")[:-1] if not frame.startswith(":")]
    events = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    first, last = events[0], events[-1]
    assert (first["type"], last["type"]) == ("response.created", "response.completed")
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert last["response"]["output"] == done
    found: dict[str, Any] = last["response"]
    return found


@pytest.mark.parametrize("items", [4, 10, 14, 17])
def test_a_round_of_the_log_is_answered(agent: httpx2.Client, items: int) -> None:
    """Rows 48, 49, 50, 58."""
    response = _round(agent, _body(_LOG[:items]))
    assert response["status"] in ("completed", "incomplete")
    assert response["usage"]["input_tokens"] > 100
    assert response["store"] is False
    assert response["tools_left_out"] == ["custom", "web_search"]
    assert "docs.find" in [tool["name"] for tool in response["tools"]]


def test_the_prompt_of_a_round_is_counted_before_it(agent: httpx2.Client) -> None:
    counts = []
    for items in (4, 10, 14, 17):
        body = _body(_LOG[:items], stream=False)
        counts.append(agent.post("/v1/responses/input_tokens", json=body).json()["input_tokens"])
        assert agent.post("/v1/responses", json=body).json()["usage"]["input_tokens"] == counts[-1]
    # The last round begins a new turn, whose prompt is without what was thought before it.
    assert counts[:3] == sorted(set(counts[:3]))


def test_a_loop_goes_on_from_its_own_answers(agent: httpx2.Client) -> None:
    """Rows 49, 50, 54: thought, call, its output, answer; every item is sent back as it came."""
    weather = _function("get_weather", city=_TEXT)
    items = [_said("user", "What is the weather in Paris?")]
    plain: dict[str, Any] = {"instructions": "", "tools": [weather, _TOOLS[-1]], "reasoning": {"effort": "low"}}
    outputs = {"get_weather": "rain, 5 degrees"}
    said = ""
    for _ in range(3):
        response = _round(agent, _body(items, **plain))
        items += response["output"]
        calls = [item for item in response["output"] if item["type"] == "function_call"]
        if not calls:
            said = response["output"][-1]["content"][0]["text"]
            break
        items += [
            {"type": "function_call_output", "call_id": call["call_id"], "output": outputs[call["name"]]}
            for call in calls
        ]
    assert [item["type"] for item in items if item["type"] != "reasoning"] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert "5 degrees" in said
