"""Log-probabilities token by token, put together from what llama.cpp tells by the piece.

An entry's text is what stands in the piece: nothing while a stop text may be forming, then all that was held back. Of a
character that is several tokens only the last one is told, and of a token that was guessed ahead only its id. So the
bytes are taken from the vocabulary here, and what was never told is asked for when the answer has ended; what follows
the first of it waits until then.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

from a3s_power.core.events import Logprob, TokenLogprob
from a3s_power.engines.engine import Piece
from a3s_power.engines.llamacpp_wire import Chunk, Likely, Verbose, logprob, said
from a3s_power.gguf.vocabulary import Vocabulary

Ask = Callable[[Sequence[int]], Sequence[Likely]]
"""The likeliest tokens behind the answer's first ones, which are given by their ids; best first, none when unknown."""

MOST_ASKED: Final = 256
"""So many tokens are asked for after an answer; of characters behind them only the last parts are told."""

_CONTINUES: Final = range(0x80, 0xC0)
"""Bytes of UTF-8 that begin no character."""


class _Told(NamedTuple):
    """A token with what the engine told of it, behind `hidden` ones of which it told nothing.

    Of a `guessed` one it told the id.
    """

    hidden: int
    likely: Likely
    guessed: bool = False


class _Matched(NamedTuple):
    """A token with its entry, behind `hidden` ones that stand for the bytes `before`."""

    entry: TokenLogprob
    token: int
    hidden: int = 0
    before: bytes = b""
    guessed: bool = False


class Ledger:
    """The log-probabilities of one answer. Without a vocabulary entries are as the engine tells them.

    `top` alternatives are told of each token; `visible` are the special tokens that appear as text. With `greedy` the
    likeliest token is the one that was said.
    """

    def __init__(
        self, vocabulary: Vocabulary | None, *, top: int, visible: Collection[str] = (), greedy: bool = False
    ) -> None:
        self._vocabulary = vocabulary
        self._top = top
        self._visible = visible
        self._greedy = greedy
        self._count = 0
        self._total = 0
        self._text = bytearray()
        self._waiting: deque[_Told] = deque()
        self._ids: list[int] = []
        self._held: list[_Matched] = []

    def piece(self, chunk: Chunk) -> Piece | None:
        """The chunk's piece, with the entries of the tokens that its text completes."""
        if not chunk.choices:
            return None
        choice = chunk.choices[0]
        content = choice.logprobs.content if choice.logprobs is not None else []
        if self._vocabulary is None or any(likely.id < 0 for likely in content):
            entries = [said(likely, self._top) for likely in content]
        else:
            self._take(choice.text, content, chunk.verbose or Verbose())
            entries = list(self._entries(self._vocabulary))
        return Piece(choice.text, tuple(entries)) if choice.text or entries else None

    def rest(self, ask: Ask | None, *, stopped: bool) -> tuple[TokenLogprob, ...]:
        """What waited for the end of the answer. The tokens of a stop text that ended it are no part of it."""
        entries: list[TokenLogprob] = []
        left = MOST_ASKED if ask is not None else 0
        for each in self._held:
            hidden = self._hidden(each, ask, left)
            # Behind a token whose id is not known nothing can be asked.
            left = 0 if hidden is None else left - len(hidden)
            own = self._guessed(each, ask) if each.guessed else each.entry
            entries += [_merged(each)] if hidden is None else [*hidden, own]
            self._ids.append(each.token)
        if stopped:
            return tuple(entries)
        entries += [said(told.likely, self._top) for told in self._waiting]
        if ask is not None and self._greedy and not self._waiting and self._total - self._count <= left:
            entries += self._unfinished(ask, self._total - self._count)
        return tuple(entries)

    def _take(self, text: str, content: Sequence[Likely], told: Verbose) -> None:
        self._text += text.encode()
        total, guessed = told.tokens_predicted, not content and told.tokens_predicted > self._total
        if guessed:
            content = [Likely(id=token) for token in told.tokens]
        for likely in content:
            self._waiting.append(_Told(max(total - self._count - len(content), 0), likely, guessed))
        self._total = max(self._total, total)
        if content:
            self._count = max(total, self._count + len(content))

    def _entries(self, vocabulary: Vocabulary) -> Iterator[TokenLogprob]:
        for each in self._matched(vocabulary):
            if each.hidden or each.guessed or self._held:
                self._held.append(each)
            else:
                self._ids.append(each.token)
                yield each.entry

    def _matched(self, vocabulary: Vocabulary) -> Iterator[_Matched]:
        """The tokens whose text has arrived."""
        while self._waiting:
            hidden, likely, guessed = self._waiting[0]
            piece = vocabulary.piece(likely.id, self._visible)
            at = _place(self._text, piece, hidden)
            if at is None:
                return
            self._waiting.popleft()
            yield _Matched(_entry(likely, piece, self._top), likely.id, hidden, bytes(self._text[:at]), guessed)
            del self._text[: at + len(piece)]

    def _hidden(self, each: _Matched, ask: Ask | None, left: int) -> list[TokenLogprob] | None:
        """The entries of the tokens hidden before this one; `None` where they cannot be told."""
        if not each.hidden:
            return []
        if ask is None or self._vocabulary is None or each.hidden > left:
            return None
        tokens = self._vocabulary.spelled(each.before, each.hidden)
        entries = []
        for token in tokens or ():
            likely = ask(self._ids)
            own = next((one for one in likely if one.id == token), None)
            if own is None:
                return None
            entries.append(_asked(own, self._vocabulary.piece(token), likely[: self._top]))
            self._ids.append(token)
        return entries or None

    def _guessed(self, each: _Matched, ask: Ask | None) -> TokenLogprob:
        """The entry of a token that was guessed ahead; of one that is not among the likeliest no more than they."""
        likely = ask(self._ids) if ask is not None else ()
        piece = each.entry.said.bytes
        own = next((one for one in likely if one.id == each.token), None)
        if own is None:
            own = Likely(id=each.token, logprob=likely[-1].logprob if likely else None)
        return _asked(own, piece, likely[: self._top])

    def _unfinished(self, ask: Ask, count: int) -> Iterator[TokenLogprob]:
        """The entries of the first parts of a character that the answer's end cut off."""
        for _ in range(count):
            likely = ask(self._ids)
            if not likely:
                return
            yield _asked(likely[0], bytes(likely[0].bytes), likely[: self._top])
            self._ids.append(likely[0].id)


def _place(text: bytes | bytearray, piece: bytes, hidden: int) -> int | None:
    """Where a token stands in the text behind its `hidden` predecessors; `None` when it must still arrive."""
    if not hidden:
        return 0 if text.startswith(piece) else None
    at = text.find(piece, hidden)
    while at >= 0:
        end = at + len(piece)
        # Hidden ones are the beginning of a character that this one ends.
        if text[at] in _CONTINUES and (end == len(text) or text[end] not in _CONTINUES):
            return at
        at = text.find(piece, at + 1)
    return None


def _entry(likely: Likely, piece: bytes, top: int) -> TokenLogprob:
    return TokenLogprob(_of(piece, likely), said(likely, top).top)


def _asked(own: Likely, piece: bytes, top: Sequence[Likely]) -> TokenLogprob:
    return TokenLogprob(_of(piece, own), tuple(map(logprob, top)))


def _of(piece: bytes, likely: Likely) -> Logprob:
    return Logprob(piece.decode(errors="replace"), piece, logprob(likely).logprob)


def _merged(each: _Matched) -> TokenLogprob:
    """A whole character under its last token's probability, as the engine tells it."""
    own = each.entry.said
    whole = each.before + own.bytes
    return TokenLogprob(Logprob(whole.decode(errors="replace"), whole, own.logprob), each.entry.top)
