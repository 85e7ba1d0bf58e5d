"""The shelf of built engines: what stands there, which one is used, and what is said of one that is not there."""

from pathlib import Path

import pytest

from a3s_power.core.errors import BadConfig, NotFound
from a3s_power.native.shelf import OWN, WHEEL, Built, Choice, Measured, Shelf, Speed

MEASURED = Measured(wheel=Speed(100.0, 40.0), native=Speed(150.0, 44.0))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "engines")


def _put(shelf: Shelf, name: str) -> None:
    made = shelf.folder / f".building-1-x-{name}"
    made.mkdir(parents=True)
    (made / "llama-server").write_text(name)
    facts = Built(name=name, version="1", sha256="0", processor="p", backend="cpu", compiler="c++", built=1.0)
    shelf.put(made, facts)


def test_engines_are_listed_with_what_was_measured(shelf: Shelf) -> None:
    assert shelf.built() == []
    for name in ("2-b", "1-a"):
        _put(shelf, name)
    shelf.note("1-a", MEASURED)
    first, second = shelf.built()
    assert (first.name, first.measured, second.name, second.measured) == ("1-a", MEASURED, "2-b", None)
    assert (MEASURED.prompt_factor, MEASURED.output_factor) == (1.5, 1.1)


def test_what_cannot_be_read_is_no_engine(shelf: Shelf) -> None:
    _put(shelf, "1-a")
    (shelf.folder / "odd").mkdir()
    (shelf.folder / "odd" / "engine.json").write_text("{")
    assert [one.name for one in shelf.built()] == ["1-a"]


def test_an_engine_takes_the_place_of_an_older_one(shelf: Shelf) -> None:
    for _ in range(2):
        _put(shelf, "1-a")
    assert [path.name for path in shelf.folder.iterdir()] == ["1-a"]


def test_the_choice_is_kept_until_its_engine_is_removed(shelf: Shelf) -> None:
    assert shelf.resolve("", "") == Choice(WHEEL, WHEEL)
    _put(shelf, "1-a")
    shelf.choose("1-a")
    program = str(shelf.folder / "1-a" / "llama-server")
    assert Shelf(shelf.folder).resolve("", "") == Choice("llamaserver", "1-a", program)
    shelf.remove("1-a")
    assert shelf.resolve("", "") == Choice(WHEEL, WHEEL)
    assert list(shelf.folder.iterdir()) == []


def test_the_settings_go_before_the_choice(shelf: Shelf) -> None:
    for name in ("1-a", "2-b"):
        _put(shelf, name)
    shelf.choose("1-a")
    assert shelf.resolve("2-b", "").name == "2-b"
    assert shelf.resolve("llamacpp", "/own").name == WHEEL
    assert shelf.resolve("", "/own") == shelf.resolve("llamaserver", "/own") == Choice("llamaserver", OWN, "/own")
    # One that is gone is no reason to take another: its load says so.
    assert shelf.resolve("3-c", "").program == str(shelf.folder / "3-c" / "llama-server")


@pytest.mark.parametrize(
    ("name", "why"), [("llamaserver", "does not name it"), ("../x", "no name"), (".building-1", "no name")]
)
def test_a_name_that_can_be_no_engine_is_refused(shelf: Shelf, name: str, why: str) -> None:
    with pytest.raises(BadConfig, match=why):
        shelf.resolve(name, "")


def test_only_what_is_there_can_be_chosen_or_removed(shelf: Shelf) -> None:
    for change in (shelf.choose, shelf.remove):
        with pytest.raises(NotFound):
            change("1-a")
    with pytest.raises(NotFound):
        shelf.remove("llamacpp")
