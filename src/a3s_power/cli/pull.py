"""`a3s-power pull`: models from registries, from addresses, or from another server of ours."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from a3s_power.cli.client import Client, Refused, connect
from a3s_power.cli.options import BOOLEAN, Flag, command
from a3s_power.cli.progress import Progress, follow
from a3s_power.cli.terminal import is_terminal, one_line
from a3s_power.core.errors import BadRequest, PowerError

_FROM: Final = "pulling from "
"""What the server says before it takes a file that no registry vouches for, and where that lies."""


@command(
    "pull",
    Flag("--from source", "Another A3S Power server to bring the models from, such as http://host:11434"),
    Flag("--insecure", "Let the registry be spoken to without encryption", BOOLEAN),
    Flag("-y --yes", "Take what a search of the hub finds, where nobody else has the model", BOOLEAN),
    least=1,
)
def pull(words: tuple[str, ...], *, source: str | None, insecure: bool, yes: bool) -> None:
    """Pull models, one after the other; the first that cannot be had ends it."""
    if source and (insecure or yes):
        raise BadRequest("--from goes without --insecure and --yes: no registry is asked")
    client = connect()
    client.require()
    for model in words:
        if source:
            _carry(source, client, model)
        else:
            fetch(client, model, insecure=insecure, consent=yes)


def fetch(client: Client, model: str, *, insecure: bool = False, consent: bool = False) -> None:
    """Have the server pull a model, telling on standard error how it goes.

    Without consent to take whatever a search finds, a person at a terminal is asked about what it found.

    Raises:
        Refused: in the server's words.
        Unreachable: nobody listens.
    """
    request = {"model": model} | ({"insecure": True} if insecure else {})
    try:
        _follow(client, request | ({"consent": True} if consent else {}))
    except Refused as error:
        found = str(error.fields.get("found", ""))
        if not found:
            raise
        if not _agreed(found):
            raise Refused(f"{error}, or: a3s-power pull --yes {model}", error.code) from error
        _follow(client, request | {"consent": True}, found)


def _follow(client: Client, request: Mapping[str, Any], found: str = "") -> None:
    with Progress() as progress:
        follow(_as_agreed(client.stream("/api/pull", request), found), progress, label)


def _as_agreed(lines: Iterable[dict[str, Any]], found: str) -> Iterator[dict[str, Any]]:
    """The lines; raises PowerError where the server is about to take something else than what was found before."""
    place = f"{_FROM}{found.rpartition(':')[0]}/"
    for line in lines:
        status = str(line.get("status", ""))
        if found and status.startswith(_FROM) and not status.startswith(place):
            raise PowerError(f"this is not {found}, so it is left: {status}")
        yield line


def label(digest: str, _status: str = "") -> str:
    """What stands before a layer's bar."""
    algorithm, _, digits = digest.partition(":")
    return f"pulling {digits[:12] if algorithm == 'sha256' else digest}:"


def _agreed(found: str) -> bool:
    """Whether the person at the terminal wants it. Nobody at a terminal is no."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return False
    print(f"A search of the hub found {one_line(found)}. Pull it? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _carry(source: str, client: Client, model: str) -> None:
    from a3s_power.cli.carry import carry, other_server  # noqa: PLC0415 -- most pulls do without

    with Progress() as progress:
        carry(other_server(source), client, model, progress)
