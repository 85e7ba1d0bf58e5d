"""The body of `/v1/responses`: the chat it asks for, and the response that it begins."""

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec

from a3s_power.api.asked import local_name
from a3s_power.api.openai.errors import WrongField
from a3s_power.api.openai.responses_items import Item, conversation
from a3s_power.api.openai.responses_tools import SentTool, functions
from a3s_power.api.openai.wire import Sampled, effort, stops, thinks, top_logprobs
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Format, Think
from a3s_power.core.requests import Chat

_LOGPROBS: Final = "message.output_text.logprobs"
_NOT_HERE: Final = {
    "background": "responses are not made in the background here: leave background out",
    "conversation": "conversations are not kept here: send the items, or previous_response_id",
    "prompt": "prompts are not kept here: send instructions and input",
}
"""Fields that would change the answer, and that nothing here can follow."""


class ReasoningAsked(msgspec.Struct, frozen=True, kw_only=True):
    """How hard the model shall think. It is always told what it thought, whichever summary is asked for."""

    effort: str | None = None
    summary: str | None = None


class TextAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer must be. `verbosity` is up to the model."""

    format: dict[str, Any] | None = None
    verbosity: str | None = None


class ResponsesRequest(Sampled, frozen=True, kw_only=True):
    """The body."""

    stated: ClassVar[dict[str, Any]] = {"temperature": 1.0}

    input: Any = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    text: TextAsked | None = None
    reasoning: ReasoningAsked | None = None
    tools: tuple[SentTool, ...] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: int | None = None
    top_logprobs: int | None = None
    truncation: str | None = None
    include: tuple[str, ...] | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    def to_domain(self, items: Sequence[object]) -> Chat:
        """What is asked for; `items` are all that the conversation is made of. Raises BadRequest and NotAllowed."""
        self._refuse()
        messages = conversation(items, self.instructions or "")
        tools, choice = functions(self.tools or ()).choose(self.tool_choice)
        form = _form(self.text.format if self.text else None)
        most = self.most if self.max_output_tokens is None else self.max_output_tokens
        shared = self.shared(
            {"num_predict": most, "stop": stops(self.stop)}, formed=form is not None or choice.mode == "required"
        )
        think, wanted = self._think(), top_logprobs(self.top_logprobs or 0)
        if not (self.model or "").strip():
            raise BadRequest("model is required")
        return Chat(
            model=local_name(self.model or ""),
            messages=messages,
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=self.parallel_tool_calls is not False,
            format=form,
            think=think,
            truncate=self.truncation != "disabled",
            top_logprobs=wanted if wanted or _LOGPROBS in (self.include or ()) else None,
            **shared,
        )

    def _refuse(self) -> None:
        for field, why in _NOT_HERE.items():
            if getattr(self, field):
                raise WrongField(why, field)
        if self.truncation not in (None, "auto", "disabled"):
            raise WrongField('truncation must be "auto" or "disabled"', "truncation")
        if self.wanted != 1:
            raise WrongField("a response is one answer: n must be 1", "n")

    def _think(self) -> Think:
        if self.think is not None:
            return thinks(self.think)
        return effort((self.reasoning.effort if self.reasoning else None) or "")

    def begun(self, number: str) -> Item:
        """The response as it is before anything was said. `number` is what its id and its items' ids have in common.

        Beside OpenAI's fields it has `tools_left_out`, the types of tools that the model is not told of, if any.
        """
        offered = functions(self.tools or ())
        left_out = {"tools_left_out": offered.left_out} if offered.left_out else {}
        text = self.text or TextAsked()
        return {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": int(time.time()),
            "completed_at": None,
            "status": "in_progress",
            "incomplete_details": None,
            "model": self.model,
            "previous_response_id": self.previous_response_id,
            "instructions": self.instructions,
            "output": [],
            "error": None,
            "tools": offered.shown(),
            "tool_choice": "auto" if self.tool_choice is None else self.tool_choice,
            "truncation": self.truncation or "disabled",
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "text": {"format": text.format or {"type": "text"}}
            | ({"verbosity": text.verbosity} if text.verbosity else {}),
            "top_p": 1 if self.top_p is None else self.top_p,
            "presence_penalty": self.presence_penalty or 0,
            "frequency_penalty": self.frequency_penalty or 0,
            "top_logprobs": self.top_logprobs or 0,
            "temperature": 1 if self.temperature is None else self.temperature,
            "reasoning": self.reasoning,
            "usage": None,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "store": False,
            "background": False,
            "service_tier": "default",
            "metadata": self.metadata or {},
            "safety_identifier": self.safety_identifier,
            "prompt_cache_key": self.prompt_cache_key,
            **left_out,
        }


def _form(wanted: dict[str, Any] | None) -> Format:
    match (wanted or {}).get("type"):
        case "json_object":
            return "json"
        case "json_schema":
            schema = (wanted or {}).get("schema")
            if not isinstance(schema, dict):
                raise WrongField("text.format json_schema has no schema", "text.format.schema")
            return schema
    return None
