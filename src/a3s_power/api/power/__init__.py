"""Routes of our own, beside those of the dialects."""

from typing import Final

from a3s_power.api.endpoint import Endpoint
from a3s_power.api.ollama.goform import refusal
from a3s_power.api.power.archive import export, import_
from a3s_power.api.power.health import health

ENDPOINTS: Final = (
    Endpoint(("GET",), "/health", "open", health, refusal),
    Endpoint(("GET",), "/api/export", "manage", export, refusal),
    Endpoint(("POST",), "/api/import", "manage", import_, refusal),
)
