"""Every row of sections 2 to 6 and 11 of the security sheet has a test that names it, or a reason why not."""

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.shared import REPOSITORY, shared_file

_SECTIONS: Final = (*range(2, 7), 11)
_ROW: Final = re.compile(r"^\| ([A-Z]+-[0-9]{2}) \|", re.MULTILINE)
_ID: Final = re.compile(r"\b[A-Z]+-[0-9]{2}\b")
_NO_KEYS: Final = "there are no API keys, scopes and quotas in this version"
_UNTESTED: Final = {
    **{f"AUTH-{number:02}": _NO_KEYS for number in range(1, 13)},
    "PATH-13": _NO_KEYS,
    "TERM-06": "no page shows what a model or a manifest says: /docs is made of our own table, and runs nothing",
    "TERM-07": "nothing is exported as CSV in this version",
}


def _rows() -> set[str]:
    sheet = shared_file("compat/security-cases.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", sheet, flags=re.MULTILINE)
    return {
        row
        for text in sections
        if text[:1].isdigit() and int(text.split(".")[0]) in _SECTIONS
        for row in _ROW.findall(text)
    }


def _named() -> Iterator[str]:
    """What the docstrings of test functions name."""
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield from _ID.findall(ast.get_docstring(node) or "")


def test_every_row_has_a_test() -> None:
    rows, named = _rows(), set(_named())
    assert len(rows) > 70
    assert rows - named - set(_UNTESTED) == set()
    assert named & set(_UNTESTED) == set(), "tested by now: no reason is needed any more"


@pytest.mark.parametrize("row", _UNTESTED)
def test_a_reason_is_for_a_row_that_is_there(row: str) -> None:
    assert row in _rows()
