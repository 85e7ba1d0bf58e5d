"""What may stand at a place of a command line, for the completion that shells do."""

from collections.abc import Iterable
from contextlib import suppress

from click.shell_completion import CompletionItem

from a3s_power.cli.client import connect
from a3s_power.cli.main import COMMANDS
from a3s_power.core.errors import PowerError

_PATIENCE_SECONDS = 2.0
_CHOICES = {
    "completion": ("bash", "zsh", "fish"),
    "config": ("show", "check", "path"),
    "help": tuple(entry.name for entry in COMMANDS),
}


def words(command: str, begun: str) -> list[CompletionItem]:
    """What the word of a command may become: the name of a model where it takes one, or a file's."""
    if command in _CHOICES:
        return _begun_so(_CHOICES[command], begun)
    takes = next((entry.words for entry in COMMANDS if entry.name == command), "")
    if takes.startswith(("MODEL", "SOURCE")):
        return _begun_so(_models("/api/ps" if command == "stop" else "/api/tags"), begun)
    return [CompletionItem(begun, type="file")] if takes else []


def _begun_so(names: Iterable[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(begun)]


def _models(path: str) -> list[str]:
    """The server's models, none when it does not say at once."""
    with suppress(PowerError):
        return [model["name"] for model in connect().models(path, patience=_PATIENCE_SECONDS)]
    return []
