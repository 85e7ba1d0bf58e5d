"""Vocabulary: the bytes that each token of a GGUF stands for, exactly, also of tokens that are half a character."""

from collections.abc import Container, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Final, Self

from a3s_power.gguf.layout import Header

_USER_DEFINED: Final = 4
_BYTE: Final = 6
_SILENT: Final = frozenset({2, 3, 5})
"""Types of the unknown token, of control tokens and of unused ones."""

_PRINTED: Final = (*range(33, 127), *range(161, 173), *range(174, 256))
_UNPRINTED: Final = tuple(byte for byte in range(256) if byte not in _PRINTED)
_BYTES: Final = {chr(byte): byte for byte in _PRINTED} | {
    chr(256 + place): byte for place, byte in enumerate(_UNPRINTED)
}
"""How byte-level vocabularies (of GPT-2's kind) write bytes: printable ones as they are, the others from U+0100 on."""


_LONGEST_PARTS: Final = 64
_LETTERS: Final = frozenset(bytes([code]) for code in range(ord("a"), ord("z") + 1))


class Vocabulary:
    """The tokens of a file whose arrays were read."""

    def __init__(self, texts: Sequence[str], kinds: Sequence[int], *, byte_level: bool) -> None:
        self._texts = texts
        self._kinds = kinds
        self._byte_level = byte_level

    @classmethod
    def of(cls, header: Header) -> Self | None:
        """The file's vocabulary; `None` for one of a kind that is not known here, or without its tokens."""
        model = header.text("tokenizer.ggml.model")
        texts: Any = header.key_values.get("tokenizer.ggml.tokens")
        kinds: Any = header.key_values.get("tokenizer.ggml.token_type")
        if model not in ("gpt2", "llama") or not isinstance(texts, tuple) or not isinstance(kinds, tuple):
            return None
        return cls(texts, kinds, byte_level=model == "gpt2") if len(texts) == len(kinds) else None

    def piece(self, token: int, visible: Container[str] = ()) -> bytes:
        """What a token adds to an answer; a special one nothing, unless it is `visible`.

        Raises:
            IndexError: there is no such token.
        """
        text, kind = self._texts[token], self._kinds[token]
        if kind in _SILENT:
            return text.encode() if text in visible else b""
        if kind == _USER_DEFINED:
            return text.encode()
        if kind == _BYTE:
            return bytes([int(text[3:5], 16)])
        if not self._byte_level:
            return text.replace("\u2581", " ").encode()
        if all(character in _BYTES for character in text):
            return bytes(_BYTES[character] for character in text)
        return text.encode()

    def spelled(self, content: bytes, count: int) -> tuple[int, ...] | None:
        """The ids of the `count` tokens that are these bytes, none of them a text; `None` where that is not certain."""
        # Before the last byte of a character that is split there are few bytes, so that few ways are tried.
        ways = list(islice(self._ways(content, count), 2)) if len(content) <= _LONGEST_PARTS else []
        return ways[0] if len(ways) == 1 else None

    def _ways(self, content: bytes, count: int) -> Iterator[tuple[int, ...]]:
        """All ways to spell these bytes with `count` parts."""
        if count == 0:
            yield from ((),) if not content else ()
            return
        for end in range(1, len(content) - count + 2):
            if (token := self._parts.get(content[:end])) is not None:
                yield from ((token, *others) for others in self._ways(content[end:], count - 1))

    @cached_property
    def _parts(self) -> dict[bytes, int]:
        """The tokens that are half a character, or end in one, by their bytes."""
        pieces = ((self.piece(token), token) for token in range(len(self._texts)))
        return {piece: token for piece, token in pieces if not _is_text(piece)}

    @cached_property
    def letter(self) -> int:
        """A token that is a plain character, 0 where there is none."""
        return next((token for token in range(len(self._texts)) if self.piece(token) in _LETTERS), 0)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
