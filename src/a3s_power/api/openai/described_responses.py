"""What `/v1/responses` tells of its routes for the description of all; imported only when that is asked for."""

from typing import Any, Final, Literal

import msgspec

from a3s_power.api.openai.described import EFFORT, TOP, ChosenToken, Cut
from a3s_power.api.openapi import Parameter, Told


class OutputText(msgspec.Struct, kw_only=True):
    """What is said."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[ChosenToken]


class SummaryText(msgspec.Struct, kw_only=True):
    """What is thought."""

    type: Literal["summary_text"]
    text: str


Progress = Literal["in_progress", "completed", "incomplete"]


class OutputMessage(msgspec.Struct, kw_only=True):
    """A message of the answer."""

    id: str
    type: Literal["message"]
    status: Progress
    role: Literal["assistant"]
    content: list[OutputText]


class ReasoningItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A thought of the answer."""

    id: str
    type: Literal["reasoning"]
    summary: list[SummaryText]
    encrypted_content: str = ""


class FunctionCall(msgspec.Struct, kw_only=True):
    """A call of a tool."""

    id: str
    type: Literal["function_call"]
    status: Progress
    call_id: str
    name: str
    arguments: str


class InputDetails(msgspec.Struct, kw_only=True):
    """Of the tokens of the prompt, those that had been read before."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(msgspec.Struct, kw_only=True):
    """Of the tokens of the answer, those of thoughts."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Token counts; `context` is there only where something was left out."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputDetails
    output_tokens_details: OutputDetails
    context: Cut | None = None


class ResponseError(msgspec.Struct, kw_only=True):
    """Why a response failed."""

    code: str
    message: str


class IncompleteDetails(msgspec.Struct, kw_only=True):
    """Why a response is not complete."""

    reason: Literal["max_output_tokens"]


class OfferedTool(msgspec.Struct, kw_only=True):
    """A tool of the request."""

    type: str
    name: str
    description: str | None
    strict: bool | None
    parameters: dict[str, Any] | None


class ResponseText(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the answer had to be."""

    format: dict[str, Any]
    verbosity: str = ""


class ReasoningSaid(msgspec.Struct, kw_only=True):
    """How hard the model had to think."""

    effort: str | None
    summary: str | None


class ResponseObject(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Items answered with items; `tools_left_out` are the types of tools that the model was not told of."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    incomplete_details: IncompleteDetails | None
    model: str | None
    previous_response_id: str | None
    instructions: str | None
    output: list[Any]
    error: ResponseError | None
    tools: list[OfferedTool]
    tool_choice: str | dict[str, Any]
    truncation: str
    parallel_tool_calls: bool
    text: ResponseText
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    temperature: float
    reasoning: ReasoningSaid | None
    usage: ResponseUsage | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    store: bool
    background: bool
    service_tier: str
    metadata: dict[str, Any]
    safety_identifier: str | None
    prompt_cache_key: str | None
    tools_left_out: list[str] = []


class _Event(msgspec.Struct, kw_only=True):
    sequence_number: int


class _Placed(_Event, kw_only=True):
    item_id: str
    output_index: int


class ResponseEvent(_Event, kw_only=True):
    """A response begins or ends."""

    type: Literal["response.created", "response.in_progress", "response.completed", "response.failed"]
    response: ResponseObject


class ItemEvent(_Event, kw_only=True):
    """An item begins or ends."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: Any


class PartEvent(_Placed, kw_only=True):
    """A part of a message begins or ends."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    content_index: int
    part: OutputText


class TextDelta(_Placed, kw_only=True):
    """A text grows."""

    type: Literal["response.output_text.delta"]
    content_index: int
    delta: str
    logprobs: list[ChosenToken]


class TextDone(_Placed, kw_only=True):
    """A text ends."""

    type: Literal["response.output_text.done"]
    content_index: int
    text: str
    logprobs: list[ChosenToken]


class ThoughtDelta(_Placed, kw_only=True):
    """A thought grows."""

    type: Literal["response.reasoning_summary_text.delta"]
    summary_index: int
    delta: str


class ThoughtDone(_Placed, kw_only=True):
    """A thought ends."""

    type: Literal["response.reasoning_summary_text.done"]
    summary_index: int
    text: str


class ArgumentsDelta(_Placed, kw_only=True):
    """The arguments of a call grow."""

    type: Literal["response.function_call_arguments.delta"]
    delta: str


class ArgumentsDone(_Placed, kw_only=True):
    """The arguments of a call end."""

    type: Literal["response.function_call_arguments.done"]
    arguments: str


class ErrorEvent(_Event, kw_only=True):
    """What went wrong in mid-stream."""

    type: Literal["error"]
    code: str
    message: str
    param: str | None


class InputTokens(msgspec.Struct, kw_only=True):
    """The tokens of a prompt."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class Deleted(msgspec.Struct, kw_only=True):
    """That a response is kept no longer."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItems(msgspec.Struct, kw_only=True):
    """A page of what a kept response was made from."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


_ITEMS: Final = (OutputMessage, ReasoningItem, FunctionCall)
_ITEM: Final = {"anyOf": [{"$ref": f"openai.{kind.__name__}"} for kind in _ITEMS]}
_EVENTS: Final = (
    ResponseEvent,
    ItemEvent,
    PartEvent,
    TextDelta,
    TextDone,
    ThoughtDelta,
    ThoughtDone,
    ArgumentsDelta,
    ArgumentsDone,
    ErrorEvent,
)


def _given(kind: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """An item of a request."""
    return {"type": "object", "required": ["type", *fields], "properties": {"type": {"const": kind}, **fields}}


_STRING: Final = {"type": "string"}
_ARGUMENTS: Final = {"type": "string", "contentMediaType": "application/json", "description": "An object"}
_CONTENT: Final = {
    "anyOf": [
        _STRING,
        {
            "type": "array",
            "items": {"anyOf": [_given(kind, text=_STRING) for kind in ("input_text", "output_text")]},
        },
    ]
}
_GIVEN: Final = (
    _given("message", role={"enum": ["user", "assistant", "system", "developer"]}, content=_CONTENT),
    _given("function_call", call_id=_STRING, name=_STRING, arguments=_ARGUMENTS),
    _given("function_call_output", call_id=_STRING, output=_CONTENT),
    _given("reasoning", summary={"type": "array", "items": _given("summary_text", text=_STRING)}),
)
_INFER: Final = (404, 501, 503)
_PAGES: Final = (
    Parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 100}, "Items of a page"),
    Parameter("order", "query", {"enum": ["desc", "asc"]}, "Latest or earliest first"),
    Parameter("after", "query", {"type": "string"}, "The id of the last item of the page before"),
)

MORE: Final = _ITEMS
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "ResponsesRequest.input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"anyOf": list(_GIVEN)}}]},
    "ResponsesRequest.top_logprobs": TOP,
    "ResponsesRequest.truncation": {"enum": ["auto", "disabled", None]},
    "ResponsesRequest.n": {"enum": [1, None]},
    "ReasoningAsked.effort": EFFORT,
    "SentTool.type": {"enum": ["function", "namespace"]},
    # Taken only so that they can be refused in words.
    "ResponsesRequest.prompt": {"type": "null"},
    "conversation": {"type": "null"},
    "ResponsesRequest.background": {"enum": [False, None]},
    "ResponseObject.output": {"type": "array", "items": _ITEM},
    "ItemEvent.item": _ITEM,
}
ROUTES: Final[dict[str, Told]] = {
    "POST /v1/responses": Told((ResponseObject,), _EVENTS, required=("model", "input"), statuses=_INFER),
    "POST /v1/responses/input_tokens": Told((InputTokens,), required=("model", "input"), statuses=_INFER),
    "GET /v1/responses/{response}": Told((ResponseObject,), statuses=(400, 404)),
    "DELETE /v1/responses/{response}": Told((Deleted,), statuses=(404,)),
    "GET /v1/responses/{response}/input_items": Told((InputItems,), statuses=(400, 404), parameters=_PAGES),
}
