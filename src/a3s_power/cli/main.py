"""The table of commands, each imported when it is called, and what becomes of their errors."""

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import click

from a3s_power.cli.options import BOOLEAN, HELP, Flag, canonical
from a3s_power.cli.terminal import harmless
from a3s_power.core.errors import BadRequest, PowerError

PROGRAM: Final = "a3s-power"
COMPLETE: Final = "_A3S_POWER_COMPLETE"
"""The variable by which a shell asks for completions; click knows it by the program's name."""
SHORT: Final = "Large language model runner"
_NEAR: Final = 2
"""Edits between a word and the command it may have meant."""


class Entry(NamedTuple):
    """A command. Its module has its name and a function of its name; `words` is how a help page shows what it takes.

    `module` is the module's name where that is another; where the name is a word of Python's, the function's, too.
    """

    name: str
    words: str
    short: str
    alias: str = ""
    module: str = ""


COMMANDS: Final = (
    Entry("serve", "", "Start the server", alias="start"),
    Entry("create", "MODEL", "Create a model"),
    Entry("show", "MODEL", "Show information for a model"),
    Entry("run", "MODEL [PROMPT]", "Run a model"),
    Entry("stop", "MODEL", "Stop a running model"),
    Entry("pull", "MODEL [MODEL...]", "Pull a model from a registry"),
    Entry("push", "MODEL", "Push a model to a registry"),
    Entry("signin", "", "Say what stands in for an account", module="account"),
    Entry("signout", "", "Say what becomes of this machine's key", module="account"),
    Entry("list", "", "List models", alias="ls"),
    Entry("ps", "", "List running models"),
    Entry("cp", "SOURCE DESTINATION", "Copy a model"),
    Entry("rm", "MODEL [MODEL...]", "Remove a model", alias="delete"),
    Entry("search", "WORD [WORD...]", "Find models that can be pulled"),
    Entry("tags", "MODEL", "List the variants of a model"),
    Entry("outdated", "[MODEL...]", "List models that have a newer version"),
    Entry("export", "MODEL FILE", "Write a model to a file, for another machine"),
    Entry("import", "FILE", "Take in a model from such a file", module="import_"),
    Entry("load", "MODEL", "Load a model into memory"),
    Entry("df", "", "Show what takes room in the models folder"),
    Entry("prune", "", "Remove what no model needs"),
    Entry("config", "[show|check|path]", "Show the settings in force"),
    Entry("completion", "bash|zsh|fish", "Print a shell's completion script"),
    Entry("tokenize", "MODEL [TEXT]", "Show the tokens of a text"),
    Entry("render", "MODEL [PROMPT]", "Show the prompt that a chat becomes"),
    Entry("engine", "build|list|use|measure|remove [NAME]", "Build an engine for this machine, or choose one"),
    Entry("service", "install|uninstall|status", "Have the system run the server"),
    Entry("logs", "", "Show what the server has written"),
    Entry("update", "", "Say how to get a newer version"),
    Entry("whoami", "", "Show the key that registries know this machine by", module="account"),
    Entry("version", "", "Say which version runs"),
    Entry("bench", "MODEL", "Measure how fast a model reads and writes"),
    Entry("doctor", "", "Check what the server needs on this machine"),
    Entry("help", "[COMMAND]", "Help about any command"),
)
_HIDDEN: Final = {"login": "signin", "logout": "signout"}
"""Names that no page shows."""
_BY_NAME: Final = {name: entry for entry in COMMANDS for name in (entry.name, entry.alias) if name}
_BY_NAME.update({name: _BY_NAME[meant] for name, meant in _HIDDEN.items()})

FLAGS: Final = (
    Flag("-v --version", "Say which version runs", BOOLEAN),
    Flag("--verbose", "Say what the answer took", BOOLEAN),
    Flag("--nowordwrap", "Leave lines as long as they are", BOOLEAN),
)


class Root(click.Group):
    """All commands. Flags before the command's name belong to the command."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """The names, in the order of the table."""
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        """The command of this name or alias, its module imported now."""
        if cmd_name not in _BY_NAME:
            return None
        entry = _BY_NAME[cmd_name]
        module = importlib.import_module(f"a3s_power.cli.{entry.module or entry.name}")
        found = getattr(module, entry.name, None) or getattr(module, entry.module)
        assert isinstance(found, click.Command)  # noqa: S101 -- a mistake in the table
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the command's name. Raises BadRequest for a name nobody has, and for flags without a command."""
        at = next((index for index, arg in enumerate(args) if not arg.startswith("-")), None)
        if at is None:
            said, _ = canonical(args, FLAGS)
            return super().parse_args(ctx, said)
        if args[at] not in _BY_NAME:
            raise BadRequest(f'unknown command "{args[at]}" for "{PROGRAM}"{_suggestions(args[at])}')
        return super().parse_args(ctx, [args[at], *args[:at], *args[at + 1 :]])

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002 -- click's signature
        """The page that `--help` prints."""
        from a3s_power.cli.help import root_page  # noqa: PLC0415 -- printed only when asked for

        return root_page()


def _root(*, version: bool, **_: object) -> None:
    context = click.get_current_context()
    if context.invoked_subcommand:
        return
    if version:
        from a3s_power.cli.version import show_version  # noqa: PLC0415 -- the one place beside __main__

        show_version()
    else:
        print(context.get_help())


root: Final = Root(
    PROGRAM,
    params=list(FLAGS),
    callback=_root,
    invoke_without_command=True,
    context_settings={"help_option_names": list(HELP)},
)


def run(args: Sequence[str]) -> int:
    """Run a command line and say with which status the process should end; errors are printed here."""
    _ready_streams()
    try:
        root.main(list(args), PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except PowerError as error:
        print(f"Error: {harmless(str(error))}", file=sys.stderr)
        return 1
    except click.exceptions.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        # Whoever read our output has left. What is buffered must not be tried again at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, click.Abort):
        return 128 + 2
    return 0


def _ready_streams() -> None:
    """Whoever started us may have closed a stream, and a text may hold what the terminal's encoding has not."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Open as long as the process, and by the builtin: this module does without pathlib's import.
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _suggestions(word: str) -> str:
    near = [
        entry.name
        for entry in COMMANDS
        if entry.name.startswith(word.lower()) or _edits(word.lower(), entry.name) <= _NEAR
    ]
    return "\n\nDid you mean this?\n" + "".join(f"\t{name}\n" for name in near) if near else ""


def _edits(one: str, other: str) -> int:
    """The fewest characters to insert, remove or replace that make one word the other."""
    row = list(range(len(other) + 1))
    for number, char in enumerate(one, 1):
        before, row[0] = row[0], number
        for at, against in enumerate(other, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (char != against))
    return row[-1]
