"""Conversations whose tokens are not those of their text are put together of the tokens that are known."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from a3s_power.core.model import ModelFiles
from a3s_power.engines.echo import Echo
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.runner.known import Known


class Letters(Echo):
    """Echo with a token for each letter, too, so that a text has several ways to be made of tokens."""

    def letters(self, text: str) -> list[int]:
        """The text, letter by letter."""
        return [token for letter in text for token in self.tokenize(letter)]


@pytest.fixture
def engine() -> Letters:
    """One that has loaded something."""
    engine = Letters()
    engine.load(ModelFiles(weights=""), LoadOptions(context_length=1000), lambda _fraction: None)
    return engine


def _known(engine: Echo) -> Known:
    return Known(engine, Loaded(context_length=1000, parallel=1, memory_bytes=0))


def _text(engine: Echo, tokens: Sequence[int] | None) -> str:
    return engine.detokenize(tokens or ())


def test_an_answer_said_in_the_tokens_of_its_text_is_nothing_to_know(engine: Letters) -> None:
    known = _known(engine)
    known.learn("a b", "a b", " c d", engine.tokenize(" c d"))
    assert known.tokens("a b c d e") is None


def test_an_answer_said_otherwise_keeps_its_tokens(engine: Letters) -> None:
    known, said = _known(engine), engine.letters("cat")
    known.learn("a b ", "a b ", "cat", said)
    found = known.tokens("a b cat e f")
    assert found == (*engine.tokenize("a b "), *said, *engine.tokenize(" e f"))
    assert _text(engine, found) == "a b cat e f"


def test_a_conversation_goes_on_from_what_it_was_read_as(engine: Letters) -> None:
    known, first, second = _known(engine), engine.letters("cat"), engine.letters("dog")
    known.learn("a ", "a ", "cat", first)
    asked = known.tokens("a cat b ")
    assert asked is not None
    known.learn("a cat b ", asked, "dog", second)
    assert known.tokens("a cat b dog c") == (*asked, *second, *engine.tokenize(" c"))


def test_a_token_that_crosses_the_end_of_the_answer_leaves_the_text_to_the_engine(engine: Letters) -> None:
    known = _known(engine)
    known.learn("a ", "a ", "cat", engine.letters("cat"))
    assert known.tokens("a cats b") is None


def test_another_conversation_knows_nothing_of_it(engine: Letters) -> None:
    known = _known(engine)
    known.learn("a ", "a ", "cat", engine.letters("cat"))
    assert known.tokens("b cat e") is None


def test_tokens_that_are_more_than_the_text_are_not_put_back(engine: Letters) -> None:
    known = _known(engine)
    known.learn("a ", "a ", "cat", [*engine.letters("cat"), *engine.tokenize("<|im_start|>")])
    assert known.tokens("a cat e") is None


def test_the_conversations_of_late_are_kept_and_no_more(engine: Letters) -> None:
    known, said = _known(engine), engine.letters("cat")
    for number in range(65):
        known.learn(f"{number} ", f"{number} ", "cat", said)
    assert known.tokens("0 cat e") is None
    assert known.tokens("64 cat e") is not None


def test_they_outlive_the_child_in_a_file_for_us_alone(engine: Letters, tmp_path: Path) -> None:
    known = _known(engine)
    known.learn("a ", "a ", "cat", engine.letters("cat"))
    known.keep(str(tmp_path))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    again = _known(engine)
    again.restore(str(tmp_path))
    assert again.tokens("a cat e") == known.tokens("a cat e") is not None


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b"", bytes.swapcase])
def test_a_damaged_file_is_left_alone_with_a_word(
    engine: Letters, tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: object
) -> None:
    known = _known(engine)
    known.learn("a ", "a ", "cat", engine.letters("cat"))
    known.keep(str(tmp_path))
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]  # any of those above
    again = _known(engine)
    again.restore(str(tmp_path))
    assert again.tokens("a cat e") is None
    assert "not used" in capfd.readouterr().err
