"""Harmony's names of tools: what gpt-oss can write of a name, and whose it is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from a3s_power.core.messages import Message, Tool

BUILT_IN: Final = frozenset({"browser.open", "browser.search", "browser.find", "python"})
"""Tools that the model was trained on, by names of their own."""

_JOINERS: Final = re.compile(r"[ .-]")
_FOREIGN: Final = re.compile(r"[^\w$]")


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """Each name with the one that the prompt gives it; no two are given the same."""
    given: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        if name not in given:
            safe = first = name if name in BUILT_IN else _safe(name)
            number = 2
            while safe in taken:
                safe, number = f"{first}_{number}", number + 1
            taken.add(safe)
            given[name] = safe
    return given


def _safe(name: str) -> str:
    plain = _FOREIGN.sub("", _JOINERS.sub("_", name))
    return f"_{plain}" if plain[:1].isdigit() else plain or "unnamed"


def renamed_tools(tools: Sequence[Tool], names: Mapping[str, str]) -> list[Tool]:
    """The tools by their safe names."""
    return [msgspec.structs.replace(tool, name=names[tool.name]) for tool in tools]


def renamed_calls(messages: Sequence[Message], names: Mapping[str, str]) -> list[Message]:
    """The conversation with the calls in it, and their results, by the same names."""
    return [_renamed(message, names) if message.tool_calls or message.tool_name else message for message in messages]


def _renamed(message: Message, names: Mapping[str, str]) -> Message:
    calls = tuple(msgspec.structs.replace(call, name=names.get(call.name, call.name)) for call in message.tool_calls)
    tool_name = names.get(message.tool_name, message.tool_name)
    return msgspec.structs.replace(message, tool_calls=calls, tool_name=tool_name)
