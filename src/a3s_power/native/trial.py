"""A model to measure engines with: of the most used type of weights, large enough for a processor's own speed."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from a3s_power.gguf.layout import TensorType, ValueType
from a3s_power.gguf.writer import Tensor, Typed, Writable, write

WIDTH: Final = 1024
_LAYERS: Final = 8
_FEED_FORWARD: Final = 2816
_HEADS: Final = 16
_KV_HEADS: Final = 4
_CONTEXT: Final = 2048
_SPECIAL: Final = ("<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)))
_SIGNS: Final = tuple(map(chr, range(0x100, 0x200)))
_VOCABULARY: Final = (*_SPECIAL, *_SIGNS, *(f"<pad{number}>" for number in range(1024 - len(_SPECIAL) - len(_SIGNS))))
_BLOCK_BYTES: Final = 144
_DEVIATION: Final = 258.0
"""Of what a block of random bytes holds when its scale is 1."""


def write_model(path: Path) -> None:
    """Write it: some ninety million random weights in fifty megabytes. Its answers do not end by themselves."""
    write(path, _key_values(), [*_norms(), *_matrices()])


def prompt(tokens: int) -> str:
    """A text of so many tokens of its vocabulary."""
    return "".join(_SIGNS[number % len(_SIGNS)] for number in range(tokens))


def _key_values() -> dict[str, Writable]:
    kinds = [2, 3, 3, *[6] * 256, *[1] * (len(_VOCABULARY) - len(_SPECIAL))]
    return {
        "general.architecture": "llama",
        "general.name": "trial",
        "general.file_type": 15,
        "general.quantization_version": 2,
        "llama.context_length": _CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": _LAYERS,
        "llama.feed_forward_length": _FEED_FORWARD,
        "llama.attention.head_count": _HEADS,
        "llama.attention.head_count_kv": _KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // _HEADS,
        "llama.vocab_size": len(_VOCABULARY),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": _VOCABULARY,
        "tokenizer.ggml.scores": Typed(ValueType.FLOAT32, [0.0] * len(_VOCABULARY)),
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_space_prefix": False,
    }


def _norms() -> Iterator[Tensor]:
    ones = struct.pack(f"<{WIDTH}f", *[1.0] * WIDTH)
    names = [f"blk.{layer}.{norm}.weight" for layer in range(_LAYERS) for norm in ("attn_norm", "ffn_norm")]
    for name in ("output_norm.weight", *names):
        yield Tensor(name, TensorType.F32, (WIDTH,), [ones])


def _matrices() -> Iterator[Tensor]:
    keys = WIDTH // _HEADS * _KV_HEADS
    yield _matrix("token_embd.weight", WIDTH, len(_VOCABULARY))
    yield _matrix("output.weight", WIDTH, len(_VOCABULARY), silent=len(_SPECIAL))
    for layer in range(_LAYERS):
        for name, row, rows in (
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH, keys),
            ("attn_v", WIDTH, keys),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_gate", WIDTH, _FEED_FORWARD),
            ("ffn_up", WIDTH, _FEED_FORWARD),
            ("ffn_down", _FEED_FORWARD, WIDTH),
        ):
            yield _matrix(f"blk.{layer}.{name}.weight", row, rows)


def _matrix(name: str, row: int, rows: int, silent: int = 0) -> Tensor:
    """Random weights in blocks of Q4_K, whose scales are set; its first rows are zero where some are to be silent."""
    elements, _ = TensorType.Q4_K.block
    zeros = row * silent // elements * _BLOCK_BYTES
    content = bytearray(os.urandom(row * rows // elements * _BLOCK_BYTES))
    scale = 1 / row**0.5 / _DEVIATION
    for at, value in ((0, scale), (2, scale * 7.5)):
        for place, byte in enumerate(struct.pack("<e", value), at):
            content[place::_BLOCK_BYTES] = bytes([byte]) * (len(content) // _BLOCK_BYTES)
    content[:zeros] = bytes(zeros)
    return Tensor(name, TensorType.Q4_K, (row, rows), [bytes(content)])
