"""Every row of the table of cases in the sheet of Ollama's API has a test here, or a reason why not."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_ROWS: Final = set(range(1, 163))
_ELSEWHERE: Final = {
    96: "a format is refused until it can be enforced",
    127: "the old `modelfile` field is taken here, its own tests",
    149: "who is evicted is the scheduler's to say: its own tests",
}


def test_every_row_has_a_test() -> None:
    modules = [*_HERE.glob("test_*.py"), _HERE.parent / "security" / "test_network.py"]
    tested = {row for module in modules for row in _rows(ast.parse(module.read_text(encoding="utf-8")))}
    assert _ROWS - tested - set(_ELSEWHERE) == set()
    assert tested & set(_ELSEWHERE) == set()


def _rows(module: ast.Module) -> Iterator[int]:
    """Rows named in docstrings, and those that are the first column of a table."""
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef():
                for rows in re.findall(r"\b[Rr]ows? ([0-9, ]+)", ast.get_docstring(node) or ""):
                    yield from map(int, re.findall(r"[0-9]+", rows))
            case ast.Tuple(elts=[ast.Constant(value=int()), ast.Constant(value=int())]):
                continue
            case ast.Tuple(elts=[ast.Constant(value=int(row)), _, *_]):
                yield row
