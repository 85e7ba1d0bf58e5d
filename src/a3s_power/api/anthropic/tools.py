"""Tools that a request offers, and which of them the model may or must call."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from a3s_power.api.asked import few
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Tool, ToolChoice

SEARCH: Final = "web_search"
"""The tool that runs at the server, when a request offers it by its type."""

_SEARCH_TOOL: Final = Tool(
    name=SEARCH,
    description="Search the web for what is not known otherwise.",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to search for"}},
        "required": ["query"],
    },
)


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of a request."""

    name: str = ""
    description: str | None = None
    input_schema: Any = None
    type: str | None = None

    @property
    def searches(self) -> bool:
        """Whether it is the server's search of the web."""
        return (self.type or "").startswith(SEARCH)

    def to_domain(self) -> Tool:
        """The tool, its schema just as it was sent. Raises BadRequest for one that is none."""
        return Tool(name=self.name, description=self.description or "", parameters=_schema(self))


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says about calling tools; a type that nobody knows leaves it to the model."""

    type: str = ""
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What must be of a type in the schema of a tool's arguments."""

    type: str | None = None
    properties: dict[str, dict[str, Any] | bool] | None = None
    required: list[str] | None = None


def _schema(tool: Offered) -> dict[str, Any]:
    if tool.input_schema is None:
        return {}
    try:
        msgspec.convert(tool.input_schema, _Schema)
    except msgspec.ValidationError as error:
        raise BadRequest(f'invalid input_schema for tool "{tool.name}": {error}') from None
    found: dict[str, Any] = tool.input_schema
    return found


def tools(offered: Iterable[Offered]) -> tuple[Tool, ...]:
    """The tools to tell the model of. Raises BadRequest.

    The server's search is one function; a tool of the caller's that is called like it gives way.
    """
    whole = tuple(offered)
    few("tools", len(whole), limits.TOOLS)
    searches = any(tool.searches for tool in whole)
    own = tuple([tool.to_domain() for tool in whole if not (searches and (tool.searches or tool.name == SEARCH))])
    return (*own, _SEARCH_TOOL) if searches else own


def choice(chosen: Choice | None, offered: tuple[Tool, ...]) -> ToolChoice:
    """Whether the model may, must or must not call one of `offered`. Raises BadRequest for a tool that is none."""
    if chosen is None or not offered:
        return ToolChoice()
    match chosen.type:
        case "none":
            return ToolChoice("none")
        case "any":
            return ToolChoice("required")
        case "tool":
            if chosen.name and all(tool.name != chosen.name for tool in offered):
                raise BadRequest(f"tool_choice: tool '{chosen.name}' is not among the tools")
            return ToolChoice("required", chosen.name or "")
    return ToolChoice()


def size(offered: Iterable[Offered]) -> int:
    """Bytes of names, descriptions and schemas."""
    return sum(
        len(tool.name.encode())
        + len((tool.description or "").encode())
        + (len(msgspec.json.encode(tool.input_schema)) if tool.input_schema is not None else 0)
        for tool in offered
    )
