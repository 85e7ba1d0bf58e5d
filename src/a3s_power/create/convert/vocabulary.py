"""Vocabulary: every token of a model in the order of their numbers, whatever kind of tokenizer they come from."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.tokenizer_json import AddedToken
from a3s_power.gguf.layout import ValueType, quoted
from a3s_power.gguf.writer import Typed, Writable

BLANK: Final = "\u2581"
"""What stands for a blank in SentencePiece's vocabularies."""

_ADDED_SCORE: Final = -1000.0
_NO_SCORE: Final = -10000.0


class Kind(IntEnum):
    """What a token is, by llama.cpp's numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Entry(msgspec.Struct, frozen=True):
    """A token's text, what it is, and where there are scores, how much it is preferred."""

    text: str
    kind: Kind = Kind.NORMAL
    score: float = 0.0


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """A tokenizer as a GGUF has it. `model` and `pre` are llama.cpp's names for its kind and its way to split texts.

    `strips` says that blanks after special tokens are dropped; `own` are further key-values below `tokenizer.ggml.`.
    """

    model: str
    pre: str = "default"
    entries: tuple[Entry, ...]
    merges: tuple[str, ...] = ()
    scored: bool = False
    strips: bool = False
    own: dict[str, Writable] = {}

    def numbers(self) -> dict[str, int]:
        """The number of each text."""
        return {entry.text: number for number, entry in enumerate(self.entries)}

    def key_values(self) -> dict[str, Writable]:
        """All of it for the GGUF."""
        values: dict[str, Writable] = {
            "model": self.model,
            "pre": self.pre,
            "tokens": Typed(ValueType.STRING, [entry.text for entry in self.entries]),
            "token_type": Typed(ValueType.INT32, [int(entry.kind) for entry in self.entries]),
        }
        if self.scored:
            values["scores"] = Typed(ValueType.FLOAT32, [entry.score for entry in self.entries])
        if self.merges:
            values["merges"] = Typed(ValueType.STRING, self.merges)
        return {f"tokenizer.ggml.{key}": value for key, value in (values | self.own).items()}


def complete(
    entries: Mapping[int, Entry], added: Mapping[int, AddedToken], rows: int, folder: Folder
) -> tuple[Entry, ...]:
    """As many entries as the embedding has rows: added tokens laid over the others, gaps filled, the rest left out.

    Raises BadFile for two tokens of one text, which would end the engine.
    """
    merged = dict(entries)
    for number, token in added.items():
        merged[number] = _laid_over(merged.get(number), token)
    beyond = [entry for number, entry in merged.items() if number >= rows]
    if beyond:
        folder.note(
            f"{len(beyond)} tokens have no row in the embedding and are left out, {quoted(beyond[0].text)} first"
        )
    found = tuple(merged.get(number) or Entry(f"[PAD{number}]", Kind.UNUSED, _NO_SCORE) for number in range(rows))
    seen: set[str] = set()
    for entry in found:
        if entry.text in seen:
            raise BadFile(f"the tokenizer has two tokens {quoted(entry.text)}")
        seen.add(entry.text)
    return found


def _laid_over(entry: Entry | None, token: AddedToken) -> Entry:
    if entry is not None and entry.kind is Kind.UNKNOWN and entry.text == token.content:
        return entry
    if token.special:
        return Entry(token.content, Kind.CONTROL, _ADDED_SCORE)
    return Entry(token.content.replace(BLANK, " "), Kind.USER_DEFINED, _ADDED_SCORE)
