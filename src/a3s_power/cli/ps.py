"""`a3s-power ps`: the models in the server's memory."""

import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from a3s_power.cli.client import Client, connect
from a3s_power.cli.display import print_json, table
from a3s_power.cli.list import moment
from a3s_power.cli.options import BOOLEAN, Flag, command, json_flag
from a3s_power.cli.terminal import is_terminal
from a3s_power.core.sizes import human_bytes, human_time

_PERIOD_SECONDS: Final = 1.0
_HOME: Final = "\x1b[H\x1b[2J"
"""To the upper left corner, and everything away."""


@command("ps", json_flag(), Flag("-w --watch", "Again every second, until interrupted", BOOLEAN))
def ps(words: tuple[str, ...], *, json: bool, watch: bool) -> None:
    """Print the loaded models, those whose name begins with the first word when there is one."""
    client, prefix = connect(), words[0] if words else ""
    if not watch:
        models = _loaded(client, prefix)
        print_json({"models": models}) if json else print(_page(models), end="")
        print("".join(f"{note}\n" for note in notes(models)), end="", file=sys.stderr)
        return
    with suppress(KeyboardInterrupt):
        while True:
            models = _loaded(client, prefix)
            page = "".join([_page(models), *(f"{note}\n" for note in notes(models))])
            print(f"{_HOME}{page}" if is_terminal(sys.stdout) else page, end="", flush=True)
            time.sleep(_PERIOD_SECONDS)


def _loaded(client: Client, prefix: str) -> list[dict[str, Any]]:
    return [model for model in client.models("/api/ps") if model["name"].startswith(prefix)]


def _page(models: list[dict[str, Any]]) -> str:
    return table(map(row, models), ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"))


def notes(models: list[dict[str, Any]]) -> list[str]:
    """A line for each model that was not loaded as asked for: what is otherwise, and how it lies now."""
    return [
        f"{model['name']}: {model['reason']} ({model.get('placement', '')})" for model in models if model.get("reason")
    ]


def row(model: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
    """A model's line."""
    size, context = human_bytes(int(model.get("size") or 0)), str(model.get("context_length") or 0)
    digest = str(model.get("digest") or "")[:12]
    return model["name"], digest, size, processor(model), context, until(model.get("expires_at"))


def processor(model: dict[str, Any]) -> str:
    """Where its weights are, in hundredths."""
    size, on_gpu = int(model.get("size") or 0), int(model.get("size_vram") or 0)
    if on_gpu == 0:
        return "100% CPU"
    if on_gpu == size:
        return "100% GPU"
    if on_gpu > size or size == 0:
        return "Unknown"
    on_cpu = int((size - on_gpu) / size * 100 + 0.5)
    return f"{on_cpu}%/{100 - on_cpu}% CPU/GPU"


def until(text: str | None) -> str:
    """When it leaves memory."""
    expires, now = moment(text), datetime.now(UTC)
    return "Stopping..." if expires is not None and expires < now else human_time(expires, now)
