"""SentencePiece vocabularies: from tokenizer.model, or from the tokenizer.json that was made of one.

tokenizer.model is a protocol buffer; its fields are those of the SentencePiece project's sentencepiece_model.proto.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from a3s_power.core import limits
from a3s_power.core.errors import BadFile
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.splitting import unknown_way
from a3s_power.create.convert.tokenizer_json import (
    TOKENIZER,
    AddedToken,
    Part,
    TokenizerJson,
    added_tokens,
    tokenizer_config,
)
from a3s_power.create.convert.vocabulary import BLANK, Entry, Kind, Vocabulary, complete
from a3s_power.gguf.layout import quoted

MODEL: Final = "tokenizer.model"
_BYTES: Final = 64 * limits.MIB
_BPE: Final = 2
_BYTE: Final = frozenset(f"<0x{byte:02X}>" for byte in range(256))

_VARINT, _FIXED64, _CHUNK, _FIXED32 = 0, 1, 2, 5

Value = int | bytes


class _Model(msgspec.Struct, kw_only=True):
    """What is wanted of tokenizer.model, with the defaults of its format."""

    entries: list[Entry] = []
    algorithm: int = 1
    normalizer: str = "identity"
    blank_first: bool = True


def content(folder: Folder) -> bytes | None:
    """tokenizer.model, `None` when it is not there or is the list of another kind of tokenizer that has its name."""
    found = folder.content(MODEL, _BYTES)
    # Its first field is a list of pieces; the others' lists are text.
    return found if found is not None and found.startswith(b"\n") else None


def from_model(found: bytes, tokenizer: TokenizerJson | None, rows: int, folder: Folder) -> Vocabulary:
    """The vocabulary of a tokenizer.model. Raises BadFile for one that is broken, or not made by merges."""
    model = _parsed(found)
    if model.algorithm != _BPE:
        raise BadFile(f"{MODEL} is not of the kind BPE, which is all that llama.cpp has for this architecture")
    if model.normalizer not in ("identity", ""):
        folder.note(f"texts are not normalized by {quoted(model.normalizer)} before they are split")
    entries = dict(enumerate(model.entries))
    return _vocabulary(entries, added_tokens(folder, tokenizer), rows, folder, blank_first=model.blank_first)


def is_of_pieces(tokenizer: TokenizerJson) -> bool:
    """Whether the tokenizer.json was made of a SentencePiece model of merges."""
    vocab = tokenizer.model.vocab
    return (
        tokenizer.model.type == "BPE"
        and tokenizer.model.byte_fallback
        and isinstance(vocab, dict)
        and "<0x0A>" in vocab
    )


def from_json(tokenizer: TokenizerJson, rows: int, folder: Folder) -> Vocabulary:
    """The vocabulary of such a tokenizer.json: the earlier a merge, the higher the score of what it makes.

    Raises BadFile for one that does more to texts than SentencePiece without a normalizer.
    """
    vocab, steps = tokenizer.model.vocab, _steps(tokenizer)
    if not isinstance(vocab, dict):
        raise BadFile(f"{TOKENIZER} has no vocabulary by name")
    for step in steps:
        if not _is_familiar(step):
            raise unknown_way(step.type)
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(tokenizer.model.merges):
        made = merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge)
        ranks.setdefault(made, rank)
    entries = {
        number: Entry(text, _kind(text, tokenizer.model.unk_token), -float(ranks.get(text, len(ranks))))
        for text, number in vocab.items()
    }
    added = added_tokens(folder, tokenizer)
    return _vocabulary(entries, added, rows, folder, blank_first=any(map(_puts_a_blank, steps)))


def _vocabulary(
    entries: Mapping[int, Entry], added: Mapping[int, AddedToken], rows: int, folder: Folder, *, blank_first: bool
) -> Vocabulary:
    said = tokenizer_config(folder).add_prefix_space
    return Vocabulary(
        model="llama",
        entries=complete(entries, added, rows, folder),
        scored=True,
        strips=any(token.rstrip for token in added.values()),
        own={"add_space_prefix": blank_first if said is None else said},
    )


def _steps(tokenizer: TokenizerJson) -> list[Part]:
    """What is done to a text before its words are looked up."""
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer)
    return [step for part in parts if part for step in part.steps]


def _is_familiar(step: Part) -> bool:
    """Whether it does no more than to mark blanks."""
    by_blanks = step.type in ("Replace", "Split") and step.pattern == {"String": " "}
    return by_blanks or step.type in ("Prepend", "Metaspace")


def _puts_a_blank(step: Part) -> bool:
    """Whether it puts a blank in front of a text."""
    if step.type == "Prepend":
        return step.prepend == BLANK
    if step.prepend_scheme is not None:
        return step.type == "Metaspace" and step.prepend_scheme != "never"
    return step.type == "Metaspace" and step.add_prefix_space is not False


def _kind(text: str, unknown: str | None) -> Kind:
    if text == unknown:
        return Kind.UNKNOWN
    return Kind.BYTE if text in _BYTE else Kind.NORMAL


def _parsed(found: bytes) -> _Model:
    model = _Model()
    try:
        for field, value in _fields(found):
            if field == 1:
                model.entries.append(_entry(_chunk(value)))
            elif field == 2:
                model.algorithm = _number(dict(_fields(_chunk(value))).get(3, model.algorithm))
            elif field == 3:
                said = dict(_fields(_chunk(value)))
                model.normalizer = _chunk(said.get(1, b"")).decode()
                model.blank_first = bool(_number(said.get(3, 1)))
    except (LookupError, struct.error, ValueError) as error:
        raise BadFile(f"{MODEL} cannot be read: {error}") from None
    return model


def _entry(found: bytes) -> Entry:
    said = dict(_fields(found))
    text, kind = _chunk(said[1]).decode(), Kind(_number(said.get(3, Kind.NORMAL)))
    (score,) = struct.unpack("<f", _chunk(said.get(2, bytes(4))))
    # Those are looked for in the text itself, where blanks are blanks.
    return Entry(text.replace(BLANK, " ") if kind is Kind.USER_DEFINED else text, kind, score)


def _chunk(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number is where a text should be")  # noqa: TRY004 -- of the file, not of the caller
    return value


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("a text is where a number should be")  # noqa: TRY004 -- as above
    return value


def _fields(found: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field; of those of fixed size, the bytes."""
    at = 0
    while at < len(found):
        key, at = _varint(found, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(found, at)
            yield key >> 3, value
            continue
        size, at = _varint(found, at) if kind == _CHUNK else ({_FIXED64: 8, _FIXED32: 4}[kind], at)
        if size > len(found) - at:
            raise ValueError("it is cut off")
        yield key >> 3, found[at : at + size]
        at += size


def _varint(found: bytes, at: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, and where it ends."""
    number = 0
    for shift in range(0, 64, 7):
        byte = found[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number has no end")
