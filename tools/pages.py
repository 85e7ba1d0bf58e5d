"""Writes what docs/cli.md and docs/settings.md take from the tables of commands and settings."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

from a3s_power.cli.help import page_of, root_page
from a3s_power.cli.main import COMMANDS
from a3s_power.config import NOT_YET, Share, declared
from a3s_power.core.declared import Declared
from a3s_power.core.durations import format_duration

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"


def commands() -> Iterator[str]:
    """The page of every command."""
    yield from ("```text", root_page(), "```", "")
    for entry in COMMANDS:
        yield from (f"### {entry.name}", "", "```text", page_of(entry), "```", "")


def settings() -> Iterator[str]:
    """A row for every setting."""
    yield "| in the file | variable | default | meaning |"
    yield "|---|---|---|---|"
    for one in declared():
        variables = ", ".join(f"`{name}`" for name in one.setting.names)
        yield f"| `{one.name}` | {variables} | {_default(one)} | {one.setting.help} |"


def not_yet() -> Iterator[str]:
    """What is accepted with a warning."""
    yield from (f"- `{variable}`" for variable in NOT_YET)


def _default(one: Declared) -> str:
    match one.default:
        case "" | () | None:
            return ""
        case bool() as yes:
            return f"`{str(yes).lower()}`"
        case float() as seconds if math.isfinite(seconds) and not _is_share(one):
            return f'`"{format_duration(int(seconds * 10**9)).removesuffix("0s")}"`'
        case str() as text:
            return f'`"{text}"`'
    return f"`{one.default}`"


def _is_share(one: Declared) -> bool:
    """Whether a number is a part of something; all others with a fraction are seconds."""
    return all(each in get_args(one.type) for each in get_args(Share))


PARTS: Final = (
    ("cli.md", "commands", commands),
    ("settings.md", "settings", settings),
    ("settings.md", "not yet", not_yet),
)


def page_with(page: str, name: str, lines: Iterator[str]) -> str:
    """The page with these lines between the marks of this name."""
    begin, end = f"<!-- {name}: written by scripts/docs -->\n", f"<!-- /{name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        sys.exit(f"a page has lost the marks of its {name}")
    return before + begin + "\n".join((*lines, "")) + end + after


if __name__ == "__main__":
    for file, name, lines in PARTS:
        path = DOCS / file
        path.write_text(page_with(path.read_text(encoding="utf-8"), name, lines()), encoding="utf-8")
