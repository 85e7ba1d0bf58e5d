"""Chat templates in the styles of published models: to the byte what Transformers was recorded to make of them."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from a3s_power.core.errors import BadTemplate
from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.prompt.jinja import JinjaTemplate
from a3s_power.prompt.render import Prompter

GOLDEN: Final = Path(__file__).with_name("golden")
SPECIAL: Final = {"bos_token": "<s>", "eos_token": "</s>"}
_ASK_FOR_NONE: Final = {"deepseek", "llama31", "mistral3"}
"""Styles that want to know whether an answer of calls alone has no content, and are told so by the Prompter."""


def read(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


RECORDED: Final[dict[str, dict[str, dict[str, str]]]] = read("recorded.json")
CONVERSATIONS: Final[dict[str, dict[str, Any]]] = read("conversations.json")
TOOLS: Final[dict[str, Any]] = read("tools.json")
CASES: Final = [(style, name) for style, cases in RECORDED.items() for name in cases]


def source(style: str) -> str:
    return (GOLDEN / f"{style}.jinja").read_text(encoding="utf-8")


def offered(name: str) -> list[Any]:
    return [TOOLS[tool] for tool in CONVERSATIONS[name].get("tools", ())]


def test_enough_styles_are_recorded() -> None:
    assert len(RECORDED) >= 12
    assert set(CONVERSATIONS) == {name for cases in RECORDED.values() for name in cases}


@pytest.mark.parametrize(("style", "name"), CASES)
def test_a_template_gives_what_transformers_gives(style: str, name: str) -> None:
    recorded, case = RECORDED[style][name], CONVERSATIONS[name]
    values = {
        "messages": case["messages"],
        "tools": offered(name) or None,
        "documents": None,
        "add_generation_prompt": True,
        **SPECIAL,
        **case.get("values", {}),
    }
    template = JinjaTemplate(source(style))
    if "prompt" in recorded:
        assert template.render(values) == recorded["prompt"]
    else:
        with pytest.raises(BadTemplate) as refused:
            template.render(values)
        assert recorded.get("refused", "") in refused.value.message


PLAIN: Final = [
    (style, name)
    for style, name in CASES
    if "prompt" in RECORDED[style][name]
    and not CONVERSATIONS[name].get("values")
    and not any(isinstance(turn["content"], list) for turn in CONVERSATIONS[name]["messages"])
    and not (style in _ASK_FOR_NONE and any("tool_calls" in turn for turn in CONVERSATIONS[name]["messages"]))
]


@pytest.mark.parametrize(("style", "name"), PLAIN)
def test_a_conversation_becomes_the_prompt_that_transformers_makes(style: str, name: str) -> None:
    messages = [
        Message(
            role=turn["role"],
            content=turn["content"],
            tool_calls=tuple(
                ToolCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
                for call in turn.get("tool_calls", ())
            ),
            tool_name=turn.get("name", ""),
            tool_call_id=turn.get("tool_call_id", ""),
        )
        for turn in CONVERSATIONS[name]["messages"]
    ]
    tools = [Tool(**tool["function"]) for tool in offered(name)]
    prompter = Prompter(source(style), bos=SPECIAL["bos_token"], eos=SPECIAL["eos_token"])
    # Transformers thinks only when it is told to; here a model that can think does, unless it is told not to.
    think = False if style == "granite" else None
    assert prompter.render(messages, tools=tools, think=think).text == RECORDED[style][name]["prompt"]
