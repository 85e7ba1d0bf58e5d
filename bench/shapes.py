"""Write small models of other architectures than llama, all zeros: for memory and load, they say nothing.

python -m bench.shapes FOLDER

Sliding windows (gemma3), states instead of a cache (mamba), both by turns (lfm2), experts (qwen3moe), a compressed
cache (deepseek2), and llamas with the vocabularies of files that hold nothing else.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from a3s_power.gguf.facts import facts
from a3s_power.gguf.layout import TensorType, ValueType
from a3s_power.gguf.reader import read_header, read_pairs
from a3s_power.gguf.writer import Tensor, Typed, Writable, write
from bench import random_model

VOCABULARY: Final = 8192
_WIDTH: Final = 512
_FEED: Final = 1024
_EXPERTS: Final = 8
_WHOLE: Final = ("ssm_", "shortconv.conv", "ffn_gate_inp")
"""Parts of names of matrices that the engine wants in 32 bits."""
_HALF: Final = tuple(f"ssm_{name}.weight" for name in ("in", "x", "dt", "out"))
"""And those among them that it does not."""

Shapes = dict[str, tuple[int, ...]]


def _tokenizer() -> dict[str, Writable]:
    size = random_model.SIZES["20m"]
    assert size.vocabulary == VOCABULARY
    pairs = random_model.key_values("20m", "f16")
    return {key: value for key, value in pairs.items() if key.startswith(("tokenizer.", "general."))}


def _said(architecture: str, layers: int, **more: Writable) -> dict[str, Writable]:
    common: dict[str, Writable] = {
        "context_length": 8192,
        "embedding_length": _WIDTH,
        "block_count": layers,
        "feed_forward_length": _FEED,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 1e6,
    }
    found = common | {name.replace("__", "."): value for name, value in more.items()}
    own = {f"{architecture}.{name}": value for name, value in found.items()}
    return _tokenizer() | {"general.architecture": architecture, "general.name": architecture} | own


def _attention(heads: int, kv_heads: int, length: int, *, norms: bool = True) -> Shapes:
    found: Shapes = {
        "attn_q": (_WIDTH, heads * length),
        "attn_k": (_WIDTH, kv_heads * length),
        "attn_v": (_WIDTH, kv_heads * length),
        "attn_output": (heads * length, _WIDTH),
    }
    return found | ({"attn_q_norm": (length,), "attn_k_norm": (length,)} if norms else {})


def _feed_forward() -> Shapes:
    return {
        "ffn_norm": (_WIDTH,),
        "ffn_gate": (_WIDTH, _FEED),
        "ffn_up": (_WIDTH, _FEED),
        "ffn_down": (_FEED, _WIDTH),
    }


def _blocks(layers: Iterable[Shapes], *, output: bool = False, norm: str = "output_norm") -> Shapes:
    found: Shapes = {"token_embd.weight": (_WIDTH, VOCABULARY), f"{norm}.weight": (_WIDTH,)}
    if output:
        found["output.weight"] = (_WIDTH, VOCABULARY)
    for number, layer in enumerate(layers):
        for name, shape in ({"attn_norm": (_WIDTH,)} | layer).items():
            whole = name if name.endswith(("_a", "_d", ".bias")) and name.startswith("ssm") else f"{name}.weight"
            found[f"blk.{number}.{whole}"] = shape
    return found


def gemma3(layers: int = 12) -> tuple[dict[str, Writable], Shapes]:
    """Five of six layers see a window of 512 tokens."""
    said = _said(
        "gemma3",
        layers,
        attention__head_count=4,
        attention__head_count_kv=2,
        attention__key_length=128,
        attention__value_length=128,
        attention__sliding_window=512,
    )
    layer = _attention(4, 2, 128) | _feed_forward()
    return said, _blocks([layer | {"post_attention_norm": (_WIDTH,), "post_ffw_norm": (_WIDTH,)}] * layers)


def mamba(layers: int = 8) -> tuple[dict[str, Writable], Shapes]:
    """A state of fixed size for each slot, whatever the context."""
    inner, state, kernel, rank = 1024, 16, 4, 32
    said = _said(
        "mamba",
        layers,
        attention__head_count=0,
        ssm__conv_kernel=kernel,
        ssm__inner_size=inner,
        ssm__state_size=state,
        ssm__time_step_rank=rank,
    )
    layer: Shapes = {
        "ssm_in": (_WIDTH, 2 * inner),
        "ssm_conv1d": (kernel, inner),
        "ssm_conv1d.bias": (inner,),
        "ssm_x": (inner, rank + 2 * state),
        "ssm_dt": (rank, inner),
        "ssm_dt.bias": (inner,),
        "ssm_a": (state, inner),
        "ssm_d": (inner,),
        "ssm_out": (inner, _WIDTH),
    }
    return said | {"mamba.feed_forward_length": 0}, _blocks([layer] * layers)


def lfm2(layers: int = 8) -> tuple[dict[str, Writable], Shapes]:
    """Every second layer has a cache."""
    heads, kv_heads = 8, 4
    said = _said(
        "lfm2",
        layers,
        attention__head_count=heads,
        attention__head_count_kv=Typed(ValueType.INT32, [kv_heads * (layer % 2) for layer in range(layers)]),
        shortconv__l_cache=3,
        vocab_size=VOCABULARY,
    )
    attends = _attention(heads, kv_heads, _WIDTH // heads) | _feed_forward()
    convolves = _feed_forward() | {
        "shortconv.conv": (3, _WIDTH),
        "shortconv.in_proj": (_WIDTH, 3 * _WIDTH),
        "shortconv.out_proj": (_WIDTH, _WIDTH),
    }
    return said, _blocks([attends if layer % 2 else convolves for layer in range(layers)], norm="token_embd_norm")


def qwen3moe(layers: int = 4) -> tuple[dict[str, Writable], Shapes]:
    """Two of eight experts at a time."""
    inner = 256
    said = _said(
        "qwen3moe",
        layers,
        expert_feed_forward_length=inner,
        expert_count=_EXPERTS,
        expert_used_count=2,
        attention__head_count=8,
        attention__head_count_kv=4,
        attention__key_length=64,
        attention__value_length=64,
    )
    layer = _attention(8, 4, 64) | {
        "ffn_norm": (_WIDTH,),
        "ffn_gate_inp": (_WIDTH, _EXPERTS),
        "ffn_gate_exps": (_WIDTH, inner, _EXPERTS),
        "ffn_up_exps": (_WIDTH, inner, _EXPERTS),
        "ffn_down_exps": (inner, _WIDTH, _EXPERTS),
    }
    return said, _blocks([layer] * layers, output=True)


def deepseek2(layers: int = 4) -> tuple[dict[str, Writable], Shapes]:
    """One compressed row a token in place of keys and values."""
    heads, plain, turned, value, row, queries = 8, 64, 32, 64, 128, 256
    said = _said(
        "deepseek2",
        layers,
        expert_feed_forward_length=256,
        expert_count=_EXPERTS,
        expert_used_count=2,
        expert_shared_count=1,
        expert_weights_scale=1.0,
        leading_dense_block_count=layers,
        attention__head_count=heads,
        attention__head_count_kv=1,
        attention__key_length=row + turned,
        attention__value_length=row,
        attention__key_length_mla=plain + turned,
        attention__value_length_mla=value,
        attention__kv_lora_rank=row,
        attention__q_lora_rank=queries,
        rope__dimension_count=turned,
        vocab_size=VOCABULARY,
    )
    layer = _feed_forward() | {
        "attn_q_a_norm": (queries,),
        "attn_q_a": (_WIDTH, queries),
        "attn_q_b": (queries, heads * (plain + turned)),
        "attn_kv_a_norm": (row,),
        "attn_kv_a_mqa": (_WIDTH, row + turned),
        "attn_k_b": (plain, row, heads),
        "attn_v_b": (row, value, heads),
        "attn_output": (heads * value, _WIDTH),
    }
    return said, _blocks([layer] * layers, output=True)


SHAPES: Final[Mapping[str, Callable[[], tuple[dict[str, Writable], Shapes]]]] = {
    one.__name__: one for one in (gemma3, mamba, lfm2, qwen3moe, deepseek2)
}


def save(name: str, out: Path) -> None:
    """Write one of `SHAPES`."""
    said, shapes = SHAPES[name]()
    write(out, said, [_zeros(each, shape) for each, shape in shapes.items()])


def with_vocabulary(source: Path, out: Path) -> None:
    """Write a llama of next to nothing with the vocabulary of another file."""
    with source.open("rb") as file:
        tokenizer = {key: raw for key, raw in read_pairs(file).items() if key.startswith("tokenizer.")}
    tokens = facts(read_header(source)).vocabulary
    width, layers = 64, 2
    said: dict[str, Writable] = {
        "general.architecture": "llama",
        "llama.context_length": 4096,
        "llama.embedding_length": width,
        "llama.block_count": layers,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": 16,
        "llama.vocab_size": tokens,
    }
    shapes: Shapes = {"token_embd.weight": (width, tokens), "output_norm.weight": (width,)}
    for layer in range(layers):
        shapes |= {f"blk.{layer}.{name}_norm.weight": (width,) for name in ("attn", "ffn")}
        shapes |= {f"blk.{layer}.attn_{name}.weight": (width, width) for name in ("q", "output")}
        shapes |= {f"blk.{layer}.attn_{name}.weight": (width, 32) for name in ("k", "v")}
        shapes |= {f"blk.{layer}.ffn_{name}.weight": (width, 96) for name in ("gate", "up")}
        shapes |= {f"blk.{layer}.ffn_down.weight": (96, width)}
    write(out, {**said, **tokenizer}, [_zeros(name, shape) for name, shape in shapes.items()])


def _zeros(name: str, shape: tuple[int, ...]) -> Tensor:
    whole = len(shape) == 1 or (any(part in name for part in _WHOLE) and not name.endswith(_HALF))
    kind = TensorType.F32 if whole else TensorType.F16
    return Tensor(name, kind, shape, [bytes(kind.size(shape))])


def main() -> None:
    folder = Path(sys.argv[1])
    for name in SHAPES:
        save(name, folder / f"{name}.gguf")


if __name__ == "__main__":
    main()
