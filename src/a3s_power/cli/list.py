"""`a3s-power list`: the models on the server's disk."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from a3s_power.cli.client import connect
from a3s_power.cli.display import print_json, table
from a3s_power.cli.options import BOOLEAN, Flag, command, json_flag
from a3s_power.core.errors import BadRequest
from a3s_power.core.sizes import human_bytes, human_time

_ORDERS: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "name": lambda model: model["name"].lower(),
    "size": lambda model: -int(model.get("size") or 0),
    "modified": lambda model: -then.timestamp() if (then := moment(model.get("modified_at"))) else 0.0,
}


@command(
    "list",
    Flag("--all", "Unfinished downloads in this machine's models folder, too", BOOLEAN),
    Flag("--sort", "Order: name, size or modified, the newest first unless said"),
    json_flag(),
)
def list(words: tuple[str, ...], *, all: bool, sort: str | None, json: bool) -> None:  # noqa: A001, A002 -- as people know them
    """Print the models, those whose name begins with the first word when there is one."""
    if sort is not None and sort not in _ORDERS:
        raise BadRequest(f'invalid value for --sort: "{sort}" (must be {", ".join(_ORDERS)})')
    chosen = named(connect().models("/api/tags"), words)
    if sort:
        chosen = sorted(chosen, key=_ORDERS[sort])
    unfinished = _unfinished() if all else []
    if json:
        print_json({"models": chosen} | ({"unfinished": unfinished} if all else {}))
        return
    print(page(chosen, unfinished), end="")


def named(models: Iterable[dict[str, Any]], words: Sequence[str]) -> Sequence[dict[str, Any]]:
    """The models whose name begins with the first word, in any case; all of them without one."""
    wanted = words[0].lower() if words else ""
    return tuple(model for model in models if model["name"].lower().startswith(wanted))


def page(models: Iterable[dict[str, Any]], unfinished: Iterable[dict[str, Any]] = ()) -> str:
    """The table of these models and downloads."""
    rows = [row(model) for model in models]
    rows += [("(unfinished)", part["digest"], human_bytes(part["size"]), "") for part in unfinished]
    return table(rows, ("NAME", "ID", "SIZE", "MODIFIED"))


def row(model: dict[str, Any]) -> tuple[str, str, str, str]:
    """A model's line: a remote one has no size."""
    size = "-" if model.get("remote_model") else human_bytes(int(model.get("size") or 0))
    modified = human_time(moment(model.get("modified_at")), datetime.now(UTC))
    return model["name"], str(model.get("digest") or "")[:12], size, modified


def moment(text: str | None) -> datetime | None:
    """A time of the wire; `None` for none, which Go writes as the year 1."""
    try:
        then = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return then.astimezone() if then.year > 1 else None


def _unfinished() -> Sequence[dict[str, Any]]:
    from a3s_power.cli.folder import models_folder, unfinished  # noqa: PLC0415 -- few lists look at the disk

    return unfinished(models_folder())
