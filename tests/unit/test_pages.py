"""The pages of commands and settings are those of today's tables."""

import pytest

from tools.pages import DOCS, PARTS, page_with


@pytest.mark.parametrize(("file", "name", "lines"), PARTS, ids=[name for _, name, _ in PARTS])
def test_a_page_is_current(file: str, name: str, lines: object) -> None:
    page = (DOCS / file).read_text(encoding="utf-8")
    assert callable(lines)
    assert page == page_with(page, name, lines()), "run scripts/docs"


def test_a_page_without_its_marks_is_told() -> None:
    with pytest.raises(SystemExit, match="a page has lost the marks of its x"):
        page_with("no marks", "x", iter(()))
