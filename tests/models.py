"""Tiny models made on the spot: they load and answer in a real engine, and their answers make no sense."""

import math
import os
import random
import struct
from collections.abc import Mapping
from typing import Final

from a3s_power.gguf.layout import TensorType, ValueType
from a3s_power.gguf.writer import Tensor, Typed, Writable, write

CONTROL: Final = ("<unk>", "<s>", "</s>")
BYTES: Final = tuple(f"<0x{byte:02X}>" for byte in range(256))
SIGNS: Final = ("\u2581", *(chr(code) for code in range(33, 127)))
VOCABULARY: Final = (*CONTROL, *BYTES, *SIGNS)
"""A SentencePiece vocabulary of single signs and bytes: any text is tokens, one per sign or byte."""

_UNKNOWN, _CONTROL, _BYTE, _NORMAL = 2, 3, 6, 1
_FORMS: Final = {TensorType.F32: "f", TensorType.F16: "e"}

EMBEDDING: Final = 64
LAYERS: Final = 2
FEED_FORWARD: Final = 96
HEADS: Final = 4
KV_HEADS: Final = 2
CONTEXT: Final = 512


def tiny_llama(
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    type: TensorType = TensorType.F16,  # noqa: A002 -- the word for it
    key_values: Mapping[str, Writable | None] | None = None,
) -> None:
    """A random llama of a quarter megabyte. It never ends an answer by itself: its control tokens are never likely.

    `key_values` replace or add to those of the file; `None` leaves one out.
    """
    values = {**llama_key_values(type), **(key_values or {})}
    chance = random.Random(seed)
    write(
        path,
        {key: value for key, value in values.items() if value is not None},
        [_tensor(name, shape, type, chance) for name, shape in llama_shapes().items()],
    )


def llama_key_values(type: TensorType = TensorType.F16) -> dict[str, Writable]:  # noqa: A002 -- as above
    """The key-values of a `tiny_llama`."""
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * len(BYTES), *[_NORMAL] * len(SIGNS)]
    return {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "tiny",
        "general.file_type": {TensorType.F32: 0, TensorType.F16: 1}[type],
        "llama.context_length": CONTEXT,
        "llama.embedding_length": EMBEDDING,
        "llama.block_count": LAYERS,
        "llama.feed_forward_length": FEED_FORWARD,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": EMBEDDING // HEADS,
        "llama.vocab_size": len(VOCABULARY),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": VOCABULARY,
        "tokenizer.ggml.scores": Typed(ValueType.FLOAT32, [0.0] * len(VOCABULARY)),
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
    }


def llama_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a `tiny_llama`, fastest dimension first."""
    key_length = EMBEDDING // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (EMBEDDING, len(VOCABULARY)),
        "output_norm.weight": (EMBEDDING,),
        "output.weight": (EMBEDDING, len(VOCABULARY)),
    }
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (EMBEDDING,),
            f"blk.{layer}.attn_q.weight": (EMBEDDING, EMBEDDING),
            f"blk.{layer}.attn_k.weight": (EMBEDDING, key_length),
            f"blk.{layer}.attn_v.weight": (EMBEDDING, key_length),
            f"blk.{layer}.attn_output.weight": (EMBEDDING, EMBEDDING),
            f"blk.{layer}.ffn_norm.weight": (EMBEDDING,),
            f"blk.{layer}.ffn_gate.weight": (EMBEDDING, FEED_FORWARD),
            f"blk.{layer}.ffn_up.weight": (EMBEDDING, FEED_FORWARD),
            f"blk.{layer}.ffn_down.weight": (FEED_FORWARD, EMBEDDING),
        }
    return shapes


def _tensor(name: str, shape: tuple[int, ...], kind: TensorType, chance: random.Random) -> Tensor:
    if len(shape) == 1:
        return Tensor(name, TensorType.F32, shape, [struct.pack(f"<{shape[0]}f", *[1.0] * shape[0])])
    row, rows = shape
    values = [chance.gauss(0, 1) / row**0.5 for _ in range(row * rows)]
    if name == "output.weight":
        # A logit of nothing, below the best ones: no answer ends early, none holds half a character.
        silent = (len(CONTROL) + len(BYTES)) * row
        values[:silent] = [0.0] * silent
    return Tensor(name, kind, shape, [struct.pack(f"<{len(values)}{_FORMS[kind]}", *values)])


LETTERS: Final = tuple("abcdefghijklmnopqrstuvwxyz0123456789.,?!'-")
WORDS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *("\u2581" + letter for letter in LETTERS), *LETTERS)
"""A WordPiece vocabulary of single letters: a word's first one is another token than its others."""


def tiny_reranker(path: str | os.PathLike[str], *, seed: int = 0) -> None:
    """A random BERT of 100 KB that makes one score of a query and a document; its context is 256 tokens."""
    chance = random.Random(seed)
    tensors = [_spread(name, shape, chance) for name, shape in _reranker_shapes().items()]
    write(path, _reranker_key_values(), tensors)


def _reranker_key_values() -> dict[str, Writable]:
    return {
        "general.architecture": "bert",
        "general.type": "model",
        "general.name": "tiny-reranker",
        "general.file_type": 0,
        "bert.context_length": 256,
        "bert.embedding_length": 32,
        "bert.block_count": 1,
        "bert.feed_forward_length": 64,
        "bert.attention.head_count": 2,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "bert.pooling_type": 4,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": WORDS,
        "tokenizer.ggml.scores": Typed(ValueType.FLOAT32, [0.0] * len(WORDS)),
        "tokenizer.ggml.token_type": [_CONTROL] * 5 + [_NORMAL] * (len(WORDS) - 5),
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.cls_token_id": 2,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.eos_token_id": 3,
        "tokenizer.ggml.mask_token_id": 4,
    }


def _reranker_shapes() -> dict[str, tuple[int, ...]]:
    width, inner = 32, 64
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (width, len(WORDS)),
        "token_types.weight": (width, 2),
        "position_embd.weight": (width, 256),
        "token_embd_norm": (width,),
        "blk.0.attn_q": (width, width),
        "blk.0.attn_k": (width, width),
        "blk.0.attn_v": (width, width),
        "blk.0.attn_output": (width, width),
        "blk.0.attn_output_norm": (width,),
        "blk.0.ffn_up": (width, inner),
        "blk.0.ffn_down": (inner, width),
        "blk.0.layer_output_norm": (width,),
        "cls": (width, width),
        "cls.output": (width, 1),
    }
    whole = {name: shape for name, shape in shapes.items() if name.endswith(".weight")}
    for name, shape in shapes.items():
        if not name.endswith(".weight"):
            whole |= {f"{name}.weight": shape, f"{name}.bias": shape[-1:]}
    return whole


def _spread(name: str, shape: tuple[int, ...], chance: random.Random) -> Tensor:
    """Values that keep the scores of different texts well apart."""
    count = math.prod(shape)
    around, width = (1.0, 0.1) if name.endswith("norm.weight") else (0.0, 2 / shape[0] ** 0.5)
    values = [chance.gauss(around, width) for _ in range(count)]
    return Tensor(name, TensorType.F32, shape, [struct.pack(f"<{count}f", *values)])
