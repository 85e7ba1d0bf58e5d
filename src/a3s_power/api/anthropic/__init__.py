"""Anthropic's dialect: the table of its routes under `/v1`."""

from typing import Final

from a3s_power.api import sse
from a3s_power.api.anthropic.answers import refusal
from a3s_power.api.anthropic.messages import count_tokens, messages
from a3s_power.api.anthropic.models import list_models, show_model
from a3s_power.api.anthropic.wire import CountRequest, MessagesRequest
from a3s_power.api.endpoint import Endpoint

ENDPOINTS: Final = (
    Endpoint(("POST",), "/v1/messages", "infer", messages, refusal, MessagesRequest, sse.MEDIA_TYPE),
    Endpoint(("POST",), "/v1/messages/count_tokens", "infer", count_tokens, refusal, CountRequest),
)

HEADER: Final = "anthropic-version"
"""What its clients send with every request, and nobody else's."""

MODELS: Final = (
    Endpoint(("GET",), "/v1/models", "read", list_models, refusal),
    Endpoint(("GET",), "/v1/models/{model}", "read", show_model, refusal),
)
"""Paths that another dialect has, too: these answer requests with the header."""
