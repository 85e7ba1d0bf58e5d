"""What Ollama's dialect tells of its routes for the description of all; imported only when that is asked for."""

from typing import Any, Final, Literal

import msgspec

from a3s_power.api.ollama.chat import ChatAnswer
from a3s_power.api.ollama.embed import EmbedAnswer
from a3s_power.api.ollama.generate import GenerateAnswer
from a3s_power.api.ollama.models import Tag
from a3s_power.api.ollama.progress import Step
from a3s_power.api.ollama.ps import Process
from a3s_power.api.ollama.show import ShowAnswer
from a3s_power.api.openapi import Dialect, Parameter, Told
from a3s_power.core.options import Options


class Error(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What went wrong. `found` is the name under which a pull may be tried with `consent`."""

    error: str
    found: str = ""


class Version(msgspec.Struct, kw_only=True):
    """The version that clients go by."""

    version: str


class Tags(msgspec.Struct, kw_only=True):
    """The models on disk."""

    models: list[Tag]


class Processes(msgspec.Struct, kw_only=True):
    """The models in memory."""

    models: list[Process]


class Embedding(msgspec.Struct, kw_only=True):
    """The vector of one text."""

    embedding: list[float]


class Cloud(msgspec.Struct, kw_only=True):
    """That there is no cloud, and where that is written."""

    disabled: Literal[True]
    source: Literal["env", "config", "both"]


class CloudStatus(msgspec.Struct, kw_only=True):
    """What there is of the cloud."""

    cloud: Cloud


class Recommendations(msgspec.Struct, kw_only=True):
    """Models to recommend: none."""

    recommendations: list[dict[str, Any]]


_TEXT: Final = {"text/plain": {"type": "string"}}
_BYTES: Final = {"application/octet-stream": {"type": "string", "format": "binary"}}
_DIGEST: Final = (
    Parameter(
        "digest", "path", {"type": "string", "pattern": "^sha256[:-][0-9a-fA-F]{64}$"}, "`sha256:` and 64 hex digits"
    ),
)
_RANGE: Final = Parameter("Range", "header", {"type": "string"}, "One range of bytes, by RFC 9110")
_MODEL: Final = ("model",)
_INFER: Final = (404, 501, 503)
_STORE: Final = (400, 404)
_MOVE: Final = (404, 409, 501, 507)

KEEP_ALIVE: Final[dict[str, Any]] = {
    "anyOf": [{"type": "string", "pattern": r"^-?([0-9]{1,4}(ms|s|m|h))+$"}, {"type": ["number", "null"]}],
    "description": 'How long the model stays: seconds, or a duration like "5m"',
}
_IMAGES: Final = {
    "type": "array",
    "maxItems": 32,
    "items": {"type": "string", "contentEncoding": "base64", "pattern": "^([A-Za-z0-9+/]{4})*$"},
}
_TOP: Final = {"type": "integer", "minimum": 0, "maximum": 20}

ERRORS: Final = (Error,)
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "keep_alive": KEEP_ALIVE,
    "Message.images": _IMAGES,
    "GenerateRequest.images": _IMAGES,
    "ChatRequest.top_logprobs": _TOP,
    "GenerateRequest.top_logprobs": _TOP,
    "think": {"enum": [True, False, "low", "medium", "high", "max", None]},
    "format": {"anyOf": [{"enum": ["", "json", None]}, {"type": "object", "description": "A JSON Schema"}]},
    "tool_choice": {"anyOf": [{"enum": ["auto", "none", "required"]}, {"type": "object"}]},
    "license": {"type": ["string", "array", "null"], "items": {"type": "string"}},
    "EmbedRequest.input": {"type": ["string", "array"], "items": {"type": "string"}},
    "EmbedAnswer.embeddings": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    "TokenAnswer.logprob": {"type": "number"},
    **{
        f"{kind}.options": {"$ref": "core.Options"}
        for kind in ("ChatRequest", "GenerateRequest", "EmbedRequest", "EmbeddingRequest")
    },
}
"""What may stand in a field that is read as anything."""

DIALECT: Final = Dialect(
    "ollama",
    "Ollama's own API, as its clients know it",
    {
        "POST /api/chat": Told((ChatAnswer,), (ChatAnswer,), required=_MODEL, statuses=_INFER),
        "POST /api/generate": Told((GenerateAnswer,), (GenerateAnswer,), required=_MODEL, statuses=_INFER),
        "POST /api/embed": Told((EmbedAnswer,), required=_MODEL, statuses=_INFER),
        "POST /api/embeddings": Told((Embedding,), required=_MODEL, statuses=_INFER),
        "GET /": Told(media=_TEXT),
        "GET /api/version": Told((Version,)),
        "GET /api/tags": Told((Tags,)),
        "GET /api/ps": Told((Processes,)),
        "POST /api/show": Told((ShowAnswer,), required=_MODEL, statuses=_STORE),
        "POST /api/copy": Told(required=("source", "destination"), statuses=_STORE),
        "DELETE /api/delete": Told(required=_MODEL, statuses=_STORE),
        "POST /api/create": Told((Step,), (Step,), required=_MODEL, statuses=_MOVE),
        "POST /api/pull": Told((Step,), (Step,), required=_MODEL, statuses=_MOVE),
        "POST /api/push": Told((Step,), (Step,), required=_MODEL, statuses=_MOVE),
        "HEAD /api/blobs/{digest}": Told(parameters=_DIGEST, statuses=_STORE),
        "POST /api/blobs/{digest}": Told(sent=_BYTES, parameters=_DIGEST, statuses=(400, 507), fine=(200, 201)),
        "GET /api/blobs/{digest}": Told(
            media=_BYTES, parameters=(*_DIGEST, _RANGE), statuses=(400, 416), fine=(200, 206)
        ),
        "DELETE /api/blobs/{digest}": Told(parameters=_DIGEST, statuses=(400, 409)),
        "GET /api/status": Told((CloudStatus,)),
        "GET /api/experimental/model-recommendations": Told((Recommendations,)),
        "POST /api/experimental/web_search": Told(
            sent={"application/json": {}}, fine=(), summary="A search of the cloud, which is refused."
        ),
        "POST /api/experimental/web_fetch": Told(
            sent={"application/json": {}}, fine=(), summary="A page by way of the cloud, which is refused."
        ),
        "POST /api/me": Told(statuses=(503,), fine=()),
        "POST /api/signout": Told(statuses=(401,), fine=()),
        "DELETE /api/user/keys/{key}": Told(statuses=(401,), fine=()),
    },
    ERRORS,
    SHAPES,
    (Options,),
)
