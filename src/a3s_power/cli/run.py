"""`a3s-power run`: one prompt and one answer, or a chat on a terminal."""

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from a3s_power.cli.borrowed import server_for
from a3s_power.cli.client import Client, Refused, connect
from a3s_power.cli.display import Answer, statistics
from a3s_power.cli.media import extract
from a3s_power.cli.option_flags import option_flags, options_said
from a3s_power.cli.options import BOOLEAN, WHOLE, Flag, command
from a3s_power.cli.progress import Progress
from a3s_power.cli.pull import fetch
from a3s_power.cli.session import Session, Shown
from a3s_power.cli.terminal import harmless, is_terminal
from a3s_power.core.durations import format_duration, parse_duration
from a3s_power.core.errors import BadRequest, PowerError
from a3s_power.core.names import ModelName

_LEVELS: Final = ("high", "medium", "low", "max")

_NO_TEXT: Final = 'embedding models require input text. Usage: a3s-power run {} "your text here"'

Said = Mapping[str, Any]
"""The flags of a command line, by name."""


@command(
    "run",
    Flag("--dimensions", "Length of the vector, where the model embeds", WHOLE),
    Flag("--format", "What the answer must be: json, a JSON schema, or a file with one"),
    Flag("--hidethinking", "Leave out what the model thinks", BOOLEAN),
    Flag("--insecure", "Let the registry of an absent model be spoken to without encryption", BOOLEAN),
    Flag("--keepalive --keep-alive", "How long the model stays in memory afterwards, such as 5m"),
    Flag("--nowordwrap", "Leave lines as long as they are", BOOLEAN),
    Flag("--prompt", "The prompt, before that of the words"),
    Flag("--system", "System message in place of the model's own"),
    Flag("--template", "Prompt template in place of the model's own"),
    Flag("--think", "Whether or how much to think: true, false, low, medium, high or max", bare="true"),
    Flag("--truncate", "Cut a text that is too long, where the model embeds", BOOLEAN, unsaid=True),
    Flag("--verbose", "Say what the answer took", BOOLEAN),
    *option_flags(),
    least=1,
)
def run(words: tuple[str, ...], **said: Any) -> None:  # noqa: ANN401 -- the flags above, each of its own type
    """Print the model's answer to the prompt: standard input, the flag and the words, in this order; or chat."""
    model, *rest = words
    request = {"model": model, **_common(said)}
    prompt = _prompt([said["prompt"], *rest])
    if prompt is None:
        _chat(model, request, said)
        return
    # Whoever interrupts an answer has seen enough of it: that is no failure.
    with contextlib.suppress(KeyboardInterrupt), server_for(connect()) as client:
        shown = _shown(client, model, insecure=said["insecure"])
        capabilities = shown.get("capabilities") or ()
        if "embedding" in capabilities:
            _embed(client, request, said, prompt)
        else:
            more = _generation(said, capabilities)
            if Shown(tuple(capabilities), shown).sees:
                prompt, images = extract(prompt)
                more |= {"images": images} if images else {}
            _generate(client, request | more, said, prompt)


def _shown(client: Client, model: str, *, insecure: bool) -> Mapping[str, Any]:
    """What the model is; one that is not there is pulled first. Raises Refused and Unreachable."""
    try:
        shown: dict[str, Any] = client.ask("POST", "/api/show", {"model": model})
    except Refused as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        fetch(client, model, insecure=insecure)
        shown = client.ask("POST", "/api/show", {"model": model})
    return shown


def _prompt(parts: Sequence[str | None]) -> str | None:
    """The parts joined by blanks, before them what standard input holds when nobody types there.

    `None` when there is none and a person at a terminal could say some.
    """
    said = [part for part in parts if part is not None]
    if not is_terminal(sys.stdin):
        piped = sys.stdin.buffer.read().decode("utf-8", "replace")
        said = [piped, *said] if piped else said
    elif not said and is_terminal(sys.stdout):
        return None
    return " ".join(said)


def _common(said: Said) -> dict[str, Any]:
    """What every request carries. Raises BadRequest and InvalidDuration for flags that cannot be."""
    request: dict[str, Any] = {}
    if options := options_said(said):
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
    """`json`, or a schema: itself, or the name of a file that holds it. Raises BadRequest."""
    if text == "json":
        return text
    if not text.lstrip().startswith(("{", '"', "[")) and Path(text).is_file():
        text = Path(text).read_text("utf-8", "replace")
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


def _chat(model: str, request: Mapping[str, Any], said: Said) -> None:
    from a3s_power.cli.repl import chat  # noqa: PLC0415 -- takes longer to import than all the rest

    wrap, verbose, hide = not said["nowordwrap"], said["verbose"], said["hidethinking"]
    with server_for(connect()) as client:
        shown = _shown(client, model, insecure=said["insecure"])
        if "embedding" in (shown.get("capabilities") or ()):
            raise BadRequest(_NO_TEXT.format(model))
        session = Session(model, {**request, **_generation(said, ())}, wrap=wrap, verbose=verbose, hide=hide)
        session.think_said = said["think"] is not None
        chat(client, session, shown)


def _generate(client: Client, request: Mapping[str, Any], said: Said, prompt: str) -> None:
    answer = Answer(wrap=not said["nowordwrap"], thinking=not said["hidethinking"])
    last: dict[str, Any] = {}
    with Progress(keep=False) as waiting:
        waiting.spin("" if not is_terminal(sys.stderr) or _loaded(client, request["model"]) else "loading the model")
        for line in client.stream("/api/generate", {**request, "prompt": prompt}):
            if line.get("response") or (line.get("thinking") and not said["hidethinking"]):
                waiting.stop()
            answer.take(line, line.get("response") or "")
            last = line
    answer.end()
    if prompt:
        print("\n", flush=True)
    if said["verbose"] and last.get("done"):
        print(statistics(last), end="", file=sys.stderr)


def _loaded(client: Client, model: str) -> bool:
    """Whether the model is in the server's memory; what cannot be told is."""
    with contextlib.suppress(PowerError):
        names = {ModelName.parse(each["name"]) for each in client.models("/api/ps")}
        return ModelName.parse(model) in names
    return True


def _embed(client: Client, request: Mapping[str, Any], said: Said, prompt: str) -> None:
    if not prompt:
        raise BadRequest(_NO_TEXT.format(request["model"]))
    more = {name: said[name] for name in ("truncate", "dimensions") if said[name] is not None}
    with Progress(keep=False) as waiting:
        waiting.spin()
        answer = client.ask("POST", "/api/embed", {**request, **more, "input": prompt}, read_float=str)
    if not answer.get("embeddings"):
        raise PowerError("no embeddings returned")
    # The numbers stay as the server wrote them.
    print(harmless(f"[{','.join(map(str, answer['embeddings'][0]))}]"))
