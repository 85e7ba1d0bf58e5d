"""What all dialects tell of their routes; imported only when the description is asked for."""

from typing import Final

from a3s_power.api.aiserver import described as aiserver
from a3s_power.api.anthropic import described as anthropic
from a3s_power.api.ollama import described as ollama
from a3s_power.api.openai import described as openai
from a3s_power.api.openai import described_responses as responses
from a3s_power.api.openapi import Dialect, Told
from a3s_power.api.power import described as power


def _either(theirs: Told, others: Told, summary: str) -> Told:
    """A path that two dialects have."""
    return Told(
        answers=(*others.answers, *theirs.answers),
        statuses=(*others.statuses, *theirs.statuses),
        parameters=(*others.parameters, *theirs.parameters),
        summary=summary,
    )


_SHARED: Final = Dialect(
    "models",
    "Lists that the clients of OpenAI and of Anthropic ask for by the same path",
    {
        "GET /v1/models": _either(
            anthropic.LIST_MODELS, openai.LIST_MODELS, "The models on disk, in the form of whoever asks."
        ),
        "GET /v1/models/{model:path}": _either(
            anthropic.SHOW_MODEL, openai.SHOW_MODEL, "One model, in the form of whoever asks."
        ),
    },
    (*openai.ERRORS, *anthropic.ERRORS),
)

_OPENAI: Final = Dialect(
    "openai",
    "OpenAI's API",
    openai.ROUTES | responses.ROUTES,
    openai.ERRORS,
    openai.SHAPES | responses.SHAPES,
    responses.MORE,
)

DIALECTS: Final[tuple[Dialect, ...]] = (
    ollama.DIALECT,
    _OPENAI,
    anthropic.DIALECT,
    _SHARED,
    aiserver.DIALECT,
    power.DIALECT,
)
