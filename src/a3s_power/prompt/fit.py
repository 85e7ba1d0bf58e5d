"""What is left out when a conversation is too long: the oldest messages first, then tokens from the middle."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from a3s_power.core.errors import BadTemplate, PromptTooLong
from a3s_power.core.messages import Message
from a3s_power.prompt.render import Prompt

IMAGE_TOKENS: Final = 768
"""What an image counts for, whatever the model makes of it (Ollama's figure)."""
TOO_LONG: Final = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt,"
    " adjust the context length in settings, or use a model with a longer context length"
)
_MORE_THAN_BYTES: Final = 2
"""A vocabulary may put a first token and a blank before a text, and has at most one token for each of its bytes."""


class Fitted(msgspec.Struct, frozen=True):
    """The prompt of what was kept of a conversation, and how many messages were not."""

    prompt: Prompt
    messages: tuple[Message, ...]
    dropped: int = 0


def fit(
    messages: Sequence[Message],
    limit: int,
    render: Callable[[Sequence[Message]], Prompt],
    count: Callable[[str], int],
    *,
    image_tokens: int = 0,
) -> Fitted:
    """The prompt of as many of the last messages as make at most `limit` tokens.

    System messages and the last message always stay, even when they are too long by themselves. `count` gives the
    tokens of a text; it is not asked where the text's length already tells. `image_tokens` is what each image counts
    for, IMAGE_TOKENS for a model with a projector. A shorter conversation is taken never to make a longer prompt, so
    that few are tried. Raises what `render` raises for the whole conversation, or for its last message.
    """
    search = _Search(tuple(messages), limit, render, count, image_tokens)
    whole = search.rendered(0)
    if len(messages) < 2 or search.fits(0, whole):
        return Fitted(whole, search.kept(0))
    return search.longest_that_fits()


class _Search:
    """Bisects for the first message that can be the oldest one kept."""

    def __init__(
        self,
        messages: tuple[Message, ...],
        limit: int,
        render: Callable[[Sequence[Message]], Prompt],
        count: Callable[[str], int],
        image_tokens: int,
    ) -> None:
        self._messages = messages
        self._limit = limit
        self._render = render
        self._count = count
        self._image_tokens = image_tokens

    def kept(self, start: int) -> tuple[Message, ...]:
        """What is left when the messages before `start` go, system messages apart."""
        systems = (message for message in self._messages[:start] if message.role == "system")
        return (*systems, *self._messages[start:])

    def rendered(self, start: int) -> Prompt:
        return self._render(self.kept(start))

    def fits(self, start: int, prompt: Prompt) -> bool:
        images = self._image_tokens * sum(len(message.images) for message in self._messages[start:])
        room = self._limit - images
        if len(prompt.text) + _MORE_THAN_BYTES <= room and len(prompt.text.encode()) + _MORE_THAN_BYTES <= room:
            return True
        return self._count(prompt.text) <= room

    def longest_that_fits(self) -> Fitted:
        low, last = 1, len(self._messages) - 1
        high, found = last, None
        while low < high:
            middle = (low + high) // 2
            start, prompt = self._accepted(middle)
            if start == last or self.fits(start, prompt):
                high, found = middle, (start, prompt)
            else:
                low = start + 1
        start, prompt = found if found is not None else (last, self.rendered(last))
        kept = self.kept(start)
        return Fitted(prompt, kept, len(self._messages) - len(kept))

    def _accepted(self, start: int) -> tuple[int, Prompt]:
        """The first one from `start` on that the template takes: many refuse one that begins with an answer."""
        for later in range(start, len(self._messages) - 1):
            try:
                return later, self.rendered(later)
            except BadTemplate:
                continue
        return len(self._messages) - 1, self.rendered(len(self._messages) - 1)


def cut_middle(tokens: Sequence[int], context: int, num_keep: int, *, adds_bos: bool = False) -> Sequence[int]:
    """A prompt's tokens as they fit into `context` with room for an answer: the first `num_keep` and the last ones.

    A prompt of fewer than `context` tokens stays as it is. A negative `num_keep` keeps as many as possible; one more is
    kept when the vocabulary `adds_bos`. What remains leaves half of the rest of the context free (Ollama's rule).
    """
    if len(tokens) < context:
        return tokens
    wanted = len(tokens) if num_keep < 0 else num_keep + adds_bos
    keep = min(wanted, context - 1)
    tail = context - max((context - keep) // 2, 1) - keep
    return [*tokens[:keep], *tokens[len(tokens) - tail :]]


def refuse_too_long(tokens: int, context: int) -> None:
    """Raise PromptTooLong for a prompt that fills the context and may not be cut."""
    if tokens >= context:
        raise PromptTooLong(TOO_LONG, tokens, context)
