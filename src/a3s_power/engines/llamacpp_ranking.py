"""Re-ranking by a model that has a head for it: documents cut to fit, and llama.cpp's scores of them as logits."""

from collections.abc import Sequence
from typing import Final

from a3s_power.core.errors import EngineFailed, PromptTooLong
from a3s_power.core.model import Facts
from a3s_power.engines import llamacpp_wire as wire
from a3s_power.engines.engine import Scores
from a3s_power.engines.llamacpp_library import Native
from a3s_power.engines.llamacpp_tokens import Tokens

_CHANCES: Final = frozenset({"qwen3", "qwen3vl"})
"""Families of whose scores the engine makes the chance of a yes."""
_SPECIALS: Final = 4
"""Tokens at most between and around a query and a document that no template joins."""


class Ranker:
    """Ranks documents with the loaded model. `template` is the model's own for a query and a document, or empty."""

    def __init__(self, server: Native, tokens: Tokens, facts: Facts, template: str) -> None:
        self._server = server
        self._tokens = tokens
        self._as_logit = wire.logit if facts.architecture in _CHANCES else float
        self._template = template

    def scores(self, query: str, documents: Sequence[str], *, context: int, limit: int, truncate: bool) -> Scores:
        """A score for each document; they are counted only where the engine could not take them whole.

        `context` is what the engine takes, `limit` what a query and a document may be together, both in tokens.

        Raises:
            PromptTooLong: the query leaves no room, or a document is too long and may not be cut.
        """
        if limit == context:
            try:
                return self._rank(query, documents, documents)
            except (EngineFailed, PromptTooLong):
                room = self._room(query, limit)
                if all(len(self._tokens.of(text, special=False)) <= room for text in documents):
                    raise
        room = self._room(query, limit)
        beside = limit - room
        return self._rank(query, documents, [self._cut(text, room, beside, truncate=truncate) for text in documents])

    def _room(self, query: str, limit: int) -> int:
        """How many tokens of a document fit beside the query and what the engine puts around them."""
        around = len(self._tokens.whole(self._template)) if self._template else 0
        return limit - len(self._tokens.of(query, special=False)) - around - _SPECIALS

    def _cut(self, document: str, room: int, beside: int, *, truncate: bool) -> str:
        """As much of a document as `room` tokens hold, of which there are so many more `beside` it."""
        tokens = self._tokens.of(document, special=False)
        if len(tokens) <= room:
            return document
        if not truncate or room <= 0:
            raise PromptTooLong("the input length exceeds the context length", len(tokens) + beside, room + beside)
        # What was cut between two tokens may be read as more of them.
        for end in range(room, 0, -1):
            text = self._tokens.text(tokens[:end])
            if len(self._tokens.of(text, special=False)) <= room:
                return text
        return ""

    def _rank(self, query: str, documents: Sequence[str], cut: Sequence[str]) -> Scores:
        """The scores of the documents as they were cut."""
        answer = wire.decode_ranking(self._server.handle_rerank(wire.rerank(query, cut)))
        if bytes(answer.error):
            raise wire.refusal(answer.error)
        said = {result.index: result.relevance_score for result in answer.results}
        scores = [score for at in range(len(documents)) if (score := said.get(at)) is not None]
        if len(scores) != len(documents):
            raise EngineFailed("the model made a score that is no number")
        return Scores(
            logits=tuple(map(self._as_logit, scores)),
            truncated=tuple(text is not whole for text, whole in zip(cut, documents, strict=True)),
            prompt_tokens=answer.usage.prompt_tokens if answer.usage else 0,
        )
