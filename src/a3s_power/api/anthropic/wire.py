"""The bodies of `/v1/messages` and `/v1/messages/count_tokens`, and the chat they ask for."""

from typing import Any, Final

import msgspec

from a3s_power.api.anthropic import blocks, tools
from a3s_power.api.anthropic.answers import NoThreads
from a3s_power.api.anthropic.blocks import Turn
from a3s_power.api.anthropic.tools import Choice, Offered
from a3s_power.api.asked import local_name, options, stays
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Format, Message, Think, ToolChoice
from a3s_power.core.options import Asked
from a3s_power.core.requests import Chat
from a3s_power.log import get_logger

_log: Final = get_logger(__name__)

_EFFORTS: Final[dict[str, Think]] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "max",
}


class SystemText(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the system prompt."""

    text: str | None = None


class Thought(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the model shall think. How long is its own to say: the budget is taken and told of in the log."""

    type: str = ""
    budget_tokens: int | None = None


class OutputConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How hard the model shall try, and the form of its answer."""

    effort: Any = None
    format: Any = None


class CountRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted: all that becomes part of the prompt. Unknown fields are ignored, and `null` is as absent."""

    model: str | None = None
    messages: tuple[Turn, ...] | None = None
    system: str | tuple[SystemText, ...] | None = None
    tools: tuple[Offered, ...] | None = None
    tool_choice: Choice | None = None
    thinking: Thought | None = None
    output_config: OutputConfig | None = None
    options: dict[str, Any] | None = None
    num_ctx: int | None = None
    keep_alive: Any = None

    def to_domain(self) -> Chat:
        """The prompt to be rendered. Raises BadRequest and NotAllowed, in the order of the fields."""
        return self._chat(self._model(), self.options or {}, render_only=True)

    @property
    def system_text(self) -> str:
        """The system prompt in one piece."""
        if isinstance(self.system, str):
            return self.system
        return "".join(piece.text or "" for piece in self.system or ())

    @property
    def searches(self) -> bool:
        """Whether the model may search the web at the server."""
        return any(tool.searches for tool in self.tools or ())

    def estimate(self) -> int:
        """About how many tokens the prompt will have, for what must be said before anybody has counted."""
        turns = self.messages or ()
        bytes_ = len(self.system_text.encode()) + blocks.size(turns) + tools.size(self.tools or ())
        return max(bytes_ // 4, 1)

    def _model(self) -> str:
        if not self.model:
            raise BadRequest("model is required")
        return self.model

    def _chat(self, shown: str, asked: dict[str, Any], *, render_only: bool) -> Chat:
        if not self.messages:
            raise BadRequest("messages is required")
        system = (Message(role="system", content=self.system_text),) if self.system_text else ()
        messages = (*system, *blocks.conversation(self.messages))
        if not messages:
            raise BadRequest("messages have no content")
        offered = tools.tools(self.tools or ())
        chosen = tools.choice(self.tool_choice, offered)
        return Chat(
            model=local_name(shown),
            shown=shown,
            messages=messages,
            # A model that must not call any is best not told of any.
            tools=() if chosen.mode == "none" else offered,
            tool_choice=ToolChoice() if chosen.mode == "none" else chosen,
            parallel_tool_calls=not (self.tool_choice and self.tool_choice.disable_parallel_tool_use),
            think=self._think(),
            think_if_able=True,
            format=self._format(),
            asked=self._asked(asked),
            keep_alive=stays(self.keep_alive),
            render_only=render_only,
        )

    def _asked(self, asked: dict[str, Any]) -> Asked:
        return options(asked if self.num_ctx is None else asked | {"num_ctx": self.num_ctx})

    def _think(self) -> Think:
        match self.thinking.type if self.thinking else "":
            case "enabled":
                if self.thinking and self.thinking.budget_tokens is not None:
                    _log.debug("a budget for thinking is not kept", tokens=self.thinking.budget_tokens)
                return True
            case "disabled":
                return False
        effort = self.output_config.effort if self.output_config else None
        return _EFFORTS.get(effort.strip().lower()) if isinstance(effort, str) else None

    def _format(self) -> Format:
        wanted = self.output_config.format if self.output_config else None
        match wanted:
            case {"type": "json_schema", "schema": dict() as schema}:
                return schema
            case None | {"type": "text"}:
                return None
        raise BadRequest("output_config.format must be of type json_schema, with a schema")


class MessagesRequest(CountRequest, frozen=True, kw_only=True):
    """The body of messages. `options`, `num_ctx` and `keep_alive` are ours."""

    max_tokens: int | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: tuple[str, ...] | None = None
    thread: Any = None

    def to_domain(self) -> Chat:
        """What is asked for. Raises BadRequest and NotAllowed, in the reference's order."""
        shown = self._model()
        if self.max_tokens is None or self.max_tokens <= 0:
            raise BadRequest("max_tokens is required and must be positive")
        if self.thread is not None:
            raise NoThreads
        said = {
            "num_predict": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "stop": self.stop_sequences or None,
        }
        asked = (self.options or {}) | {name: value for name, value in said.items() if value is not None}
        return self._chat(shown, asked, render_only=False)
