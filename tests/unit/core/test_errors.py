"""The tree of errors: every one crosses a process boundary and keeps its kind, its sentence and its status."""

from collections.abc import Iterator

import pytest

from a3s_power.core import errors
from a3s_power.core.errors import BlobNotFound, EngineFailed, ModelNotFound, PowerError, QueueFull, revive


def _tree(root: type[PowerError]) -> Iterator[type[PowerError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


@pytest.mark.parametrize("kind", [kind for kind in _tree(PowerError) if kind.__module__ == errors.__name__])
def test_an_error_comes_back_as_what_it_was(kind: type[PowerError]) -> None:
    error = revive(kind.__name__, "because")
    assert type(error) is kind
    assert (error.kind, error.message, str(error)) == (kind.__name__, "because", "because")
    assert 400 <= error.status < 600


def test_an_unknown_kind_is_a_failure_of_the_engine() -> None:
    assert type(revive("SomethingNew", "boom")) is EngineFailed


def test_errors_speak_ollama_s_sentences() -> None:
    assert str(ModelNotFound("nope:latest")) == "model 'nope:latest' not found"
    assert str(BlobNotFound("sha256:0")) == 'blob "sha256:0" not found'
    assert str(QueueFull()) == "server busy, please try again.  maximum pending requests exceeded"


def test_the_tree_is_drawn_whole() -> None:
    drawn = errors.__doc__ or ""
    assert [
        kind.__name__ for kind in _tree(PowerError) if kind.__module__ == errors.__name__ and kind.__name__ not in drawn
    ] == []
