"""`GET /v1/models` and `GET /v1/models/{model}` for Anthropic's clients: the models on disk, in their form."""

from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import Response

from a3s_power.api.anthropic.answers import answer
from a3s_power.api.asked import local_name
from a3s_power.api.endpoint import Call
from a3s_power.core.errors import BadRequest, ModelNotFound
from a3s_power.core.names import ModelName

_MOST: Final = 1000
_DIGITS: Final = 100
"""Of a number that is read at all."""


async def list_models(call: Call) -> Response:
    """The models on disk, newest first: those behind `after_id` or before `before_id`, and `limit` of them at most."""
    asked = call.query_params
    limit = _limit(asked.get("limit"))
    every = [_model(found.name, found.modified) for found in await call.service.library.list()]
    ids = [model["id"] for model in every]
    first = ids.index(asked["after_id"]) + 1 if asked.get("after_id") in ids else 0
    last = ids.index(asked["before_id"]) if asked.get("before_id") in ids else len(ids)
    backwards = asked.get("before_id") in ids
    inside = every[first:last]
    shown = inside[-limit:] if backwards else inside[:limit]
    return answer(
        {
            "data": shown,
            "has_more": len(shown) < len(inside),
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
        }
    )


async def show_model(call: Call) -> Response:
    """One of them."""
    text = call.path_params["model"]
    try:
        found = await call.service.library.show(local_name(text))
    except ModelNotFound:
        raise ModelNotFound(text) from None
    return answer(_model(found.model.name, found.model.modified))


def _model(name: ModelName, modified: datetime) -> dict[str, Any]:
    created = modified.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"id": name.short, "type": "model", "display_name": name.short, "created_at": created}


def _limit(text: str | None) -> int:
    if text is None:
        return _MOST
    if not text.isdecimal() or len(text) > _DIGITS or not 1 <= int(text) <= _MOST:
        raise BadRequest(f"limit must be between 1 and {_MOST}")
    return int(text)
