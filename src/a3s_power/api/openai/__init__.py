"""OpenAI's dialect: the table of its routes under `/v1`."""

from typing import Final

import msgspec

from a3s_power.api import sse
from a3s_power.api.endpoint import Endpoint, Handler
from a3s_power.api.openai.chat import ChatRequest, chat
from a3s_power.api.openai.completions import CompletionRequest, completions
from a3s_power.api.openai.embeddings import EmbeddingsRequest, embeddings
from a3s_power.api.openai.errors import no_route, refusal
from a3s_power.api.openai.images import images
from a3s_power.api.openai.models import list_models, show_model
from a3s_power.api.openai.responses import input_tokens, responses
from a3s_power.api.openai.responses_kept import delete, input_items, retrieve
from a3s_power.api.openai.responses_wire import ResponsesRequest
from a3s_power.api.openai.transcriptions import transcriptions

__all__ = ["ENDPOINTS", "MODELS", "no_route"]


def _infer(
    path: str, handler: Handler, body: type[msgspec.Struct] | None = None, stream: str | None = None
) -> Endpoint:
    return Endpoint(("POST",), path, "infer", handler, refusal, body, stream)


ENDPOINTS: Final = (
    _infer("/v1/chat/completions", chat, ChatRequest, sse.MEDIA_TYPE),
    _infer("/v1/completions", completions, CompletionRequest, sse.MEDIA_TYPE),
    _infer("/v1/embeddings", embeddings, EmbeddingsRequest),
    _infer("/v1/responses", responses, ResponsesRequest, sse.MEDIA_TYPE),
    _infer("/v1/responses/input_tokens", input_tokens, ResponsesRequest),
    Endpoint(("GET",), "/v1/responses/{response}", "infer", retrieve, refusal),
    Endpoint(("DELETE",), "/v1/responses/{response}", "infer", delete, refusal),
    Endpoint(("GET",), "/v1/responses/{response}/input_items", "infer", input_items, refusal),
    _infer("/v1/audio/transcriptions", transcriptions),
    _infer("/v1/images/{work}", images),
)

MODELS: Final = (
    Endpoint(("GET",), "/v1/models", "read", list_models, refusal),
    Endpoint(("GET",), "/v1/models/{model:path}", "read", show_model, refusal),
)
"""Paths that another dialect has, too: these answer whoever does not ask in its way."""
