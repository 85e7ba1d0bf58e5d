"""`a3s-power run`: one prompt, one answer."""

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from a3s_power.cli.borrowed import server_for
from a3s_power.cli.client import Client, Refused, connect
from a3s_power.cli.display import Answer, statistics
from a3s_power.cli.options import BOOLEAN, NUMBER, WHOLE, Flag, command
from a3s_power.cli.progress import Progress
from a3s_power.cli.pull import fetch
from a3s_power.cli.terminal import harmless, is_terminal
from a3s_power.core.durations import format_duration, parse_duration
from a3s_power.core.errors import BadRequest, PowerError

_OPTIONS: Final = ("temperature", "top_p", "top_k", "num_predict", "num_ctx", "repeat_penalty", "seed")
_LEVELS: Final = ("high", "medium", "low", "max")

Said = Mapping[str, Any]
"""The flags of a command line, by name."""


@command(
    "run",
    Flag("--dimensions", "Length of the vector, where the model embeds", WHOLE),
    Flag("--format", "What the answer must be: json, or a JSON schema"),
    Flag("--hidethinking", "Leave out what the model thinks", BOOLEAN),
    Flag("--insecure", "Let the registry of an absent model be spoken to without encryption", BOOLEAN),
    Flag("--keepalive --keep-alive", "How long the model stays in memory afterwards, such as 5m"),
    Flag("--nowordwrap", "Leave lines as long as they are", BOOLEAN),
    Flag("--num-ctx", "Tokens of context", WHOLE),
    Flag("--num-predict", "Most tokens of the answer, -1 for no limit", WHOLE),
    Flag("--prompt", "The prompt, before that of the words"),
    Flag("--repeat-penalty", "How much repeating is made unlikely, 1 for not at all", NUMBER),
    Flag("--seed", "Seed of chance: the same seed, the same answer", WHOLE),
    Flag("--system", "System message in place of the model's own"),
    Flag("--temperature", "How much is left to chance, 0 for nothing", NUMBER),
    Flag("--template", "Prompt template in place of the model's own"),
    Flag("--think", "Whether or how much to think: true, false, low, medium, high or max", bare="true"),
    Flag("--top-k", "Choose among this many likeliest tokens", WHOLE),
    Flag("--top-p", "Choose among the likeliest tokens that make up this probability", NUMBER),
    Flag("--truncate", "Cut a text that is too long, where the model embeds", BOOLEAN, unsaid=True),
    Flag("--verbose", "Say what the answer took", BOOLEAN),
    least=1,
)
def run(words: tuple[str, ...], **said: Any) -> None:  # noqa: ANN401 -- the flags above, each of its own type
    """Print the model's answer to the prompt: standard input, the flag and the words, in this order."""
    model, *rest = words
    request = {"model": model, **_common(said)}
    prompt = _prompt([said["prompt"], *rest])
    # Whoever interrupts an answer has seen enough of it: that is no failure.
    with contextlib.suppress(KeyboardInterrupt), server_for(connect()) as client:
        capabilities = _capabilities(client, model, insecure=said["insecure"])
        if "embedding" in capabilities:
            _embed(client, request, said, prompt)
        else:
            _generate(client, request | _generation(said, capabilities), said, prompt)


def _capabilities(client: Client, model: str, *, insecure: bool) -> Sequence[str]:
    """What the model can do; one that is not there is pulled first. Raises Refused and Unreachable."""
    try:
        shown = client.ask("POST", "/api/show", {"model": model})
    except Refused as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        fetch(client, model, insecure=insecure)
        shown = client.ask("POST", "/api/show", {"model": model})
    return shown.get("capabilities") or ()


def _prompt(parts: Sequence[str | None]) -> str:
    """The parts joined by blanks, before them what standard input holds when nobody types there."""
    said = [part for part in parts if part is not None]
    if not is_terminal(sys.stdin):
        piped = sys.stdin.buffer.read().decode("utf-8", "replace")
        said = [piped, *said] if piped else said
    elif not said and is_terminal(sys.stdout):
        raise BadRequest(
            'no prompt: say what the model should answer, as in a3s-power run MODEL "Why is the sky blue?"'
        )
    return " ".join(said)


def _common(said: Said) -> dict[str, Any]:
    """What every request carries. Raises BadRequest and InvalidDuration for flags that cannot be."""
    request: dict[str, Any] = {}
    if options := {name: said[name] for name in _OPTIONS if said[name] is not None}:
        request["options"] = options
    if said["keepalive"]:
        nanoseconds = parse_duration(said["keepalive"])
        request["keep_alive"] = -1 if nanoseconds < 0 else format_duration(nanoseconds)
    return request


def _generation(said: Said, capabilities: Sequence[str]) -> dict[str, Any]:
    """What a request for text carries beside that; a model that can think does, unless told otherwise."""
    request = {name: said[name] for name in ("system", "template") if said[name]}
    if said["format"]:
        request["format"] = _format(said["format"])
    if said["think"] is not None:
        request["think"] = _think(said["think"])
    elif "thinking" in capabilities:
        request["think"] = True
    return request


def _format(text: str) -> object:
    if text == "json":
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRequest(f"invalid value for --format: neither json nor a JSON schema: {error}") from None


def _think(text: str) -> bool | str:
    if text in ("", "true", "false"):
        return text != "false"
    if text not in _LEVELS:
        raise BadRequest(f'invalid value for --think: "{text}" (must be true, false, high, medium, low, or max)')
    return text


def _generate(client: Client, request: Mapping[str, Any], said: Said, prompt: str) -> None:
    answer = Answer(wrap=not said["nowordwrap"], thinking=not said["hidethinking"])
    last: dict[str, Any] = {}
    with Progress(keep=False) as waiting:
        waiting.spin()
        for line in client.stream("/api/generate", {**request, "prompt": prompt}):
            if line.get("response") or (line.get("thinking") and not said["hidethinking"]):
                waiting.stop()
            answer.thought(line.get("thinking", ""))
            answer.text(line.get("response", ""))
            for call in line.get("tool_calls") or ():
                function = call["function"]
                answer.call(function["name"], json.dumps(function.get("arguments", {}), separators=(",", ":")))
            last = line
    answer.end()
    if prompt:
        print("\n")
    if said["verbose"] and last.get("done"):
        print(statistics(last), end="", file=sys.stderr)


def _embed(client: Client, request: Mapping[str, Any], said: Said, prompt: str) -> None:
    if not prompt:
        raise BadRequest('embedding models require input text. Usage: a3s-power run MODEL "your text here"')
    more = {name: said[name] for name in ("truncate", "dimensions") if said[name] is not None}
    with Progress(keep=False) as waiting:
        waiting.spin()
        answer = client.ask("POST", "/api/embed", {**request, **more, "input": prompt}, read_float=str)
    if not answer["embeddings"]:
        raise PowerError("no embeddings returned")
    # The numbers stay as the server wrote them.
    print(harmless(f"[{','.join(map(str, answer['embeddings'][0]))}]"))
