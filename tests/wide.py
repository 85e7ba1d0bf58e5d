"""Wide random models, whose rows are whole blocks of every type: they load in a real engine, and make no sense."""

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from a3s_power.gguf.layout import TensorType
from a3s_power.gguf.writer import Tensor, write
from tests.models import BYTES, CONTEXT, CONTROL, VOCABULARY, llama_key_values

EMBEDDING: Final = 256
FEED_FORWARD: Final = 512
HEADS: Final = 4
_NUMBERS: Final = 1 << 16


def shapes(*, layers: int, kv_heads: int, experts: int = 0, tied: bool = False) -> dict[str, tuple[int, ...]]:
    """The tensors of a wide llama, fastest dimension first."""
    key_length = EMBEDDING // HEADS * kv_heads
    one = (EMBEDDING, FEED_FORWARD), (FEED_FORWARD, EMBEDDING)
    (wide, narrow), end = (((*one[0], experts), (*one[1], experts)), "_exps") if experts else (one, "")
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (EMBEDDING, len(VOCABULARY))}
    for layer in range(layers):
        found |= {
            f"blk.{layer}.attn_norm.weight": (EMBEDDING,),
            f"blk.{layer}.attn_q.weight": (EMBEDDING, EMBEDDING),
            f"blk.{layer}.attn_k.weight": (EMBEDDING, key_length),
            f"blk.{layer}.attn_v.weight": (EMBEDDING, key_length),
            f"blk.{layer}.attn_output.weight": (EMBEDDING, EMBEDDING),
            f"blk.{layer}.ffn_norm.weight": (EMBEDDING,),
            f"blk.{layer}.ffn_gate{end}.weight": wide,
            f"blk.{layer}.ffn_up{end}.weight": wide,
            f"blk.{layer}.ffn_down{end}.weight": narrow,
        }
        if experts:
            found[f"blk.{layer}.ffn_gate_inp.weight"] = (EMBEDDING, experts)
    found["output_norm.weight"] = (EMBEDDING,)
    return found if tied else found | {"output.weight": (EMBEDDING, len(VOCABULARY))}


def wide_llama(path: Path, *, layers: int = 4, kv_heads: int = 1, experts: int = 0, tied: bool = False) -> None:
    """A random llama of some megabytes, in F16."""
    key_values = llama_key_values() | {
        "llama.embedding_length": EMBEDDING,
        "llama.block_count": layers,
        "llama.feed_forward_length": FEED_FORWARD,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": kv_heads,
        "llama.rope.dimension_count": EMBEDDING // HEADS,
        "llama.context_length": CONTEXT,
    }
    if experts:
        key_values |= {"llama.expert_count": experts, "llama.expert_used_count": 2}
    chance = random.Random(5)
    numbers = struct.pack(f"<{_NUMBERS}e", *(chance.gauss(0, EMBEDDING**-0.5) for _ in range(_NUMBERS)))
    found = shapes(layers=layers, kv_heads=kv_heads, experts=experts, tied=tied)
    write(path, key_values, [_tensor(name, shape, numbers, chance) for name, shape in found.items()])


def _tensor(name: str, shape: tuple[int, ...], numbers: bytes, chance: random.Random) -> Tensor:
    if len(shape) == 1:
        return Tensor(name, TensorType.F32, shape, [struct.pack("<f", 1.0) * shape[0]])
    if "gate_inp" in name:
        return Tensor(name, TensorType.F32, shape, [struct.pack("<f", 0.01) * (shape[0] * shape[1])])
    start = 2 * chance.randrange(_NUMBERS)
    # A logit of nothing, below the best ones: no answer ends early.
    silent = TensorType.F16.size((shape[0], len(CONTROL) + len(BYTES))) if name == "output.weight" else 0
    size = TensorType.F16.size(shape) - silent
    return Tensor(name, TensorType.F16, shape, _data(numbers[start:] + numbers[:start], silent, size))


def _data(numbers: bytes, silent: int, size: int) -> Iterator[bytes]:
    yield bytes(silent)
    for start in range(0, size, len(numbers)):
        yield numbers[: size - start]
