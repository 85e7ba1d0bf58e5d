"""Flags and words of a command line, read and refused as Go's flag packages do: what scripts for Ollama expect."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from a3s_power.core.errors import BadRequest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_TRUTHS: Final = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)
_INT64: Final = 2**63


class _Type(click.ParamType[object]):
    """A type by the function that reads it from text; ValueError says in Go's words why it cannot."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:  # noqa: ARG002
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            spelled = ", ".join(sorted(param.opts, key=len)) if param else ""
            raise BadRequest(f'invalid argument {_quoted(value)} for "{spelled}" flag: {error}') from None


def _boolean(text: str) -> bool:
    if text not in _TRUTHS:
        raise ValueError(f"strconv.ParseBool: parsing {_quoted(text)}: invalid syntax")
    return _TRUTHS[text]


def _integer(text: str) -> int:
    if not re.fullmatch(r"[-+]?[0-9]+", text):
        raise ValueError(f"strconv.ParseInt: parsing {_quoted(text)}: invalid syntax")
    if len(text) > 20 or not -_INT64 <= int(text) < _INT64:
        raise ValueError(f"strconv.ParseInt: parsing {_quoted(text)}: value out of range")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"strconv.ParseFloat: parsing {_quoted(text)}: invalid syntax") from None


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


BOOLEAN: Final = _Type("", _boolean)
TEXT: Final = _Type("string", str)
WHOLE: Final = _Type("int", _integer)
NUMBER: Final = _Type("float", _number)


class Flag(click.Option):
    """A flag with a value. `bare` is the value it has without `=`; where it has none, the next word is its value.

    One that was not given is `None`, or False where it is a yes or no; `unsaid` keeps the `None` there, too.
    """

    def __init__(
        self,
        names: str,
        help_text: str,
        kind: _Type = TEXT,
        *,
        bare: str = "",
        hidden: bool = False,
        unsaid: bool = False,
    ) -> None:
        default = False if kind is BOOLEAN and not unsaid else None
        super().__init__(names.split(), type=kind, help=help_text, default=default, hidden=hidden, is_flag=False)
        self.kind: Final = kind.name
        self.bare: Final = "true" if kind is BOOLEAN else bare

    @property
    def long(self) -> str:
        """Its name behind two dashes."""
        return next(name for name in self.opts if name.startswith("--"))


HELP: Final = ("--help", "-h")


def canonical(args: Sequence[str], flags: Iterable[Flag]) -> tuple[list[str], list[str]]:
    """The command line as flags of the form `--name=value`, and words. What follows `--` is words.

    Raises:
        BadRequest: an unknown flag, or one without its value.
    """
    known = {name: one for one in flags for name in one.opts}
    said: list[str] = []
    words: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            words.extend(rest)
        elif arg.startswith("--"):
            said.append(_long(arg, known, rest))
        elif arg.startswith("-") and arg != "-":
            said.extend(_short(arg, known, rest))
        else:
            words.append(arg)
    return said, words


def _long(arg: str, known: dict[str, Flag], rest: Iterator[str]) -> str:
    name, equals, _ = arg.partition("=")
    if name in HELP:
        return HELP[0]
    if name not in known:
        raise BadRequest(f"unknown flag: {name}{_like(name, known)}")
    if equals:
        return arg
    return f"{name}={known[name].bare or _following(rest, f'flag needs an argument: {name}')}"


def _like(name: str, known: Iterable[str]) -> str:
    """The flags that a wrong one may have meant, in the form that commands are suggested in."""
    import difflib  # noqa: PLC0415 -- only ever on the way to an error

    near = difflib.get_close_matches(name, [one for one in known if one.startswith("--")], n=3, cutoff=0.75)
    return "\n\nDid you mean this?\n" + "".join(f"\t{one}\n" for one in near) if near else ""


def _short(arg: str, known: dict[str, Flag], rest: Iterator[str]) -> Iterator[str]:
    """One-letter flags, several behind one dash; the last may have a value, with or without `=` before it."""
    letters = arg[1:]
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        if name in HELP:
            yield HELP[0]
            continue
        if name not in known:
            raise BadRequest(f"unknown shorthand flag: '{name[1]}' in {arg}")
        long = known[name].long
        if letters.startswith("="):
            yield f"{long}={letters[1:]}"
            return
        if known[name].bare:
            yield f"{long}={known[name].bare}"
            continue
        value = letters or _following(rest, f"flag needs an argument: {name[1]!r} in {arg}")
        yield f"{long}={value}"
        return


def _following(rest: Iterator[str], complaint: str) -> str:
    value = next(rest, None)
    if value is None:
        raise BadRequest(complaint)
    return value


def json_flag() -> Flag:
    """The flag of every command that lists something."""
    return Flag("--json", "Print JSON, for other programs", BOOLEAN)


class Command(click.Command):
    """A command of the table in `cli.main`: it takes from `least` to `most` words, and flags, in any order."""

    def __init__(
        self, name: str, callback: Callable[..., object], flags: Sequence[Flag], least: int, most: int | None
    ) -> None:
        words = click.Argument(["words"], nargs=-1, shell_complete=_completions)
        settings = {"help_option_names": list(HELP)}
        super().__init__(name, callback=callback, params=[*flags, words], context_settings=settings)
        self._least = least
        self._most = most

    @property
    def flags(self) -> list[Flag]:
        """Its flags, sorted by name."""
        found = [one for one in self.params if isinstance(one, Flag)]
        return sorted(found, key=lambda one: one.long)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line. Raises BadRequest in the words of Go's flag packages."""
        if ctx.resilient_parsing:
            # A shell asks what may come next: whatever is wrong so far is said when the line is run.
            return super().parse_args(ctx, [arg for arg in args if not arg.startswith("-")])
        said, words = canonical(args, self.flags)
        if HELP[0] not in said:
            self._check(len(words))
        return super().parse_args(ctx, [*said, "--", *words])

    def _check(self, count: int) -> None:
        if self._most == self._least != count:
            raise BadRequest(f"accepts {self._least} arg(s), received {count}")
        if count < self._least:
            raise BadRequest(f"requires at least {self._least} arg(s), only received {count}")

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002 -- click's signature
        """The page that `--help` prints."""
        from a3s_power.cli.help import command_page  # noqa: PLC0415 -- printed only when asked for

        return command_page(self)


def _completions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list["CompletionItem"]:  # noqa: ARG001
    from a3s_power.cli.complete import words  # noqa: PLC0415 -- only when a shell asks

    return words(ctx.command.name or "", incomplete)


def command(
    name: str, *flags: Flag, least: int = 0, most: int | None = None
) -> Callable[[Callable[..., object]], Command]:
    """Make a function a command: it is called with `words`, and each flag by its name."""
    return lambda callback: Command(name, callback, flags, least, most)
