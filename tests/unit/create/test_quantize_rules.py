"""The counts of whole models are those that llama.cpp prints when it loads files made by its own quantiser."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from a3s_power.core.errors import BadFile
from a3s_power.create.quantize_rules import ALIASES, LEVELS, NEED_A_MATRIX, role, types
from a3s_power.gguf.facts import file_type
from a3s_power.gguf.layout import Header, TensorInfo, TensorType, Value

T = TensorType
Shapes = Mapping[str, tuple[int, ...]]


def _header(shapes: Shapes, *, architecture: str = "llama", kind: TensorType = T.F16, **counts: int) -> Header:
    key_values: dict[str, Value] = {"general.architecture": architecture}
    key_values |= {f"{architecture}.{name.replace('__', '.')}": count for name, count in counts.items()}
    tensors = tuple(TensorInfo(name, kind if len(shape) > 1 else T.F32, shape, 0) for name, shape in shapes.items())
    return Header(version=3, key_values=key_values, tensors=tensors, data_offset=0, size=0)


def _decoder(
    layers: int = 32,
    *,
    width: int = 4096,
    feed_forward: int = 14336,
    heads: int = 32,
    kv_heads: int = 8,
    architecture: str = "llama",
    experts: int = 0,
    without: Sequence[str] = (),
    **more: tuple[int, ...],
) -> Header:
    """A model of the usual build, by default that of Mistral 7B."""
    keys = width // heads * kv_heads
    end, stack = ("_exps", (experts,)) if experts else ("", ())
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (width, 32000), "output_norm.weight": (width,)}
    shapes["output.weight"] = (width, 32000)
    for layer in range(layers):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (width,),
            f"blk.{layer}.ffn_norm.weight": (width,),
            f"blk.{layer}.attn_q.weight": (width, width),
            f"blk.{layer}.attn_k.weight": (width, keys),
            f"blk.{layer}.attn_v.weight": (width, keys),
            f"blk.{layer}.attn_output.weight": (width, width),
            f"blk.{layer}.ffn_gate{end}.weight": (width, feed_forward, *stack),
            f"blk.{layer}.ffn_up{end}.weight": (width, feed_forward, *stack),
            f"blk.{layer}.ffn_down{end}.weight": (feed_forward, width, *stack),
        }
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in more.items()}
        if experts:
            shapes[f"blk.{layer}.ffn_gate_inp.weight"] = (width, experts)
    return _header(
        {name: shape for name, shape in shapes.items() if name not in without},
        architecture=architecture,
        block_count=layers,
        attention__head_count=heads,
        attention__head_count_kv=kv_heads,
        expert_count=experts,
    )


def _counts(header: Header, level: str) -> dict[str, int]:
    return dict(Counter(kind.name for tensor, kind in types(header, level)))


def _type(header: Header, level: str, name: str) -> str:
    return next(kind.name for tensor, kind in types(header, level) if tensor.name == name)


@pytest.mark.parametrize(
    ("level", "counts"),
    [
        ("Q3_K_M", {"F32": 65, "Q3_K": 129, "Q4_K": 92, "Q5_K": 4, "Q6_K": 1}),
        ("Q3_K_L", {"F32": 65, "Q3_K": 129, "Q5_K": 96, "Q6_K": 1}),
        ("Q4_K_M", {"F32": 65, "Q4_K": 193, "Q6_K": 33}),
        ("Q5_K_M", {"F32": 65, "Q5_K": 193, "Q6_K": 33}),
        ("Q8_0", {"F32": 65, "Q8_0": 226}),
    ],
)
def test_a_model_of_7b_has_the_types_that_published_files_have(level: str, counts: dict[str, int]) -> None:
    assert _counts(_decoder(), level) == counts


@pytest.mark.parametrize(
    ("level", "counts"),
    [
        # By the rules alone: four early values and four early down projections are finer.
        ("Q4_K_S", {"F32": 65, "Q4_K": 217, "Q5_K": 8, "Q6_K": 1}),
        ("Q5_K_S", {"F32": 65, "Q5_K": 225, "Q6_K": 1}),
        ("Q3_K_S", {"F32": 65, "Q3_K": 225, "Q6_K": 1}),
        ("Q2_K", {"F32": 65, "Q2_K": 129, "Q3_K": 64, "Q4_K": 32, "Q6_K": 1}),
        ("Q6_K", {"F32": 65, "Q6_K": 226}),
        ("Q4_0", {"F32": 65, "Q4_0": 225, "Q6_K": 1}),
        ("IQ4_XS", {"F32": 65, "IQ4_XS": 189, "Q5_K": 36, "Q6_K": 1}),
        ("IQ4_NL", {"F32": 65, "IQ4_NL": 189, "Q5_K": 36, "Q6_K": 1}),
        ("IQ3_S", {"F32": 65, "IQ3_S": 193, "Q4_K": 32, "Q6_K": 1}),
        ("IQ3_M", {"F32": 65, "IQ3_S": 157, "Q4_K": 68, "Q6_K": 1}),
        ("TQ2_0", {"F32": 65, "TQ2_0": 224, "Q4_K": 1, "Q6_K": 1}),
        ("BF16", {"F32": 65, "BF16": 226}),
        ("F32", {"F32": 291}),
        ("MXFP4_MOE", {"F32": 65, "Q8_0": 226}),
    ],
)
def test_other_levels_follow_their_rules(level: str, counts: dict[str, int]) -> None:
    assert _counts(_decoder(), level) == counts


def test_without_shared_heads_less_is_finer() -> None:
    header = _decoder(kv_heads=32)
    assert _counts(header, "Q2_K") == {"F32": 65, "Q2_K": 129, "Q3_K": 96, "Q6_K": 1}
    assert _type(header, "IQ4_XS", "blk.9.attn_v.weight") == "IQ4_XS"
    assert _type(header, "IQ3_S", "blk.9.attn_v.weight") == "IQ3_S"


def test_every_third_layer_between_the_outer_eighths_is_finer() -> None:
    finer = [layer for layer in range(32) if _type(_decoder(), "Q4_K_M", f"blk.{layer}.ffn_down.weight") == "Q6_K"]
    assert finer == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]


@pytest.mark.parametrize(
    ("layers", "architecture", "kv_heads", "of_values"),
    [
        (80, "llama", 8, "Q5_K"),
        (80, "llama", 64, "Q4_K"),
        (80, "qwen2", 64, "Q5_K"),
        (79, "llama", 8, "Q4_K"),
        (80, "qwen3", 8, "Q4_K"),
    ],
)
def test_values_of_models_of_70b_are_finer(layers: int, architecture: str, kv_heads: int, of_values: str) -> None:
    header = _decoder(layers, width=8192, heads=64, kv_heads=kv_heads, architecture=architecture)
    assert _type(header, "Q4_K_M", "blk.10.attn_v.weight") == of_values


def test_with_eight_experts_attention_is_finer_and_the_layer_stands_in_the_name() -> None:
    header = _decoder(experts=8)
    assert _counts(header, "Q4_K_M") == {"F16": 32, "F32": 65, "Q4_K": 113, "Q5_K": 32, "Q6_K": 17, "Q8_0": 64}
    assert _type(header, "Q4_K_M", "blk.6.ffn_down_exps.weight") == "Q6_K"
    assert _type(header, "Q5_K_M", "blk.6.attn_output.weight") == "Q5_K"
    assert _type(header, "Q6_K", "blk.6.attn_output.weight") == "Q6_K"
    assert _type(header, "IQ3_M", "blk.6.ffn_down_exps.weight") == "Q4_K"


def test_mxfp4_is_for_experts_only() -> None:
    header = _decoder(experts=4)
    assert _counts(header, "MXFP4_MOE") == {"F16": 32, "F32": 65, "MXFP4": 96, "Q8_0": 130}
    stacked = _decoder(1, architecture="bailingmoe3", experts=4, attn_k_b=(128, 512, 32))
    assert _type(stacked, "MXFP4_MOE", "blk.0.attn_k_b.weight") == "Q8_0"
    assert _type(stacked, "MXFP4_MOE", "blk.0.ffn_up_exps.weight") == "MXFP4"


def test_an_expert_of_no_layer_is_refused() -> None:
    header = _header({"ffn_down_exps.weight": (256, 256, 4)}, block_count=1, expert_count=4)
    with pytest.raises(BadFile, match="is of none of the model's 1 layers"):
        types(header, "Q4_K_M")


def test_embeddings_that_are_the_output_too_get_its_type() -> None:
    tied = _decoder(without=["output.weight"])
    assert _type(tied, "Q4_K_M", "token_embd.weight") == "Q6_K"
    assert _type(tied, "Q8_0", "token_embd.weight") == "Q8_0"
    assert _type(_decoder(), "Q4_K_M", "token_embd.weight") == "Q4_K"
    assert _type(_decoder(), "TQ1_0", "token_embd.weight") == "Q4_K"


def test_a_falcon_has_rules_of_its_own() -> None:
    header = _decoder(architecture="falcon")
    downs = [_type(header, "Q4_K_M", f"blk.{layer}.ffn_down.weight") for layer in (0, 1, 2, 4, 5, 6)]
    assert downs == ["Q6_K", "Q6_K", "Q5_K", "Q4_K", "Q4_K", "Q5_K"]
    assert _type(header, "Q4_K_M", "output.weight") == "Q8_0"
    assert _type(header, "Q4_K_S", "blk.0.ffn_down.weight") == "Q4_K"
    assert _type(header, "Q3_K_M", "blk.4.ffn_down.weight") == "Q3_K"
    assert _type(header, "Q3_K_L", "blk.4.ffn_down.weight") == "Q4_K"
    assert _type(header, "Q3_K_L", "blk.4.attn_output.weight") == "Q4_K"


@pytest.mark.parametrize(
    ("architecture", "name", "kind"),
    [
        ("qwen35", "blk.3.nextn.eh_proj.weight", "Q8_0"),
        ("gemma3n", "per_layer_token_embd.weight", "F16"),
        ("deepseek2", "blk.0.attn_kv_a_mqa.weight", "Q8_0"),
        ("glm4", "output.weight", "F16"),
        ("glm4", "token_embd.weight", "F16"),
        ("llama", "blk.3.nextn.eh_proj.weight", "Q4_K"),
    ],
)
def test_what_ollama_keeps_finer_stays_so(architecture: str, name: str, kind: str) -> None:
    header = _header({name: (256, 64), "blk.0.attn_q.weight": (256, 256)}, architecture=architecture, kind=T.BF16)
    assert _type(header, "Q4_K_M", name) == kind
    assert _type(header, "Q4_K_S", "blk.0.attn_q.weight") == "Q4_K"
    assert _type(header, "Q5_K_M", name) in ("Q5_K", "Q6_K")


@pytest.mark.parametrize(
    ("columns", "level", "kind"),
    [
        (64, "Q2_K", "Q4_0"),
        (64, "Q3_K_S", "Q4_0"),
        (64, "Q4_K_S", "Q5_0"),
        (64, "Q5_K_S", "Q5_1"),
        (64, "Q6_K", "Q8_0"),
        (64, "IQ4_XS", "IQ4_NL"),
        (64, "IQ3_S", "IQ4_NL"),
        (64, "TQ1_0", "Q4_0"),
        (64, "Q2_0", "Q2_0"),
        (96, "Q2_0", "Q4_0"),
        (64, "Q4_0", "Q4_0"),
        (172, "Q4_K_S", "F16"),
        (172, "Q8_0", "F16"),
        (172, "Q4_0", "F16"),
        (64, "Q1_0", "F16"),
        (128, "Q1_0", "Q1_0"),
    ],
)
def test_rows_that_are_no_whole_blocks_get_a_type_that_fits(columns: int, level: str, kind: str) -> None:
    header = _header({"blk.0.attn_q.weight": (columns, 64), "output.weight": (64, 64)}, kind=T.F32, block_count=1)
    assert _type(header, level, "blk.0.attn_q.weight") == kind


def test_an_output_that_does_not_fit_becomes_q8_0() -> None:
    header = _header({"output.weight": (96, 64)}, kind=T.F32)
    assert {_type(header, level, "output.weight") for level in ("Q4_K_M", "Q2_K", "IQ4_XS", "Q4_0")} == {"Q8_0"}


@pytest.mark.parametrize(
    "name",
    [
        "blk.0.attn_q_norm.weight",
        "blk.0.ffn_gate_inp.weight",
        "blk.0.ssm_conv1d.weight",
        "blk.0.shortconv.conv.weight",
        "blk.0.time_mix_w1.weight",
        "blk.0.attn_rel_b.weight",
        "blk.0.altup_router.weight",
        "per_layer_model_proj.weight",
        "position_embd.weight",
        "token_types.weight",
        "v.blk.0.attn_q.weight",
        "mm.0.weight",
        "blk.0.attn_q.bias",
        "blk.0.attn_sinks",
    ],
)
def test_what_is_small_or_delicate_stays_as_it_is(name: str) -> None:
    header = _header({name: (256, 256), "blk.0.attn_q.weight": (256, 256)}, kind=T.F32)
    assert _type(header, "Q4_0", name) == "F32"
    assert _type(header, "F16", name) == "F32"


def test_a_matrix_of_one_row_is_none() -> None:
    header = _header({"blk.0.a.weight": (256, 1, 1), "blk.0.b.weight": (256, 1, 2)}, kind=T.F32)
    assert [kind.name for _, kind in types(header, "Q8_0")] == ["F32", "Q8_0"]


def test_tensors_come_by_layer_and_then_by_name() -> None:
    names = ["blk.10.b.weight", "z.weight", "blk.2.b.weight", "blk.2.a.weight", "Z.weight"]
    found = [tensor.name for tensor, _ in types(_header(dict.fromkeys(names, (32, 2))), "Q8_0")]
    assert found == ["Z.weight", "z.weight", "blk.2.a.weight", "blk.2.b.weight", "blk.10.b.weight"]


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("output.weight", "output"),
        ("token_embd.weight", "embedding"),
        ("blk.0.attn_qkv.weight", "values"),
        ("blk.0.attn_output.weight", "attention"),
        ("blk.0.ffn_down_shexp.weight", "down"),
        ("blk.0.ffn_gate_up.weight", "other"),
        ("cls.output.weight", "other"),
    ],
)
def test_a_role_is_told_by_the_name(name: str, of: str) -> None:
    assert role(name) == of


def test_joint_queries_keys_and_values_count_as_values() -> None:
    header = _header({f"blk.{layer}.attn_qkv.weight": (256, 768) for layer in range(8)}, block_count=8)
    assert _counts(header, "Q4_K_M") == {"Q6_K": 4, "Q4_K": 4}


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_makes_whole_blocks_and_says_what_it_is(level: str) -> None:
    for columns in (1, 31, 32, 48, 64, 96, 128, 256, 384, 1000):
        header = _header({f"blk.0.{name}.weight": (columns, 2) for name in ("attn_v", "ffn_down", "x")}, block_count=1)
        assert all(columns % kind.block[0] == 0 for _, kind in types(header, level))
    said = Header(version=3, key_values={"general.file_type": LEVELS[level].number}, tensors=(), data_offset=0, size=0)
    # Ollama takes 0 for absent.
    assert file_type(said) == ("unknown" if level == "F32" else level)


def test_no_level_is_offered_that_needs_more_than_the_weights() -> None:
    assert not NEED_A_MATRIX & LEVELS.keys()
    assert set(ALIASES.values()) <= LEVELS.keys()
    garbage = {T.IQ1_S, T.IQ1_M, T.IQ2_XXS, T.IQ2_XS, T.IQ2_S, T.IQ3_XXS}
    for level in LEVELS:
        for experts in (0, 4, 8):
            assert not garbage & {kind for _, kind in types(_decoder(experts=experts), level)}
