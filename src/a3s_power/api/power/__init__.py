"""Routes of our own, beside those of the dialects."""

from typing import Final

from a3s_power.api.endpoint import Endpoint
from a3s_power.api.ollama.goform import refusal
from a3s_power.api.power import rerank
from a3s_power.api.power.archive import export, import_
from a3s_power.api.power.health import health
from a3s_power.api.power.metrics import metrics
from a3s_power.api.power.tokenize import (
    DetokenizeRequest,
    TemplateRequest,
    TokenizeRequest,
    apply_template,
    detokenize,
    tokenize,
)

ENDPOINTS: Final = (
    Endpoint(("GET",), "/health", "open", health, refusal),
    Endpoint(("GET",), "/metrics", "read", metrics, refusal),
    Endpoint(("GET",), "/api/export", "manage", export, refusal),
    Endpoint(("POST",), "/api/import", "manage", import_, refusal),
    Endpoint(("POST",), "/api/tokenize", "infer", tokenize, refusal, TokenizeRequest),
    Endpoint(("POST",), "/api/detokenize", "infer", detokenize, refusal, DetokenizeRequest),
    # llama.cpp's names for the same.
    Endpoint(("POST",), "/tokenize", "infer", tokenize, refusal, TokenizeRequest),
    Endpoint(("POST",), "/detokenize", "infer", detokenize, refusal, DetokenizeRequest),
    Endpoint(("POST",), "/apply-template", "infer", apply_template, refusal, TemplateRequest),
    *rerank.ENDPOINTS,
)
