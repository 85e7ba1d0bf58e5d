"""Help: the pages of commands in the order people know from Ollama, made from the tables; and the command `help`."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from a3s_power.cli.main import COMMANDS, FLAGS, PROGRAM, SHORT, Entry, root
from a3s_power.cli.options import HELP, Command, Flag, command

_CLIENT: Final = ("OLLAMA_HOST", "OLLAMA_API_KEY")
_SERVER_FIRST: Final = (
    *("OLLAMA_DEBUG", "OLLAMA_HOST", "OLLAMA_CONTEXT_LENGTH", "OLLAMA_KEEP_ALIVE", "OLLAMA_MAX_LOADED_MODELS"),
    *("OLLAMA_MAX_QUEUE", "OLLAMA_MODELS", "OLLAMA_NUM_PARALLEL", "OLLAMA_NOPRUNE", "OLLAMA_ORIGINS"),
    *("OLLAMA_FLASH_ATTENTION", "OLLAMA_KV_CACHE_TYPE", "OLLAMA_LOAD_TIMEOUT"),
)
"""What the page of `serve` begins with, in the order people know; the others follow."""
_ALONE: Final = dict.fromkeys(("help", "signin", "signout", "whoami", "completion", "update", "service"), ())
_READ: Final[Mapping[str, Sequence[str]]] = _ALONE | {
    "run": ("OLLAMA_EDITOR", "OLLAMA_HOST", "OLLAMA_NOHISTORY", "OLLAMA_API_KEY"),
    "df": ("OLLAMA_MODELS",),
    "prune": ("OLLAMA_MODELS",),
    "logs": (),
}
"""The variables that a command reads, where those are not the client's."""
_OWN: Final = {
    "OLLAMA_EDITOR": "Editor for Ctrl-G and /edit; unset: VISUAL, EDITOR or vi",
    "OLLAMA_NOHISTORY": "Keep no file of what was typed",
}
"""Variables of the chat, which are no settings."""


@command("help")
def help(words: tuple[str, ...]) -> None:  # noqa: A001 -- the command's name
    """Print the page of a command, or that of all."""
    entry = next((entry for entry in COMMANDS if words and words[0] in (entry.name, entry.alias)), None)
    if words and entry is None:
        print(f"Unknown help topic [{' '.join(f'`{word}`' for word in words)}]", file=sys.stderr)
        print(root_page(), file=sys.stderr)
        return
    print(page_of(entry) if entry else root_page())


def page_of(entry: Entry) -> str:
    """The page of a command of the table."""
    found = root.get_command(root.make_context(PROGRAM, []), entry.name)
    return command_page(found) if isinstance(found, Command) else root_page()


def root_page() -> str:
    """What `a3s-power --help` prints."""
    blocks = [
        SHORT,
        f"Usage:\n  {PROGRAM} [flags]\n  {PROGRAM} [command]",
        _rows("Available Commands:", [(entry.name, entry.short) for entry in COMMANDS], 11),
        _flags(FLAGS, PROGRAM),
        f'Use "{PROGRAM} [command] --help" for more information about a command.',
    ]
    return "\n\n".join(blocks)


def command_page(one: Command) -> str:
    """What `--help` prints for a command, under whichever name it was called."""
    entry = next(entry for entry in COMMANDS if entry.name == one.name)
    usage = " ".join(part for part in (PROGRAM, entry.name, entry.words, "[flags]") if part)
    blocks = [entry.short, f"Usage:\n  {usage}"]
    if entry.alias:
        blocks.append(f"Aliases:\n  {entry.name}, {entry.alias}")
    blocks.append(_flags((flag for flag in one.flags if not flag.hidden), entry.name))
    if variables := list(_variables(entry)):
        blocks.append(
            "\n".join(("Environment Variables:", *(f"      {name:<27}   {text}" for name, text in variables)))
        )
    return "\n\n".join(blocks)


def _flags(flags: Iterable[Flag], name: str) -> str:
    rows = [(_spelled(flag), flag.help or "") for flag in flags]
    return _rows("Flags:", sorted([*rows, (f"{HELP[1]}, {HELP[0]}", f"help for {name}")], key=_long_name))


def _long_name(row: tuple[str, str]) -> str:
    return row[0].partition("--")[2]


def _spelled(flag: Flag) -> str:
    short = next((name for name in flag.opts if not name.startswith("--")), "")
    optional = f'{flag.kind}[="{flag.bare}"]' if flag.kind and flag.bare else flag.kind
    return f"{f'{short}, ' if short else '    '}{flag.long}{f' {optional}' if optional else ''}"


def _rows(title: str, rows: Iterable[tuple[str, str]], least: int = 0) -> str:
    listed = list(rows)
    wide = max(least, *(len(left) for left, _ in listed))
    gap = "   " if title == "Flags:" else " "
    return "\n".join((title, *(f"  {left:<{wide}}{gap}{text}" for left, text in listed)))


def _variables(entry: Entry) -> Iterator[tuple[str, str]]:
    """The environment variables that a command reads, with their help: the server reads nearly all of them."""
    names = _READ.get(entry.name, _CLIENT)
    if not names:
        return
    from a3s_power.config import declared  # noqa: PLC0415 -- the root's page does without

    told = _OWN | {variable: one.setting.help for one in declared() for variable in one.setting.names}
    if entry.name == "serve":
        names = (*_SERVER_FIRST, *(name for name in told if name not in (*_SERVER_FIRST, *_OWN, "OLLAMA_API_KEY")))
    yield from ((name, told[name]) for name in names)
