"""`a3s-power render`: the prompt that a conversation becomes, before a model reads it."""

import json
import sys
from typing import Any

from a3s_power.cli.borrowed import server_for
from a3s_power.cli.client import connect
from a3s_power.cli.options import BOOLEAN, Flag, command
from a3s_power.cli.terminal import harmless, is_terminal
from a3s_power.cli.tokenize import piped
from a3s_power.core.errors import BadRequest, PowerError


@command(
    "render",
    Flag("--messages", "Standard input is a JSON list of messages, or a whole chat request", BOOLEAN),
    Flag("--system", "System message in place of the model's own"),
    Flag("--think", "Whether the model shall think: true, false, low, medium, high or max", bare="true"),
    least=1,
)
def render(words: tuple[str, ...], *, messages: bool, system: str | None, think: str | None) -> None:
    """Print the prompt, to the last blank; nothing is generated."""
    model, *rest = words
    body: dict[str, Any] = _conversation(piped()) if messages else {"messages": [_user(rest)]}
    if system is not None:
        body["messages"] = [{"role": "system", "content": system}, *body["messages"]]
    if think is not None:
        body["think"] = {"true": True, "false": False}.get(think, think)
    with server_for(connect()) as client:
        asked = {**body, "model": model, "stream": False, "_debug_render_only": True}
        shown = client.ask("POST", "/api/chat", asked).get("_debug_info")
    if not shown:
        raise PowerError("the server answered without the prompt: it does not render them")
    prompt = str(shown["rendered_template"])
    print(harmless(prompt) if is_terminal(sys.stdout) else prompt, end="\n" if is_terminal(sys.stdout) else "")


def _user(words: list[str]) -> dict[str, str]:
    return {"role": "user", "content": " ".join(words) if words else piped()}


def _conversation(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"standard input is not JSON: {error}") from None
    body = {"messages": said} if isinstance(said, list) else said
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise BadRequest("standard input is neither a list of messages nor a request that has one")
    return body
