"""What OpenAI's dialect tells of its routes for the description of all; imported only when that is asked for."""

from typing import Any, Final, Literal

import msgspec

from a3s_power.api.openapi import Parameter, Told
from a3s_power.api.waiting import Waits


class ErrorDetail(msgspec.Struct, kw_only=True):
    """What went wrong, and in which field."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(msgspec.Struct, kw_only=True):
    """An error, before an answer and as the last event of a stream."""

    error: ErrorDetail


class Function(msgspec.Struct, kw_only=True):
    """A function and its arguments, a JSON object as a text."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, kw_only=True):
    """A call of a tool."""

    id: str
    index: int
    type: Literal["function"]
    function: Function


class Token(msgspec.Struct, kw_only=True):
    """A token that was possible."""

    token: str
    logprob: float
    bytes: list[int]


class ChosenToken(Token, kw_only=True):
    """A token, and those that were possible in its place."""

    top_logprobs: list[Token]


class Logprobs(msgspec.Struct, kw_only=True):
    """The log-probabilities of the tokens."""

    content: list[ChosenToken]


class PromptDetails(msgspec.Struct, kw_only=True):
    """How many tokens of the prompt had been read before."""

    cached_tokens: int


class CompletionDetails(msgspec.Struct, kw_only=True):
    """Tokens that were guessed ahead: those that were right, and those that were wrong."""

    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class Cut(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What of the conversation was left out; `shifted` where the context became full while the model answered."""

    truncated_messages: int
    truncated_tokens: int
    shifted: bool = False


class Usage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Token counts; `context` is there only where something was left out, the details only where text was guessed."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails | None = None
    context: Cut | None = None


class DebugInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The prompt of a request that asked for no more than that."""

    rendered_template: str
    image_count: int = 0


class Message(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The message of an answer; `reasoning` is what was thought."""

    role: str
    content: str
    reasoning: str = ""
    tool_calls: list[ToolCall] = []


class Delta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a message grows by."""

    role: str = ""
    content: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = []


Reason = Literal["stop", "length", "tool_calls"]


class Choice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One of the answers."""

    index: int
    message: Message
    finish_reason: Reason | None
    logprobs: Logprobs | None = None


class ChunkChoice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A piece of one of the answers."""

    index: int
    delta: Delta
    finish_reason: Reason | None
    logprobs: Logprobs | None = None


class _Head(msgspec.Struct, kw_only=True):
    id: str
    created: int
    model: str
    system_fingerprint: str


class ChatCompletion(_Head, kw_only=True, omit_defaults=True):
    """A conversation answered."""

    object: Literal["chat.completion"]
    choices: list[Choice]
    usage: Usage
    debug_info: DebugInfo | None = msgspec.field(default=None, name="_debug_info")


class ChatCompletionChunk(_Head, kw_only=True, omit_defaults=True):
    """A piece of it; the last thing in a stream is `[DONE]`."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChunkChoice]
    usage: Usage | None = None
    context: Cut | None = None
    progress: Waits | None = None


class TextLogprobs(msgspec.Struct, kw_only=True):
    """The log-probabilities of a completion, list by list."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One of the completions, or a piece of it."""

    text: str
    index: int
    finish_reason: Literal["stop", "length"] | None
    logprobs: TextLogprobs | None = None


class Completion(_Head, kw_only=True, omit_defaults=True):
    """Prompts gone on with, or a piece of that."""

    object: Literal["text_completion"]
    choices: list[TextChoice]
    usage: Usage | None = None
    context: Cut | None = None
    progress: Waits | None = None
    debug_info: DebugInfo | None = msgspec.field(default=None, name="_debug_info")


class Embedding(msgspec.Struct, kw_only=True):
    """A vector, as numbers or as 32-bit floats in base64."""

    object: Literal["embedding"]
    embedding: list[float] | str
    index: int


class EmbeddingUsage(msgspec.Struct, kw_only=True):
    """Token counts."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Vectors of texts; `truncated` are the places of those that lost their ends."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    truncated: tuple[int, ...] = ()


class Model(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A model. `context_length` is what a request may use, told once it is in memory; the other what it can have."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_context_length: int = 0
    context_length: int = 0


class Models(msgspec.Struct, kw_only=True):
    """The models on disk."""

    object: Literal["list"]
    data: list[Model]


class Transcription(msgspec.Struct, kw_only=True):
    """The words of a recording."""

    text: str


def _part(kind: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """A part of a message's content."""
    return {"type": "object", "required": ["type", *fields], "properties": {"type": {"const": kind}, **fields}}


_INFER: Final = (404, 501, 503)
_NUMBER: Final = {"type": ["number", "null"]}
_INTEGER: Final = {"type": ["integer", "null"]}
_TEXT_OR_TEXTS: Final = {"type": ["string", "array", "null"], "items": {"type": "string"}}
_TOKENS: Final = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_TEXTS_OR_TOKENS: Final = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        _TOKENS,
        {"type": "array", "items": _TOKENS, "minItems": 1},
    ]
}
_DATA_URL: Final = {"type": "string", "pattern": "^data:image/(png|jpeg|webp);base64,([A-Za-z0-9+/]{4})*$"}
_PARTS: Final = {
    "type": "array",
    "items": {
        "anyOf": [
            _part("text", text={"type": "string"}),
            _part("image_url", image_url={"type": "object", "required": ["url"], "properties": {"url": _DATA_URL}}),
            _part(
                "input_audio",
                input_audio={"type": "object", "required": ["data"], "properties": {"data": {"type": "string"}}},
            ),
        ]
    },
}
EFFORT: Final[dict[str, Any]] = {"enum": ["none", "minimal", "low", "medium", "high", "xhigh", "ultra", "max", None]}
_CHOICES: Final = {"type": ["integer", "null"], "minimum": 1, "maximum": 64}
TOP: Final[dict[str, Any]] = {"type": ["integer", "null"], "minimum": 0, "maximum": 20}

ERRORS: Final = (Error,)
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "stop": _TEXT_OR_TEXTS,
    "prompt": _TEXTS_OR_TOKENS,
    "EmbeddingsRequest.input": _TEXTS_OR_TOKENS,
    "logit_bias": {
        "type": ["object", "null"],
        "propertyNames": {"pattern": "^[0-9]{1,6}$"},
        "additionalProperties": {"type": "number"},
    },
    "EmbeddingsRequest.encoding_format": {"enum": ["float", "base64", None]},
    "ChatRequest.reasoning_effort": EFFORT,
    "Reasoning.effort": EFFORT,
    "ChatRequest.top_logprobs": TOP,
    "CompletionRequest.logprobs": TOP,
    "ChatRequest.n": _CHOICES,
    "CompletionRequest.n": _CHOICES,
    "SentFunction.arguments": {"type": "string", "contentMediaType": "application/json", "description": "An object"},
    "keep_alive": {
        "anyOf": [{"type": "string", "pattern": r"^-?([0-9]{1,4}(ms|s|m|h))+$"}, {"type": ["number", "null"]}]
    },
    "think": {"enum": [True, False, "low", "medium", "high", "max", None]},
    "Turn": {"anyOf": [{"required": ["role", "content"]}, {"required": ["role", "tool_calls"]}]},
    "Turn.content": {"anyOf": [{"type": "string"}, _PARTS]},
    "tool_choice": {"anyOf": [{"enum": ["none", "auto", "required", None]}, {"type": "object"}]},
    "schema": {"type": "object", "description": "A JSON Schema"},
    "dry_sequence_breakers": {"type": ["array", "null"], "items": {"type": "string"}},
    "samplers": {"type": ["array", "null"], "items": {"type": "string"}},
    "ignore_eos": {"type": ["boolean", "null"]},
    **dict.fromkeys(
        ("num_keep", "num_predict", "top_k", "repeat_last_n", "mirostat", "dry_allowed_length", "dry_penalty_last_n"),
        _INTEGER,
    ),
    "min_keep": _INTEGER,
    **dict.fromkeys(
        (
            "min_p",
            "typical_p",
            "repeat_penalty",
            "mirostat_tau",
            "mirostat_eta",
            "dry_multiplier",
            "dry_base",
            "xtc_probability",
            "xtc_threshold",
            "top_n_sigma",
            "dynatemp_range",
            "dynatemp_exponent",
            "adaptive_target",
            "adaptive_decay",
        ),
        _NUMBER,
    ),
}

_FORM: Final = {
    "type": "object",
    "required": ["model", "file"],
    "properties": {
        "model": {"type": "string"},
        "file": {"type": "string", "format": "binary"},
        "language": {"type": "string"},
        "prompt": {"type": "string"},
        "response_format": {"type": "string"},
        "temperature": {"type": "string"},
    },
}
_NAME: Final = (Parameter("model", "path", {"type": "string", "minLength": 1}, "A name, slashes and all"),)

ROUTES: Final[dict[str, Told]] = {
    "POST /v1/chat/completions": Told(
        (ChatCompletion,), (ChatCompletionChunk,), required=("model", "messages"), statuses=_INFER, last="[DONE]"
    ),
    "POST /v1/completions": Told((Completion,), (Completion,), required=("model",), statuses=_INFER, last="[DONE]"),
    "POST /v1/embeddings": Told((Embeddings,), required=("model", "input"), statuses=_INFER),
    "POST /v1/audio/transcriptions": Told(
        (Transcription,),
        media={"text/plain": {"type": "string"}},
        sent={"multipart/form-data": _FORM},
        statuses=_INFER,
    ),
    "POST /v1/images/{work}": Told(statuses=(501,), fine=(), summary="Pictures, which no model here makes: a refusal."),
}

LIST_MODELS: Final = Told((Models,))
SHOW_MODEL: Final = Told((Model,), parameters=_NAME, statuses=(400, 404))
"""Of the paths that another dialect has, too."""
