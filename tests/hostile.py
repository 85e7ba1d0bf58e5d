"""GGUF files made to hurt who reads them: `REFUSED` must be refused, `ODD` may be read and must do no harm."""

import struct
from collections.abc import Sequence
from typing import Final

from a3s_power.gguf.layout import ARCHITECTURE, TensorType, ValueType

_HUGE: Final = 2**64 - 1


def text(content: str | bytes) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, content: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + content


def number(key: str, value: int) -> bytes:
    return pair(key, ValueType.UINT32, struct.pack("<I", value))


def string(key: str, value: str | bytes) -> bytes:
    return pair(key, ValueType.STRING, text(value))


def array(key: str, kind: int, count: int, content: bytes = b"") -> bytes:
    return pair(key, ValueType.ARRAY, struct.pack("<IQ", kind, count) + content)


def tensor(
    name: str, shape: Sequence[int], *, kind: int = TensorType.F32, offset: int = 0, dimensions: int | None = None
) -> bytes:
    count = len(shape) if dimensions is None else dimensions
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + struct.pack("<I", count) + sizes + struct.pack("<IQ", kind, offset)


def gguf(
    pairs: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    *,
    data: int = 0,
    version: int = 3,
    pair_count: int | None = None,
    tensor_count: int | None = None,
) -> bytes:
    """A file of these parts, with `data` zeros behind the header and perhaps other counts than it has parts."""
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(pairs) if pair_count is None else pair_count,
    )
    head = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(data)


LLAMA: Final = string(ARCHITECTURE, "llama")


def _llama(*pairs: bytes) -> bytes:
    return gguf([LLAMA, *pairs])


def _with(*tensors: bytes, data: int = 256) -> bytes:
    return gguf([LLAMA], tensors, data=data)


_BEGINNINGS: Final = {
    "empty": b"",
    "magic-only": b"GGUF",
    "four-bytes-be": b"FUGG",
    "gguf-then-eof": b"GGUF\x03\x00\x00\x00",
    "version-0": gguf(version=0),
    "version-1": gguf(version=1),
    "version-99": gguf(version=99),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "n_kv-max": gguf(pair_count=_HUGE),
    "n_kv-1e9": gguf(pair_count=10**9),
    "n_tensors-max": gguf([LLAMA], tensor_count=_HUGE),
    "n_tensors-neg": gguf([LLAMA], tensor_count=2**63),
}

_PAIRS: Final = {
    "zero-kv": gguf(),
    "key-len-max": gguf([struct.pack("<Q", _HUGE) + b"key"], pair_count=1),
    "key-empty": gguf([number("", 1)]),
    "key-dup": _llama(LLAMA),
    "key-1MiB": gguf([number("k" * 2**20, 1)]),
    "val-len-max": gguf([pair("general.name", ValueType.STRING, struct.pack("<Q", _HUGE))]),
    "val-type-77": gguf([pair("x", 77, bytes(8))]),
    "arr-len-max": gguf([array("x", ValueType.UINT8, _HUGE)]),
    "arr-1e12-strings": gguf([array("tokenizer.ggml.tokens", ValueType.STRING, 10**12)]),
    "arr-nested-10k": gguf(
        [pair("x", ValueType.ARRAY, struct.pack("<IQ", ValueType.ARRAY, 1) * 10_000 + struct.pack("<IQ", 0, 0))]
    ),
    "arr-type-77": gguf([array("x", 77, 4)]),
    "align-0": gguf([LLAMA, number("general.alignment", 0)], [tensor("t", [32])], data=256),
    "align-13": gguf([LLAMA, number("general.alignment", 13)], [tensor("t", [32])], data=256),
    "align-i32": _llama(pair("general.alignment", ValueType.INT32, struct.pack("<i", -1))),
    "align-2^31": gguf([number("general.alignment", 2**31)]),
}

_MEANINGS: Final = {
    "arch-missing": gguf([number("llama.block_count", 1)]),
    "arch-unknown": gguf([string(ARCHITECTURE, "../../etc")]),
    "arch-wrong-type": gguf([number(ARCHITECTURE, 1)]),
    "blocks-0": _llama(number("llama.block_count", 0)),
    "blocks-2^32-1": _llama(number("llama.block_count", 2**32 - 1)),
    "heads-0": _llama(
        number("llama.attention.head_count", 0),
        number("llama.attention.head_count_kv", 0),
        number("llama.embedding_length", 64),
    ),
    "ctx-0": _llama(number("llama.context_length", 0)),
    "ctx-2^32-1": _llama(number("llama.context_length", 2**32 - 1)),
}

_TENSORS: Final = {
    "t-dims-5": _with(tensor("t", [1] * 5)),
    "t-ndim-max": _with(tensor("t", [1], dimensions=2**32 - 1)),
    "t-dim-0": _with(tensor("t", [0, 4])),
    "t-dim-neg": _with(tensor("t", [2**63])),
    "t-ne-overflow": _with(tensor("t", [2**32, 2**32])),
    "t-nbytes-overflow": _with(tensor("t", [2**61], kind=TensorType.I32)),
    "t-sum-overflow": _with(
        tensor("a", [2**63 - 64], kind=TensorType.I8), tensor("b", [2**63 - 64], kind=TensorType.I8, offset=2**63 - 64)
    ),
    "t-type-200": _with(tensor("t", [32], kind=200)),
    "t-type-removed": _with(tensor("t", [32], kind=4)),
    "t-not-block-multiple": _with(tensor("t", [33], kind=TensorType.Q4_0)),
    "t-offset-past-end": _with(tensor("t", [32], offset=2**40)),
    "t-offset-unaligned": _with(tensor("t", [32], offset=7)),
    "t-size-past-end": _with(tensor("t", [2**20])),
    "t-overlap": _with(tensor("a", [64]), tensor("b", [64])),
    "t-dup-name": _with(tensor("t", [8]), tensor("t", [8], offset=32)),
    "t-name-4KiB": _with(tensor("n" * 4096, [8])),
}

REFUSED: Final = _BEGINNINGS | _PAIRS | _MEANINGS | _TENSORS

_ENDLESS_TEMPLATE: Final = "{% for i in range(99999) %}{% for j in range(99999) %}A{% endfor %}{% endfor %}"
_CURIOUS_TEMPLATE: Final = "{{ ''.__class__.__mro__[1].__subclasses__() }}"

ODD: Final = {
    "key-escape": _llama(string("a\x1b]52;c;ZXZpbA==\x07b", "\x1b[2J\x1b[31m")),
    "name-bad-utf8": _llama(string("general.name", b"\xff\xfe\xed\xa0\x80")),
    "t-name-traversal": _with(tensor("../../../../tmp/pwn", [8])),
    "token-ids-oov": _llama(
        string("tokenizer.ggml.model", "llama"),
        number("tokenizer.ggml.bos_token_id", 2**32 - 1),
        array("tokenizer.ggml.tokens", ValueType.STRING, 1, text("a" * 70_000)),
    ),
    "template-ssti": _llama(string("tokenizer.chat_template", _CURIOUS_TEMPLATE)),
    "template-1GiB-loop": _llama(string("tokenizer.chat_template", _ENDLESS_TEMPLATE)),
    "split-count-65535": _llama(
        pair("split.count", ValueType.UINT16, struct.pack("<H", 65_535)),
        pair("split.no", ValueType.UINT16, struct.pack("<H", 0)),
    ),
    "polyglot-zip": _llama() + b"PK\x05\x06" + bytes(18),
}
