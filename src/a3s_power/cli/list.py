"""`a3s-power list`: the models on the server's disk."""

from datetime import UTC, datetime
from typing import Any

from a3s_power.cli.client import connect
from a3s_power.cli.display import table
from a3s_power.cli.options import command
from a3s_power.core.sizes import human_bytes, human_time


@command("list")
def list(words: tuple[str, ...]) -> None:  # noqa: A001 -- the command's name
    """Print the models, those whose name begins with the first word when there is one."""
    models = connect().ask("GET", "/api/tags")["models"]
    wanted = words[0].lower() if words else ""
    rows = [row(model) for model in models if model["name"].lower().startswith(wanted)]
    print(table(rows, ("NAME", "ID", "SIZE", "MODIFIED")), end="")


def row(model: dict[str, Any]) -> tuple[str, str, str, str]:
    """A model's line: a remote one has no size."""
    size = "-" if model.get("remote_model") else human_bytes(model["size"])
    return model["name"], model["digest"][:12], size, human_time(moment(model["modified_at"]), datetime.now(UTC))


def moment(text: str) -> datetime | None:
    """A time of the wire; `None` for none, which Go writes as the year 1."""
    then = datetime.fromisoformat(text)
    return then if then.year > 1 else None
