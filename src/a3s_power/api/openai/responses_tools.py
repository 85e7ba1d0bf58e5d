"""Tools of a response: functions in their flat form, alone and in namespaces; what only OpenAI runs is left out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from a3s_power.api.openai.errors import WrongField
from a3s_power.api.openai.responses_items import inside
from a3s_power.api.openai.tools import Chosen, Offered, OfferedFunction, choose


class SentTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of a request. `tools` are those of a namespace."""

    type: str = "function"
    name: str = ""
    description: str | None = None
    strict: bool | None = None
    parameters: dict[str, Any] | None = None
    tools: "tuple[SentTool, ...] | None" = None


class Functions(NamedTuple):
    """The functions among the tools of a request, by the names that the model calls them by; and the other types."""

    found: tuple[SentTool, ...]
    left_out: tuple[str, ...]

    def shown(self) -> list[dict[str, Any]]:
        """The functions as an answer repeats them."""
        return [
            {
                "type": tool.type,
                "name": tool.name,
                "description": tool.description,
                "strict": tool.strict,
                "parameters": tool.parameters,
            }
            for tool in self.found
        ]

    def choose(self, choice: object) -> Chosen:
        """What the tools and the `tool_choice` of a request say together. Raises WrongField and BadRequest."""
        return choose(map(_offered, self.found), _nested(choice))


def functions(sent: Sequence[SentTool]) -> Functions:
    """The functions among tools. Agents send tools of OpenAI's beside their own, whoever answers.

    Raises WrongField where there are only such tools, since the caller can want nothing else then.
    """
    flat = list(_flat(sent))
    found = tuple(tool for tool in flat if tool.type == "function")
    left_out = tuple(dict.fromkeys(tool.type for tool in flat if tool.type != "function"))
    if left_out and not found:
        raise WrongField(f"tools of type '{left_out[0]}' are not offered here, only functions are", "tools")
    return Functions(found, left_out)


def _flat(sent: Iterable[SentTool]) -> Iterator[SentTool]:
    for tool in sent:
        if tool.type == "namespace":
            for member in tool.tools or ():
                yield msgspec.structs.replace(member, name=inside(tool.name, member.name))
        else:
            yield tool


def _offered(tool: SentTool) -> Offered:
    function = OfferedFunction(name=tool.name, description=tool.description, parameters=tool.parameters)
    return Offered(function=function)


def _nested(choice: object) -> object:
    """A choice as chats say it, where functions are objects in their own field."""
    match choice:
        case {"type": "function", "name": str() as name}:
            return {"type": "function", "function": {"name": name}}
        case {"type": "allowed_tools", "mode": mode, "tools": tools}:
            return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
    return choice
