"""Write a llama of real size with random weights: for speed, memory and load, not for sense.

python -m bench.random_model --size 1b --type q4_k_m OUT.gguf

Its answers are words of random letters and never end by themselves: the rows of the control and byte tokens in the
output matrix are zero, so that no sampler with top-k below a thousand ever takes one. A bench therefore needs no
`ignore_eos`; it sets `num_predict` and gets exactly so many tokens. Any text becomes tokens, what is no ASCII by bytes.
"""

import argparse
import itertools
import math
import random
import string
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from a3s_power.gguf.layout import TensorType, ValueType
from a3s_power.gguf.writer import Tensor, Typed, Writable, write

CHUNK_BLOCKS = 64 * 1024
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


class Size(NamedTuple):
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int = 8192


SIZES = {
    "5m": Size(4, 256, 512, 4, 2, 8192),
    "20m": Size(6, 512, 1024, 8, 4, 8192),
    # A draft model for the next one: it has its vocabulary.
    "60m": Size(8, 512, 1536, 8, 4, 32_000),
    "1b": Size(22, 2048, 5632, 32, 4, 32_000),
}
FILE_TYPES = {"f16": 1, "q4_0": 2, "q8_0": 7, "q4_k_m": 15}

CONTROL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def vocabulary(size: int) -> list[str]:
    """Control tokens, bytes, single signs, then strings of letters by length, with and without a blank before them."""
    signs = ["\u2581", *string.ascii_letters, *string.digits, *string.punctuation]
    words = (
        blank + "".join(letters)
        for length in itertools.count(1)
        for blank in ("", "\u2581")
        for letters in itertools.product(string.ascii_lowercase, repeat=length)
    )
    pieces = dict.fromkeys(itertools.chain(signs, itertools.islice(words, 2 * size)))
    return [*CONTROL, *BYTES, *itertools.islice(pieces, size - len(CONTROL) - len(BYTES))]


def key_values(name: str, kind: str) -> dict[str, Writable]:
    size = SIZES[name]
    tokens = vocabulary(size.vocabulary)
    plain = len(tokens) - len(CONTROL) - len(BYTES)
    special = len(tokens) - plain
    return {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": f"random-{name}",
        "general.file_type": FILE_TYPES[kind],
        "general.quantization_version": 2,
        "llama.context_length": size.context,
        "llama.embedding_length": size.width,
        "llama.block_count": size.layers,
        "llama.feed_forward_length": size.feed_forward,
        "llama.attention.head_count": size.heads,
        "llama.attention.head_count_kv": size.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": size.width // size.heads,
        "llama.rope.freq_base": 10_000.0,
        "llama.vocab_size": size.vocabulary,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": Typed(ValueType.FLOAT32, [0.0] * special + [-float(n) for n in range(plain)]),
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * len(BYTES), *[1] * plain],
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }


def shapes(size: Size) -> dict[str, tuple[int, int]]:
    """The matrices: elements of a row, and rows."""
    keys = size.width // size.heads * size.kv_heads
    found = {"token_embd.weight": (size.width, size.vocabulary), "output.weight": (size.width, size.vocabulary)}
    for layer in range(size.layers):
        found |= {
            f"blk.{layer}.attn_q.weight": (size.width, size.width),
            f"blk.{layer}.attn_k.weight": (size.width, keys),
            f"blk.{layer}.attn_v.weight": (size.width, keys),
            f"blk.{layer}.attn_output.weight": (size.width, size.width),
            f"blk.{layer}.ffn_gate.weight": (size.width, size.feed_forward),
            f"blk.{layer}.ffn_up.weight": (size.width, size.feed_forward),
            f"blk.{layer}.ffn_down.weight": (size.feed_forward, size.width),
        }
    return found


def tensor_type(name: str, kind: str, layers: int) -> TensorType:
    """What a matrix is made of; in `q4_k_m` some are finer, as llama.cpp's own quantiser has it."""
    if kind != "q4_k_m":
        return TensorType[kind.upper()]
    layer = int(name.split(".")[1]) if name.startswith("blk.") else -1
    finer = layer >= 0 and (layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2)
    fine = name == "output.weight" or (finer and ("attn_v" in name or "ffn_down" in name))
    return TensorType.Q6_K if fine else TensorType.Q4_K


# Blocks of random bytes with their scales set: each gives weights of about the wanted deviation. The divisors are the
# deviations of what a block of that type holds when its bytes are random and its scale is 1.


def f16(content: bytearray, deviation: float) -> None:
    """Signs and mantissas stay random, the exponent is one for all."""
    exponent = int.from_bytes(struct.pack("<e", deviation), "little") >> 10 & 0x1F
    content[1::2] = content[1::2].translate(bytes(byte & 0x83 | exponent << 2 for byte in range(256)))


def q8_0(content: bytearray, deviation: float) -> None:
    _scale(content, 34, 0, deviation / 73.9)


def q4_0(content: bytearray, deviation: float) -> None:
    _scale(content, 18, 0, deviation / 4.61)


def q4_k(content: bytearray, deviation: float) -> None:
    """Scales and minima are random too; the minima's own scale brings the mean to zero."""
    _scale(content, 144, 0, deviation / 258)
    _scale(content, 144, 2, deviation / 258 * 7.5)


def q6_k(content: bytearray, deviation: float) -> None:
    _scale(content, 210, 208, deviation / 1367)


def _scale(content: bytearray, block: int, at: int, scale: float) -> None:
    for place, byte in enumerate(struct.pack("<e", scale), at):
        content[place::block] = bytes([byte]) * (len(content) // block)


FILLERS: dict[TensorType, Callable[[bytearray, float], None]] = {
    TensorType.F16: f16,
    TensorType.Q8_0: q8_0,
    TensorType.Q4_0: q4_0,
    TensorType.Q4_K: q4_k,
    TensorType.Q6_K: q6_k,
}


def matrix(kind: TensorType, row: int, rows: int, chance: random.Random, silent: int) -> Iterator[bytes]:
    """The data of a matrix in chunks; its first `silent` rows are zero."""
    elements, size = kind.block
    blocks = row * rows // elements
    zeros = row * silent // elements
    yield bytes(zeros * size)
    for start in range(zeros, blocks, CHUNK_BLOCKS):
        content = bytearray(chance.randbytes(min(CHUNK_BLOCKS, blocks - start) * size))
        FILLERS[kind](content, 1 / math.sqrt(row))
        yield bytes(content)


def tensors(size: Size, kind: str, seed: int) -> list[Tensor]:
    chance = random.Random(seed)
    ones = struct.pack(f"<{size.width}f", *[1.0] * size.width)
    norms = ["output_norm.weight"]
    norms += [f"blk.{layer}.{norm}.weight" for layer in range(size.layers) for norm in ("attn_norm", "ffn_norm")]
    found = [Tensor(name, TensorType.F32, (size.width,), [ones]) for name in norms]
    for name, (row, rows) in shapes(size).items():
        made_of = tensor_type(name, kind, size.layers)
        silent = len(CONTROL) + len(BYTES) if name == "output.weight" else 0
        found.append(Tensor(name, made_of, (row, rows), matrix(made_of, row, rows, chance, silent)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a llama with random weights.")
    parser.add_argument("--size", choices=SIZES, default="1b")
    parser.add_argument("--type", choices=FILE_TYPES, default="q4_k_m")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    write(asked.out, key_values(asked.size, asked.type), tensors(SIZES[asked.size], asked.type, asked.seed))
    print(f"{asked.out}: {asked.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
