"""`a3s-power load`: a model comes into the server's memory, so that its first answer need not wait."""

from a3s_power.cli.client import connect
from a3s_power.cli.options import Flag, command
from a3s_power.cli.progress import Progress
from a3s_power.core.durations import format_duration, parse_duration


@command(
    "load",
    Flag("--keepalive --keep-alive", "How long the model stays in memory, such as 5m; negative: for ever"),
    least=1,
    most=1,
)
def load(words: tuple[str, ...], *, keepalive: str | None) -> None:
    """Load a model, and print nothing once it is there."""
    request: dict[str, object] = {"model": words[0]}
    if keepalive:
        nanoseconds = parse_duration(keepalive)
        request["keep_alive"] = -1 if nanoseconds < 0 else format_duration(nanoseconds)
    client = connect()
    client.require()
    with Progress(keep=False) as waiting:
        waiting.status(f"loading {words[0]}")
        embeds = "embedding" in (client.ask("POST", "/api/show", {"model": words[0]}).get("capabilities") or ())
        if embeds:
            client.ask("POST", "/api/embed", {**request, "input": []})
        else:
            client.ask("POST", "/api/generate", {**request, "stream": False})
