"""Re-ranking by a model that only goes on with texts: is a yes or a no likelier as its judgement of a document?

The question is put in the words that Qwen3-Reranker was trained on; they are in its model card.
"""

from collections.abc import Callable, Sequence
from typing import Final

from a3s_power.core.errors import PromptTooLong
from a3s_power.engines.engine import Scores
from a3s_power.engines.llamacpp_wire import Likely, refused

_BEFORE: Final = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_ASKED: Final = (
    "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n<Query>: {}\n<Document>: "
)
_BEHIND: Final = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

Tokens = Callable[[str, bool], list[int]]
"""The token ids of a text; whether the names of special tokens in it are those tokens."""

Ask = Callable[[Sequence[int], int], Sequence[Likely]]
"""The likeliest tokens behind these, best first, and which token it may say to it."""


def judged(query: str, documents: Sequence[str], *, tokens: Tokens, ask: Ask, limit: int, truncate: bool) -> Scores:
    """Scores of documents: how much likelier the model says yes than no, as logits.

    `limit` is that of a prompt, in tokens; documents are cut to it when `truncate`.

    Raises:
        PromptTooLong: the query leaves no room, or a document is too long and may not be cut.
        EngineRefused: the model cannot tell a yes from a no.
    """
    yes, no = tokens("yes", False)[:1], tokens("no", False)[:1]
    if not yes or not no or yes == no:
        raise refused("the model has no words for yes and no, so that it cannot judge documents")
    before, behind, asked = tokens(_BEFORE, True), tokens(_BEHIND, True), _ASKED.format(query)
    room = limit - len(before) - len(behind)
    # Together, as the model was trained: a document's first blank is a part of its first word.
    bodies = [tokens(asked + document, False) for document in documents]
    if len(tokens(asked, False)) >= room or (not truncate and any(len(body) > room for body in bodies)):
        longest = limit - room + max(map(len, bodies), default=0)
        raise PromptTooLong("the input length exceeds the context length", longest, limit)
    prompts = [[*before, *body[:room], *behind] for body in bodies]
    return Scores(
        logits=tuple(_logit(ask(prompt, yes[0]), yes[0], no[0]) for prompt in prompts),
        truncated=tuple(len(body) > room for body in bodies),
        prompt_tokens=sum(map(len, prompts)),
    )


def _logit(likely: Sequence[Likely], yes: int, no: int) -> float:
    """The difference of two log-probabilities; a token that is not told is as likely as the last one that is."""
    told = {each.id: each.logprob for each in likely if each.logprob is not None}
    least = min(told.values(), default=0.0)
    return told.get(yes, least) - told.get(no, least)
