"""Values that would bring an engine down, refused while the file is only being read.

Each of them was seen to abort llama.cpp (build b11549), at the load or at the first request; its own limits are those
of its fixed tables.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from a3s_power.core.errors import BadFile
from a3s_power.gguf.layout import ARCHITECTURE, Header, Raw, ValueType, quoted

_ARCHITECTURE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BOUNDS: Final = (
    ("context_length", 1, 2**31 - 1),
    ("block_count", 1, 512),
    ("expert_count", 0, 1024),
    ("pooling_type", 0, 4),
    ("vision.image_size", 1, 65_536),
    ("vision.patch_size", 1, 65_536),
)
"""Keys below the architecture's name, the least and the most they may be."""

_TOKENS: Final = "tokenizer.ggml.tokens"
_ARRAY: Final = struct.Struct("<IIQ")
_LENGTH: Final = struct.Struct("<Q")


def check(header: Header) -> None:
    """Raise BadFile when the header says what no model can be."""
    if ARCHITECTURE not in header.key_values and header.key_values.get("split.no"):
        return  # a further part of a split file: the first one says what the model is
    _check_architecture(header)
    for key, least, most in _BOUNDS:
        for count in header.counts(key):
            if not least <= count <= most:
                raise _impossible(header, key, count, f"it must be between {least} and {most}")
    _check_heads(header)
    _check_experts(header)
    _check_epsilons(header)
    _check_vision(header)


def check_vocabulary(pairs: Mapping[str, Raw]) -> None:
    """Raise BadFile when two tokens have the same text, which ends llama.cpp at the load.

    Takes 80 ms for 150,000 tokens, so it is done once, when a model is made, and not at every look at a file.
    """
    raw = pairs.get(_TOKENS)
    if raw is None:
        return
    seen: set[bytes] = set()
    for token in _strings(raw.content):
        # An empty one gets a text of its own there.
        if token and token in seen:
            text = quoted(token.decode("utf-8", "replace"))
            raise BadFile(f"the vocabulary has the token {text} twice: llama.cpp cannot load such a model")
        seen.add(token)


def _strings(raw: bytes) -> Iterator[bytes]:
    """The texts of an array as it lies in the file; none of a value of another kind."""
    kind, of, count = _ARRAY.unpack_from(raw.ljust(_ARRAY.size, b"\0"))
    if (kind, of) != (ValueType.ARRAY, ValueType.STRING):
        return
    at, unpack = _ARRAY.size, _LENGTH.unpack_from
    for _ in range(count):
        (length,) = unpack(raw, at)
        yield raw[at + 8 : at + 8 + length]
        at += 8 + length


def _check_architecture(header: Header) -> None:
    value = header.key_values.get(ARCHITECTURE)
    if value is None:
        raise BadFile(f"{ARCHITECTURE} is missing")
    if not isinstance(value, str):
        raise BadFile(f"{ARCHITECTURE} is not a string")
    if not _ARCHITECTURE_NAME.fullmatch(value):
        raise BadFile(f"{ARCHITECTURE} {quoted(value)} is no name of an architecture")


def _check_heads(header: Header) -> None:
    heads = header.counts("attention.head_count")
    # Recurrent models have none, and say so with a 0.
    recurrent = header.count("ssm.state_size") or header.count("wkv.head_size")
    if heads and not any(heads) and not recurrent:
        raise _impossible(header, "attention.head_count", 0, "it must be positive")


def _check_experts(header: Header) -> None:
    experts, used = header.count("expert_count"), header.count("expert_used_count")
    if used > experts or (experts and not used):
        raise _impossible(header, "expert_used_count", used, f"there are {experts} experts")
    extra, layers = header.count("nextn_predict_layers"), header.count("block_count")
    if extra > layers > 0:
        raise _impossible(header, "nextn_predict_layers", extra, f"there are {layers} layers")


def _check_epsilons(header: Header) -> None:
    for key, value in header.key_values.items():
        # Written so that it refuses what is no number, too.
        if key.endswith("_epsilon") and isinstance(value, float) and not value >= 0:
            raise BadFile(f"{quoted(key)} is {value}: it must not be negative")


def _check_vision(header: Header) -> None:
    image, patch = header.count("vision.image_size"), header.count("vision.patch_size")
    if image and patch > image:
        raise _impossible(header, "vision.patch_size", patch, f"images have {image} pixels")
    heads, width = header.counts("vision.attention.head_count"), header.count("vision.embedding_length")
    if heads and (not all(heads) or width % heads[0]):
        raise _impossible(header, "vision.attention.head_count", heads[0], f"it must divide {width}")


def _impossible(header: Header, key: str, count: int, why: str) -> BadFile:
    return BadFile(f"{header.architecture}.{key} is {count}: {why}")
