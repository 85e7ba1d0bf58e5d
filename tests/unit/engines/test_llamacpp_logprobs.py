"""Log-probabilities put together by token: held back, split over tokens, cut off, and never told."""

from collections.abc import Sequence
from typing import Any

import pytest

from a3s_power.core.events import TokenLogprob
from a3s_power.engines.llamacpp_logprobs import MOST_ASKED, Ledger
from a3s_power.engines.llamacpp_wire import Choice, Chunk, Likely, Logprobs, Verbose
from a3s_power.gguf.vocabulary import Vocabulary

# Ids: 0 to 255 are the bytes, then a few words, and one that ends an answer.
AB, CD, END = 256, 257, 258
VOCABULARY = Vocabulary(
    [*(f"<0x{byte:02X}>" for byte in range(256)), "ab", "cd", "</s>"], [*[6] * 256, 1, 1, 3], byte_level=False
)
E = tuple("é".encode())


def _chunk(text: str, token: int, count: int, reason: str | None = None) -> Chunk:
    likely = Likely(id=token, token=text, bytes=list(text.encode()), logprob=-float(count))
    return Chunk(choices=[Choice(text, reason, Logprobs([likely]))], verbose=Verbose([token], count))


def _last(count: int) -> Chunk:
    return Chunk(choices=[Choice("", "stop")], verbose=Verbose([], count))


def _told(ledger: Ledger, *chunks: Chunk) -> list[TokenLogprob]:
    pieces = [ledger.piece(chunk) for chunk in chunks]
    return [entry for piece in pieces if piece is not None for entry in piece.logprobs]


def _shown(entries: Sequence[TokenLogprob]) -> list[tuple[bytes, float]]:
    return [(entry.said.bytes, entry.said.logprob) for entry in entries]


def _ledger(**more: Any) -> Ledger:
    return Ledger(VOCABULARY, **{"top": 0} | more)


class Asked:
    """Answers that all bytes are as likely, and remembers what it was asked."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = tokens
        self.ids: list[list[int]] = []

    def __call__(self, ids: Sequence[int]) -> Sequence[Likely]:
        self.ids.append(list(ids))
        return [Likely(id=token, bytes=[token % 256], logprob=-0.5) for token in self.tokens]


def test_a_token_is_told_when_its_text_is_there() -> None:
    ledger = _ledger()
    assert ledger.piece(_chunk("", AB, 1)) is None
    assert _shown(_told(ledger, _chunk("abcd", CD, 2), _chunk("", END, 3))) == [(b"ab", -1), (b"cd", -2), (b"", -3)]
    assert ledger.rest(None, stopped=False) == ()


def test_the_tokens_of_a_stop_text_are_not_told_and_others_are_at_the_end() -> None:
    for stopped in (True, False):
        ledger = _ledger()
        assert _shown(_told(ledger, _chunk("ab", AB, 1), _chunk("", CD, 2), _last(2))) == [(b"ab", -1)]
        assert len(ledger.rest(None, stopped=stopped)) == (0 if stopped else 1)


def test_what_was_hidden_is_asked_for_and_all_behind_it_waits() -> None:
    ledger, asked = _ledger(), Asked(*E)
    chunks = (_chunk("ab", AB, 1), _chunk("é", E[1], 3), _chunk("ab", AB, 4), _last(4))
    assert _shown(_told(ledger, *chunks)) == [(b"ab", -1)]
    assert _shown(ledger.rest(asked, stopped=False)) == [(b"\xc3", -0.5), (b"\xa9", -3), (b"ab", -4)]
    assert asked.ids == [[AB]]


def test_each_hidden_token_is_asked_for_behind_those_before_it() -> None:
    ledger, smile = _ledger(), tuple("😀".encode())
    _told(ledger, _chunk("😀", smile[3], 4), _chunk("é", E[1], 6))
    asked = Asked(*smile, *E)
    assert [shown for shown, _ in _shown(ledger.rest(asked, stopped=False))] == [bytes([b]) for b in (*smile, *E)]
    assert asked.ids == [[], [*smile[:1]], [*smile[:2]], [*smile]]


@pytest.mark.parametrize("ask", [None, Asked(65), Asked()])
def test_what_cannot_be_known_is_one_entry_for_the_character(ask: Asked | None) -> None:
    ledger = _ledger()
    _told(ledger, _chunk("é", E[1], 2), _chunk("é", E[1], 4), _chunk("ab", AB, 5))
    assert _shown(ledger.rest(ask, stopped=False)) == [("é".encode(), -2), ("é".encode(), -4), (b"ab", -5)]


def test_no_more_is_asked_for_than_the_limit() -> None:
    ledger, asked = _ledger(), Asked(*E)
    _told(ledger, *(_chunk("é", E[1], 2 * number) for number in range(1, MOST_ASKED + 9)))
    entries = ledger.rest(asked, stopped=False)
    assert len(asked.ids) == MOST_ASKED
    assert b"".join(entry.said.bytes for entry in entries) == "é".encode() * (MOST_ASKED + 8)


@pytest.mark.parametrize(("greedy", "told"), [(True, [(b"\xc3", -0.5)]), (False, [])])
def test_the_beginning_of_a_character_that_was_cut_off_is_sure_only_when_greedy(greedy: bool, told: object) -> None:
    ledger = _ledger(greedy=greedy)
    _told(ledger, _chunk("ab", AB, 1), _last(2))
    assert _shown(ledger.rest(Asked(*E), stopped=False)) == told


def test_without_a_vocabulary_it_is_as_the_engine_says() -> None:
    ledger = Ledger(None, top=0)
    assert _shown(_told(ledger, _chunk("", AB, 1), _chunk("é", E[1], 3))) == [(b"", -1), ("é".encode(), -3)]
    assert ledger.rest(Asked(*E), stopped=False) == ()


def _guessed(text: str, token: int, count: int) -> Chunk:
    return Chunk(choices=[Choice(text)], verbose=Verbose([token], count))


def test_what_was_guessed_ahead_is_asked_for_and_all_behind_it_waits() -> None:
    ledger, asked = _ledger(), Asked(AB, CD)
    chunks = (_chunk("ab", AB, 1), _guessed("cd", CD, 2), _guessed("ab", AB, 3), _chunk("cd", CD, 4), _last(4))
    assert _shown(_told(ledger, *chunks)) == [(b"ab", -1)]
    assert _shown(ledger.rest(asked, stopped=False)) == [(b"cd", -0.5), (b"ab", -0.5), (b"cd", -4)]
    assert asked.ids == [[AB], [AB, CD]]


def test_a_guessed_token_is_told_once_when_its_text_comes_late_or_in_parts() -> None:
    ledger, asked = _ledger(), Asked(AB, CD, *E)
    _told(ledger, _guessed("", AB, 1), _guessed("abcd", CD, 2), _guessed("é", E[1], 4), _last(4))
    assert _shown(ledger.rest(asked, stopped=False)) == [
        *((b"ab", -0.5), (b"cd", -0.5)),
        *((b"\xc3", -0.5), (b"\xa9", -0.5)),
    ]


def test_a_guessed_token_that_is_none_of_the_likeliest_is_no_likelier_than_those() -> None:
    ledger = _ledger()
    _told(ledger, _guessed("cd", CD, 1), _last(1))
    assert _shown(ledger.rest(Asked(AB), stopped=False)) == [(b"cd", -0.5)]
