"""What Anthropic's dialect tells of its routes for the description of all; imported only when that is asked for."""

from typing import Any, Final, Literal

import msgspec

from a3s_power.api.openapi import Dialect, Parameter, Told


class ErrorDetails(msgspec.Struct, kw_only=True):
    """By which clients know what to do about it."""

    error_code: str


class ErrorDetail(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What went wrong."""

    type: str
    message: str
    details: ErrorDetails | None = None


class Error(msgspec.Struct, kw_only=True):
    """An error, before an answer and as the last event of a stream."""

    type: Literal["error"]
    error: ErrorDetail
    request_id: str


class TextBlock(msgspec.Struct, kw_only=True):
    """What is said."""

    type: Literal["text"]
    text: str


class ThinkingBlock(msgspec.Struct, kw_only=True):
    """What is thought."""

    type: Literal["thinking"]
    thinking: str
    signature: str


class ToolUseBlock(msgspec.Struct, kw_only=True):
    """A call of a tool: the caller's, or one that the server carries out itself."""

    type: Literal["tool_use", "server_tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class SearchError(msgspec.Struct, kw_only=True):
    """Why a search found nothing."""

    type: Literal["web_search_tool_result_error"]
    error_code: str


class SearchResultBlock(msgspec.Struct, kw_only=True):
    """What a search of the server's found."""

    type: Literal["web_search_tool_result"]
    tool_use_id: str
    content: SearchError


class Cut(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What of the conversation was left out; `shifted` where the context became full while the model answered."""

    truncated_messages: int
    truncated_tokens: int
    shifted: bool = False


class Usage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Token counts; those read from a cache are counted apart. `context` is there only where something was left out."""

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    context: Cut | None = None


Reason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class Message(msgspec.Struct, kw_only=True):
    """A conversation answered."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[Any]
    stop_reason: Reason | None
    stop_sequence: str | None
    usage: Usage


class MessageStart(msgspec.Struct, kw_only=True):
    """A message begins."""

    type: Literal["message_start"]
    message: Message


class Ping(msgspec.Struct, kw_only=True):
    """A sign of life."""

    type: Literal["ping"]


class BlockStart(msgspec.Struct, kw_only=True):
    """A block begins."""

    type: Literal["content_block_start"]
    index: int
    content_block: Any


class Delta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a block grows by: one of the fields, as its type says."""

    type: Literal["text_delta", "thinking_delta", "signature_delta", "input_json_delta"]
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""


class BlockDelta(msgspec.Struct, kw_only=True):
    """A block grows."""

    type: Literal["content_block_delta"]
    index: int
    delta: Delta


class BlockStop(msgspec.Struct, kw_only=True):
    """A block ends."""

    type: Literal["content_block_stop"]
    index: int


class Ended(msgspec.Struct, kw_only=True):
    """Why a message ended."""

    stop_reason: Reason
    stop_sequence: str | None


class MessageDelta(msgspec.Struct, kw_only=True):
    """A message's end, with its counts."""

    type: Literal["message_delta"]
    delta: Ended
    usage: Usage


class MessageStop(msgspec.Struct, kw_only=True):
    """The stream's end."""

    type: Literal["message_stop"]


class Count(msgspec.Struct, kw_only=True):
    """The tokens of a prompt."""

    input_tokens: int


class Model(msgspec.Struct, kw_only=True):
    """A model."""

    id: str
    type: Literal["model"]
    display_name: str
    created_at: str


class Models(msgspec.Struct, kw_only=True):
    """Some of the models on disk."""

    data: list[Model]
    has_more: bool
    first_id: str | None
    last_id: str | None


_BLOCKS: Final = (TextBlock, ThinkingBlock, ToolUseBlock, SearchResultBlock)
_EVENTS: Final = (MessageStart, Ping, BlockStart, BlockDelta, BlockStop, MessageDelta, MessageStop)
_BLOCK: Final = {"anyOf": [{"$ref": f"anthropic.{kind.__name__}"} for kind in _BLOCKS]}

_TEXT: Final = {"type": "string"}
_NAME: Final = {"type": "string", "minLength": 1}
_FILE: Final = {
    "type": "object",
    "required": ["type", "data"],
    "properties": {
        "type": {"const": "base64"},
        "data": {"type": "string", "contentEncoding": "base64", "pattern": "^([A-Za-z0-9+/]{4})*$"},
    },
}


def _given(kind: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """A block of a request."""
    return {"required": ["type", *fields], "properties": {"type": {"const": kind}, **fields}}


_CALL: Final[dict[str, dict[str, Any]]] = {"id": _NAME, "name": _NAME, "input": {"type": "object"}}
_GIVEN: Final = [
    _given("text", text=_TEXT),
    _given("image", source=_FILE),
    _given("thinking", thinking=_TEXT),
    _given("tool_use", **_CALL),
    _given("server_tool_use", **_CALL),
    _given("tool_result", tool_use_id=_TEXT),
    _given("web_search_tool_result", tool_use_id=_TEXT),
    _given("document", source={"type": "object"}),
]

ERRORS: Final = (Error,)
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "Message.content": {"type": "array", "items": _BLOCK},
    "Turn.role": {"enum": ["user", "assistant"]},
    "Turn.content": {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "minItems": 1, "items": {"$ref": "anthropic.Block"}},
        ]
    },
    "Turn": {"required": ["role", "content"]},
    "Block": {"anyOf": _GIVEN},
    "MessagesRequest.max_tokens": {"type": "integer", "minimum": 1},
    "content_block": _BLOCK,
    "source": {"type": "object", "properties": {"type": {"type": "string"}, "data": {"type": "string"}}},
    "input": {"type": ["object", "null"]},
    "Block.content": {"type": ["string", "array", "object", "null"], "items": {"$ref": "anthropic.Block"}},
    "input_schema": {"type": ["object", "null"], "description": "A JSON Schema"},
    "thread": {"type": "null", "description": "Taken only so that it can be refused in words"},
    "effort": {"enum": ["low", "medium", "high", "xhigh", "max", None]},
    "OutputConfig.format": {
        "type": ["object", "null"],
        "properties": {"type": {"enum": ["json_schema", "text"]}, "schema": {"type": "object"}},
    },
    "keep_alive": {
        "anyOf": [{"type": "string", "pattern": r"^-?([0-9]{1,4}(ms|s|m|h))+$"}, {"type": ["number", "null"]}]
    },
}

DIALECT: Final = Dialect(
    "anthropic",
    "Anthropic's API",
    {
        "POST /v1/messages": Told(
            (Message,), _EVENTS, required=("model", "max_tokens", "messages"), statuses=(404, 501, 503)
        ),
        "POST /v1/messages/count_tokens": Told((Count,), required=("model", "messages"), statuses=(404, 501, 503)),
    },
    ERRORS,
    SHAPES,
    _BLOCKS,
)

LIST_MODELS: Final = Told(
    (Models,),
    statuses=(400,),
    parameters=(
        Parameter("anthropic-version", "header", {"type": "string"}, "With it the answer is Anthropic's"),
        Parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000}, "Of Anthropic's answer"),
        Parameter("after_id", "query", {"type": "string"}, "Of Anthropic's answer"),
        Parameter("before_id", "query", {"type": "string"}, "Of Anthropic's answer"),
    ),
)
SHOW_MODEL: Final = Told(
    (Model,),
    statuses=(400, 404),
    parameters=(Parameter("anthropic-version", "header", {"type": "string"}, "With it the answer is Anthropic's"),),
)
"""Of the paths that another dialect has, too."""
