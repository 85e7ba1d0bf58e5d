"""Tools that a request offers, and which of them the model may or must call."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from a3s_power.api.asked import few
from a3s_power.api.openai.errors import WrongField
from a3s_power.core import limits
from a3s_power.core.messages import Tool, ToolChoice

_FORMS: Final = '"none", "auto", "required", a function, or a list of allowed tools'

Chosen = tuple[tuple[Tool, ...], ToolChoice]
"""The tools to tell the model of, and what it may do with them."""


class OfferedFunction(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool is called and takes. `parameters` is a JSON Schema."""

    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of a request."""

    type: str = "function"
    function: OfferedFunction = OfferedFunction()

    def to_domain(self) -> Tool:
        """The tool, its schema just as it was sent."""
        function = self.function
        return Tool(
            name=function.name,
            description=function.description or "",
            parameters=function.parameters or {},
            type=self.type,
        )


def choose(offered: Iterable[Offered], choice: object) -> Chosen:
    """What `tools` and `tool_choice` of a request say together. Raises WrongField and BadRequest."""
    tools = tuple([tool.to_domain() for tool in offered])
    few("tools", len(tools), limits.TOOLS)
    match choice:
        case None | "auto":
            return tools, ToolChoice()
        case "none":
            # A model that must not call any is best not told of any.
            return (), ToolChoice()
        case "required":
            return _required(tools), ToolChoice("required")
        case {"type": "function", "function": {"name": str() as name}}:
            _among(tools, (name,))
            return tools, ToolChoice("required", name)
        case {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list() as allowed},
        }:
            named = _among(tools, tuple(_name(tool) for tool in allowed))
            return named, ToolChoice("required" if mode == "required" else "auto")
    raise WrongField(f"tool_choice must be {_FORMS}", "tool_choice")


def _required(tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
    if not tools:
        raise WrongField("tool_choice asks for a tool, but the request has no tools", "tool_choice")
    return tools


def _among(tools: tuple[Tool, ...], names: tuple[str, ...]) -> tuple[Tool, ...]:
    """The tools of these names."""
    offered = {tool.name for tool in _required(tools)}
    for name in names:
        if name not in offered:
            raise WrongField(f"tool_choice names '{name}', which is not among the tools", "tool_choice")
    return tuple(tool for tool in tools if tool.name in names)


def _name(tool: object) -> str:
    match tool:
        case {"type": "function", "function": {"name": str() as name}} | {"type": "function", "name": str() as name}:
            return name
    raise WrongField("tool_choice allows what is no function", "tool_choice")
