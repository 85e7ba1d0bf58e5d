"""Every row of the table of checks in the sheet of OpenAI's API has a test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.shared import REPOSITORY

_ROWS: Final = set(range(1, 61))
_TESTS: Final = REPOSITORY / "tests"


def test_every_row_has_a_test() -> None:
    folders = (Path(__file__).parent, _TESTS / "unit" / "api" / "openai")
    modules = [
        _TESTS / "e2e" / "test_sdk_openai.py",
        *(file for folder in folders for file in folder.glob("test_*.py")),
    ]
    tested = {row for module in modules for row in _rows(ast.parse(module.read_text(encoding="utf-8")))}
    assert _ROWS - tested == set()


def _rows(module: ast.Module) -> Iterator[int]:
    """Rows named in docstrings of tests, and those that are the first column of a table."""
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for rows in re.findall(r"\b[Rr]ows? ([0-9, ]+)", ast.get_docstring(node) or ""):
                    yield from map(int, re.findall(r"[0-9]+", rows))
            case ast.Tuple(elts=[ast.Constant(value=int(row)), ast.Dict() | ast.Call() | ast.Name(), *_]):
                yield row
