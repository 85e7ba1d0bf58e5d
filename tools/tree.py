"""Writes the package tree into docs/architecture.md, each module with the first line of its docstring."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PAGE: Final = REPOSITORY / "docs/architecture.md"
_PACKAGE: Final = REPOSITORY / "src/a3s_power"
_BEGIN: Final = "<!-- tree: written by scripts/docs -->\n```\n"
_END: Final = "```\n<!-- /tree -->"
_COLUMN: Final = 28


def promise(module: Path) -> str:
    """The first line of a module's docstring, without the full stop that ends it."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].removesuffix(".")


def lines(package: Path, depth: int = 0) -> Iterator[str]:
    """A package: its own line, its modules, then the packages inside it."""
    yield f"{'    ' * depth}{package.name + '/':{_COLUMN - 4 * depth}}{promise(package / '__init__.py')}".rstrip()
    modules = sorted(path for path in package.glob("*.py") if path.name != "__init__.py")
    for module in modules:
        yield f"{'    ' * (depth + 1)}{module.name:{_COLUMN - 4 * depth - 5}} {promise(module)}"
    for inner in sorted(path.parent for path in package.glob("*/__init__.py")):
        yield from lines(inner, depth + 1)


def page_with_tree(page: str) -> str:
    """The page with the tree of today between its marks."""
    before, found, rest = page.partition(_BEGIN)
    _, closed, after = rest.partition(_END)
    if not (found and closed):
        sys.exit(f"{PAGE.name} has lost the marks of its tree")
    return before + _BEGIN + "\n".join(lines(_PACKAGE)) + "\n" + _END + after


if __name__ == "__main__":
    PAGE.write_text(page_with_tree(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
