"""`a3s-power ps`: the models in the server's memory."""

from datetime import UTC, datetime
from typing import Any

from a3s_power.cli.client import connect
from a3s_power.cli.display import table
from a3s_power.cli.list import moment
from a3s_power.cli.options import command
from a3s_power.core.sizes import human_bytes, human_time


@command("ps")
def ps(words: tuple[str, ...]) -> None:
    """Print the loaded models, those whose name begins with the first word when there is one."""
    models = connect().ask("GET", "/api/ps")["models"]
    rows = [row(model) for model in models if not words or model["name"].startswith(words[0])]
    print(table(rows, ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL")), end="")


def row(model: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
    """A model's line."""
    size, context = human_bytes(model["size"]), str(model.get("context_length", 0))
    return model["name"], model["digest"][:12], size, processor(model), context, until(model["expires_at"])


def processor(model: dict[str, Any]) -> str:
    """Where its weights are, in hundredths."""
    size, on_gpu = model["size"], model["size_vram"]
    if on_gpu == 0:
        return "100% CPU"
    if on_gpu == size:
        return "100% GPU"
    if on_gpu > size or size == 0:
        return "Unknown"
    on_cpu = int((size - on_gpu) / size * 100 + 0.5)
    return f"{on_cpu}%/{100 - on_cpu}% CPU/GPU"


def until(text: str) -> str:
    """When it leaves memory."""
    expires, now = moment(text), datetime.now(UTC)
    return "Stopping..." if expires is not None and expires < now else human_time(expires, now)
