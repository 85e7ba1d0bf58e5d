"""`a3s-power tokenize`: the tokens of a text, as a model counts them."""

import sys

from a3s_power.cli.borrowed import server_for
from a3s_power.cli.client import connect
from a3s_power.cli.display import print_json
from a3s_power.cli.options import BOOLEAN, Flag, command, json_flag
from a3s_power.cli.terminal import is_terminal
from a3s_power.core.errors import BadRequest


@command("tokenize", Flag("--count", "Only how many there are", BOOLEAN), json_flag(), least=1)
def tokenize(words: tuple[str, ...], *, count: bool, json: bool) -> None:
    """Print the token ids of the words, or of standard input."""
    model, *rest = words
    text = " ".join(rest) if rest else piped()
    with server_for(connect()) as client:
        tokens = client.ask("POST", "/api/tokenize", {"model": model, "text": text}).get("tokens") or []
    if json:
        print_json({"model": model, "count": len(tokens), "tokens": tokens})
    else:
        print(len(tokens) if count else " ".join(map(str, tokens)))


def piped() -> str:
    """What standard input holds. Raises BadRequest where a person would have to type it."""
    if is_terminal(sys.stdin):
        raise BadRequest("no text: say it behind the model's name, or pipe it in")
    return sys.stdin.buffer.read().decode("utf-8", "replace")
