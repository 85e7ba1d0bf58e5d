"""What our own routes tell of themselves for the description of all; imported only when that is asked for."""

from typing import Any, Final, Literal

import msgspec

from a3s_power.api.ollama.described import SHAPES
from a3s_power.api.ollama.described import Error as OllamaError
from a3s_power.api.openai.described import Error as OpenAIError
from a3s_power.api.openapi import Dialect, Parameter, Told
from a3s_power.api.power.rerank import Result
from a3s_power.api.power.tokenize import DetokenizeAnswer, TokenizeAnswer
from a3s_power.core.options import Options


class CohereError(msgspec.Struct, kw_only=True):
    """What went wrong."""

    message: str


class Health(msgspec.Struct, kw_only=True, omit_defaults=True):
    """That the server is well, or what it could do and cannot now."""

    status: Literal["ok", "degraded"]
    version: str
    uptime_seconds: int
    loaded_models: int
    degraded: tuple[str, ...] = ()


class Imported(msgspec.Struct, kw_only=True):
    """The name of the model that was put in."""

    status: Literal["success"]
    model: str


class Rendered(msgspec.Struct, kw_only=True):
    """The prompt that messages become, and its tokens."""

    prompt: str
    count: int


class RerankUsage(msgspec.Struct, kw_only=True):
    """Token counts."""

    prompt_tokens: int
    total_tokens: int


class Reranked(msgspec.Struct, kw_only=True):
    """A ranking, as Jina's clients and Cohere's older ones read it."""

    id: str
    object: Literal["list"]
    model: str
    results: list[Result]
    usage: RerankUsage


class ApiVersion(msgspec.Struct, kw_only=True):
    """Whose version it is."""

    version: str


class Tokens(msgspec.Struct, kw_only=True):
    """Token counts."""

    input_tokens: int


class Meta(msgspec.Struct, kw_only=True):
    """What there is to know of an answer."""

    api_version: ApiVersion
    tokens: Tokens


class RerankedV2(msgspec.Struct, kw_only=True):
    """A ranking, in the shape of the second version of Cohere's API."""

    id: str
    results: list[Result]
    meta: Meta


class RerankedOllama(msgspec.Struct, kw_only=True):
    """A ranking, with times and counts as Ollama tells them."""

    model: str
    results: list[Result]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


_INFER: Final = (404, 501, 503)
_TAR: Final = {"application/x-tar": {"type": "string", "format": "binary"}}
_JSON: Final = {"application/json": {"type": "object"}}
_HTML: Final = {"text/html": {"type": "string"}}
_METRICS: Final = {"text/plain": {"type": "string"}}
_RERANK: Final = ("model", "query", "documents")
_TOKENIZE: Final = Told((TokenizeAnswer,), required=("model", "text|content|messages"), statuses=_INFER)
_DETOKENIZE: Final = Told((DetokenizeAnswer,), required=("model", "tokens"), statuses=_INFER)
_RERANKED: Final = Told((Reranked,), required=_RERANK, statuses=_INFER)
_SHAPES: Final[dict[str, dict[str, Any]]] = SHAPES | {
    "RerankRequest.top_n": {"type": ["integer", "null"], "minimum": 1},
    **{
        f"{kind}.options": {"$ref": "core.Options"}
        for kind in ("TokenizeRequest", "DetokenizeRequest", "TemplateRequest", "RerankRequest")
    },
}

DIALECT: Final = Dialect(
    "power",
    "What is ours, and ranking in the shapes of several APIs",
    {
        "GET /health": Told((Health,)),
        "GET /metrics": Told(media=_METRICS),
        "GET /api/export": Told(
            media=_TAR,
            statuses=(400, 404),
            parameters=(
                Parameter("model", "query", {"type": "string"}, "Which model"),
                Parameter("blobs", "query", {"enum": ["true", "false"]}, "`false` for its manifest only"),
            ),
        ),
        "POST /api/import": Told((Imported,), sent=_TAR, statuses=(404, 507)),
        "POST /api/tokenize": _TOKENIZE,
        "POST /tokenize": _TOKENIZE,
        "POST /api/detokenize": _DETOKENIZE,
        "POST /detokenize": _DETOKENIZE,
        "POST /apply-template": Told((Rendered,), required=("model", "messages"), statuses=_INFER),
        "POST /v1/rerank": _RERANKED,
        "POST /v1/reranking": _RERANKED,
        "POST /rerank": _RERANKED,
        "POST /v2/rerank": Told((RerankedV2,), required=_RERANK, statuses=_INFER),
        "POST /api/rerank": Told((RerankedOllama,), required=_RERANK, statuses=_INFER),
        "GET /openapi.json": Told(media=_JSON),
        "GET /docs": Told(media=_HTML),
    },
    (OllamaError, OpenAIError, CohereError),
    _SHAPES,
    (Options,),
)
