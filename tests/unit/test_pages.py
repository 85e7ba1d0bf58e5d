"""The pages of commands and settings are those of today's tables."""

import re

import pytest

from a3s_power.cli.main import COMMANDS
from tools.pages import DOCS, PARTS, page_with
from tools.sessions import TASKS


@pytest.mark.parametrize(("file", "name", "lines"), PARTS, ids=[name for _, name, _ in PARTS])
def test_a_page_is_current(file: str, name: str, lines: object) -> None:
    page = (DOCS / file).read_text(encoding="utf-8")
    assert callable(lines)
    assert page == page_with(page, name, lines()), "run scripts/docs"


def test_a_page_without_its_marks_is_told() -> None:
    with pytest.raises(SystemExit, match="a page has lost the marks of its x"):
        page_with("no marks", "x", iter(()))


def test_the_recorded_sessions_show_commands_that_are_there() -> None:
    page = (DOCS / "sessions.md").read_text(encoding="utf-8")
    typed = [line for line in page.splitlines() if line.startswith("$ ")]
    for task in TASKS:
        assert f"## {task.title}\n" in page
        assert [f"$ {line}" for line in task.lines if f"$ {line}" not in typed] == []
    called = set(re.findall(r"a3s-power ([a-z]+)", "\n".join(typed)))
    assert called - {entry.name for entry in COMMANDS} == {"lst"}
