"""Help pages, README, documentation and completions say the same of commands and flags: they have one table."""

import re
import shlex
from collections.abc import Iterator
from typing import Final

import click
import pytest
from click.shell_completion import BashComplete

from a3s_power.cli.help import page_of, root_page
from a3s_power.cli.main import COMMANDS, COMPLETE, FLAGS, PROGRAM, Entry, root
from a3s_power.cli.option_flags import TOLD
from a3s_power.cli.options import HELP, Command
from a3s_power.cli.slash import COMMANDS as SLASHES
from a3s_power.cli.slash_help import HELP as CHAT_HELP
from a3s_power.core.options import KINDS
from tests.shared import REPOSITORY

_IDS: Final = [entry.name for entry in COMMANDS]
_FLAG: Final = re.compile(r"--[a-z][a-z0-9-]*")


def _completed(line: str) -> list[str]:
    """What bash is told may follow."""
    words = line.split(" ")
    return [item.value for item in BashComplete(root, {}, PROGRAM, COMPLETE).get_completions(words[1:-1], words[-1])]


def _command(entry: Entry) -> Command:
    found = root.get_command(click.Context(root), entry.name)
    assert isinstance(found, Command)
    return found


def test_the_first_word_is_completed_from_the_table() -> None:
    assert _completed(f"{PROGRAM} ") == _IDS
    assert [line.split()[0] for line in _block(root_page(), "Available Commands:")] == _IDS


@pytest.mark.parametrize("entry", COMMANDS, ids=_IDS)
def test_flags_are_completed_as_the_page_has_them(entry: Entry) -> None:
    shown = {_FLAG.findall(line)[0] for line in _block(page_of(entry), "Flags:")}
    offered = {name for name in _completed(f"{PROGRAM} {entry.name} --") if name not in _second_names(entry)}
    assert offered == shown


def _second_names(entry: Entry) -> set[str]:
    """Other spellings of a flag, which a page leaves out."""
    return {name for flag in _command(entry).flags for name in flag.opts if name.startswith("--")} - {
        flag.long for flag in _command(entry).flags
    }


def _block(page: str, title: str) -> list[str]:
    return page.partition(f"{title}\n")[2].partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("entry", COMMANDS, ids=_IDS)
def test_every_flag_has_a_help_of_its_own(entry: Entry) -> None:
    texts = [flag.help or "" for flag in _command(entry).flags]
    assert all(texts)
    assert len(texts) == len(set(texts))
    assert [text for text in texts if text.startswith("Option ") or len(text) > 100] == []


def test_every_option_is_a_flag_of_run() -> None:
    assert set(TOLD) == {*KINDS, "logit_bias"}
    run = next(entry for entry in COMMANDS if entry.name == "run")
    names = {flag.long for flag in _command(run).flags}
    assert {f"--{name.replace('_', '-')}" for name in TOLD} - names == set()


def _typed(text: str) -> Iterator[list[str]]:
    """The command lines in a page's blocks of code, and in its running text."""
    blocks = re.findall(r"```(?:sh|text|console)?\n(.*?)```", text, re.DOTALL)
    for line in (line for block in blocks for line in block.splitlines()):
        found = re.search(rf"(?:^|[ /|&(]){PROGRAM} (?!\[)(.*)", line.partition("  #")[0].replace("\\\n", " "))
        if found and not line.startswith(("  a3s-power", "Use ")):
            yield shlex.split(found[1].split(" | ")[0].split(" && ")[0], posix=True)
    for line in re.findall(rf"`{PROGRAM} ([^`…]+)`", text):
        yield shlex.split(line)


@pytest.mark.parametrize("page", ["README.md", "docs/cli.md", "docs/performance.md", "docs/architecture.md"])
def test_pages_name_commands_and_flags_that_there_are(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8").replace('"…"', '""')
    by_name = {name: entry for entry in COMMANDS for name in (entry.name, entry.alias)}
    wrong = []
    for words in _typed(text):
        named = next((word for word in words if not word.startswith("-")), "")
        flags = {flag for word in words for flag in _FLAG.findall(word)[:1] if word.startswith("--")}
        known = {name for flag in FLAGS for name in flag.opts} | set(HELP)
        if named in by_name:
            known |= {name for flag in _command(by_name[named]).flags for name in flag.opts}
        if (named and named not in by_name) or flags - known:
            wrong.append(" ".join(words))
    assert wrong == []


def test_the_chat_tells_of_every_slash() -> None:
    told = re.findall(r"^  (/\S+)", CHAT_HELP, re.MULTILINE)
    assert {word.rstrip(",") for word in told} | {"/help", "/exit"} == {slash.word for slash in SLASHES}
