"""Known: conversations whose tokens are not those that their text becomes, and which the engine has read and said.

A model may say a word in other tokens than a tokenizer makes of it. A prompt that goes on from there would then be read
again from that word on; so it is put together of the tokens that are known and those of what is new.
"""

import hashlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from a3s_power.core.errors import PowerError
from a3s_power.engines.engine import Engine, Loaded

_MOST: Final = 64
_FILE: Final = "known"
_OURS_ALONE: Final = 0o600
_DIGEST_BYTES: Final = 32

Tokens = tuple[int, ...]


class Known:
    """The conversations of late on one loaded model. Threads may share it."""

    def __init__(self, engine: Engine, loaded: Loaded) -> None:
        self._engine = engine
        self._first = loaded.bos if loaded.adds_bos else ""
        self._looking = threading.Lock()
        # By their text, the one that was last gone on from at the end.
        self._tokens: dict[str, Tokens] = {}

    def tokens(self, prompt: str) -> Tokens | None:
        """The tokens of a prompt that goes on from a known conversation; `None` where its text says it all."""
        known = self._longest(prompt)
        if known is None:
            return None
        text, tokens = known
        found = self._engine.pieces(self._whole(prompt))
        at = _place(found, self._whole(prompt).encode(), len(self._whole(text).encode()))
        return None if at is None else (*tokens, *(token for token, _ in found[at:]))

    def learn(self, prompt: str, asked: str | Sequence[int], answer: str, said: Sequence[int] | None) -> None:
        """What was answered to a prompt that the engine got as `asked`; `said` is the answer's own tokens, if told."""
        if not said or (isinstance(asked, str) and list(said) == self._engine.tokenize(answer)):
            return
        try:
            # Control tokens in an answer have no text; they are not put back into a prompt.
            if self._engine.detokenize(said) != answer:
                return
        except PowerError:
            return
        before = self._engine.tokenize(self._whole(prompt)) if isinstance(asked, str) else asked
        with self._looking:
            self._tokens[prompt + answer] = (*before, *said)
            if len(self._tokens) > _MOST:
                del self._tokens[next(iter(self._tokens))]

    def keep(self, folder: str) -> None:
        """Write them into a folder, for the next load of the model. Raises OSError."""
        with self._looking:
            body = msgspec.msgpack.encode(self._tokens)
        file = Path(folder) / _FILE
        partial = file.with_suffix(".new")
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, _OURS_ALONE), "wb") as content:
            content.write(hashlib.sha256(body).digest() + body)
        partial.replace(file)

    def restore(self, folder: str) -> None:
        """Read what was written there. A file that is not as it was written is left alone, and the log says so."""
        try:
            self._tokens = _checked((Path(folder) / _FILE).read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            print(f"the kept conversations are not used: {error}", file=sys.stderr, flush=True)  # noqa: T201 -- its log

    def _longest(self, prompt: str) -> tuple[str, Tokens] | None:
        with self._looking:
            text = max((each for each in self._tokens if prompt.startswith(each)), key=len, default="")
            if not text:
                return None
            tokens = self._tokens[text] = self._tokens.pop(text)
            return text, tokens

    def _whole(self, text: str) -> str:
        """A text behind the vocabulary's first token."""
        return self._first + text.removeprefix(self._first)


def _checked(content: bytes) -> dict[str, Tokens]:
    digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("their file is not what was written")
    return msgspec.msgpack.decode(body, type=dict[str, Tokens])


def _place(pieces: Sequence[tuple[int, bytes]], text: bytes, end: int) -> int | None:
    """How many pieces make the first `end` bytes of a text, some with a blank more; `None` where one crosses that."""
    at = 0
    for count, (_, piece) in enumerate(pieces):
        if at >= end:
            return count if at == end else None
        if not text.startswith(piece, at):
            if not (piece[:1] == b" " and text.startswith(piece[1:], at)):
                return None
            at -= 1
        at += len(piece)
    return None
