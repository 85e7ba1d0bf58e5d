"""The sheet of templates and parsers: its golden vectors all have a test, and its names are all known here."""

import ast
import re
from pathlib import Path

import pytest

from a3s_power.prompt.families import NAMES
from a3s_power.prompt.readings import READINGS
from tests.shared import shared_file

_OURS = {"pythonic", "seed-oss"}


@pytest.fixture(scope="module")
def sheet() -> str:
    return shared_file("compat/templates-and-parsers.md").read_text(encoding="utf-8")


def section(sheet: str, number: int) -> str:
    return sheet.partition(f"\n## {number}. ")[2].partition("\n## ")[0]


def first_column(table: str) -> set[str]:
    cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    names: list[str] = []
    for name in re.findall(r"`([^`]+)`", "".join(cells)):
        # `x-instruct` / `-thinking` is short for two names.
        names.append(names[-1].rpartition("-")[0] + name if name.startswith("-") else name)
    return set(names)


def test_every_named_renderer_is_known(sheet: str) -> None:
    assert first_column(section(sheet, 14)) == NAMES


def test_every_named_parser_is_known(sheet: str) -> None:
    assert first_column(section(sheet, 15)) == set(READINGS) - _OURS


def test_every_golden_vector_has_a_test(sheet: str) -> None:
    module = ast.parse(Path(__file__).with_name("test_gotemplate.py").read_text(encoding="utf-8"))
    tested = {
        node.value.strip()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    rows = [row.replace("\\|", "|") for row in section(sheet, 20).splitlines() if row.startswith("|") and "{{" in row]
    vectors = {text for row in rows for text in re.findall(r"`([^`]*\{\{[^`]*\}\}[^`]*)`", row) if " · " not in text}
    assert len(vectors) > 40
    missing = {text for text in vectors if not any(text.replace("\\n", "\n").strip() in case for case in tested)}
    assert missing == set()
