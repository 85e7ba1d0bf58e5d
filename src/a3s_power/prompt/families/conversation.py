"""Conversation: what a named renderer is given, and the questions that several of them ask of it."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from a3s_power.core.messages import Message, Think, Tool
from a3s_power.prompt.conversation import tool_value


class Conversation(msgspec.Struct, frozen=True):
    """Messages, the tools offered, and whether the model shall think."""

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    think: Think = None

    @property
    def begun(self) -> bool:
        """Whether the last message is the beginning of the answer."""
        return bool(self.messages) and self.messages[-1].role == "assistant"

    @property
    def last_user(self) -> int:
        """The place of the last message of the user, -1 without one."""
        return max((at for at, message in enumerate(self.messages) if message.role == "user"), default=-1)

    def tool_values(self) -> list[dict[str, Any]]:
        """The tools as JSON has them."""
        return [tool_value(tool) for tool in self.tools]


def turn(role: str, content: str) -> str:
    """A whole turn of ChatML."""
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


def spaced(value: object) -> str:
    """JSON with a blank behind commas and colons, as Transformers' templates print it."""
    return json.dumps(value, ensure_ascii=False)


def compact(value: object) -> str:
    """JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
