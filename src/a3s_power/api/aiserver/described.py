"""What the AI Server's dialect tells of its routes for the description of all; imported only when that is asked for."""

from typing import Any, Final, Literal

import msgspec

from a3s_power.api.openapi import Dialect, Told


class Error(msgspec.Struct, kw_only=True):
    """What went wrong."""

    error: str


class Backend(msgspec.Struct, kw_only=True):
    """Where a model lies."""

    local_path: str
    preferred_quantized: bool
    size_bytes: int


class Pulled(msgspec.Struct, kw_only=True):
    """That a model is here."""

    status: Literal["ok"]
    model: str
    cached: bool
    backend: Backend


class Said(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The message of an answer."""

    role: str
    content: str
    thinking: str = ""


class ChatAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A conversation answered. Durations are in nanoseconds; what of it was left out is told only where some was."""

    model: str
    created_at: str
    message: Said
    done: bool
    done_reason: str
    total_duration: int
    load_duration: int
    prompt_eval_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int
    cached_tokens: int = 0
    dropped_messages: int = 0
    cut_tokens: int = 0
    context_shifted: bool = False
    draft_count: int = 0
    draft_accepted_count: int = 0


class Listed(msgspec.Struct, kw_only=True):
    """A model that is here."""

    model: str
    description: str
    loaded: bool
    backend: str
    size_bytes: int
    load_duration: int


class Models(msgspec.Struct, kw_only=True):
    """The models that are here."""

    models: list[Listed]


class Engine(msgspec.Struct, kw_only=True):
    """An engine, and whether its library is here."""

    name: str
    formats: list[str]
    library: str
    version: str
    usable: bool
    note: str


class Loaded(msgspec.Struct, kw_only=True):
    """A model in memory."""

    model: str
    backend: str
    memory_bytes: int
    gpu_bytes: int
    context_length: int
    load_duration: int
    weights: str
    engine: str
    load_options: dict[str, Any]
    expires_at: str | None


class Failed(msgspec.Struct, kw_only=True):
    """A load that failed, and for how long it is not tried again."""

    model: str
    error: str
    failed_at: str
    cooldown_seconds: float


class Status(msgspec.Struct, kw_only=True):
    """How the server is."""

    status: Literal["ok"]
    version: str
    uptime_seconds: int
    engines: list[Engine]
    loaded_models: list[Loaded]
    failed_loads: list[Failed]
    configuration: dict[str, Any]


DIALECT: Final = Dialect(
    "aiserver",
    "The routes of the older AI Server",
    {
        "POST /pull": Told((Pulled,), required=("model",), statuses=(404, 501, 503, 507)),
        "POST /chat": Told((ChatAnswer,), required=("model", "messages"), statuses=(404, 501, 503)),
        "GET /models": Told((Models,)),
        "GET /status": Told((Status,)),
    },
    (Error,),
)
