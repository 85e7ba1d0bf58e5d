"""Usage: the tokens and times of one request."""

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Counts in tokens, times in nanoseconds.

    `prompt_tokens` counts cached and newly evaluated ones; `dropped_messages` the oldest turns that were left
    out and `cut_tokens` the tokens cut from the middle of the prompt because the context was full. `shifted` says that
    the context became full meanwhile and its oldest tokens were dropped. `draft_tokens` were guessed ahead, of which
    `accepted_tokens` were right.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    prompt_ns: int = 0
    output_ns: int = 0
    load_ns: int = 0
    total_ns: int = 0
    dropped_messages: int = 0
    cut_tokens: int = 0
    shifted: bool = False
    draft_tokens: int = 0
    accepted_tokens: int = 0
