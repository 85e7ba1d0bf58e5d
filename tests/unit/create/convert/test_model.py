import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.families import CLASSES, FAMILIES
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.model import convert
from a3s_power.gguf.facts import facts
from a3s_power.gguf.layout import Header, TensorType
from a3s_power.gguf.reader import read_header
from tests.conversions import TOKENIZERS, Arrays, Recorded, arrays, names, recorded, safetensors, write_folder
from tests.folders import folder_of


def _files(model: Recorded, scratch: Path, **config: Any) -> dict[str, bytes | dict[str, Any] | list[Any]]:
    folder = write_folder(scratch / "hf", model)
    files: dict[str, bytes | dict[str, Any] | list[Any]] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"config.json": {key: value for key, value in {**model.config, **config}.items() if value != ...}}


@contextmanager
def _folder(name: str, scratch: Path, more: Mapping[str, Any] | None = None, **config: Any) -> Iterator[Folder]:
    """A recorded model, with other files and another config; `...` takes a setting away."""
    files = _files(recorded(name), scratch, **config) | dict(more or {})
    with folder_of(scratch, files) as folder:
        yield folder


def _header(folder: Folder) -> Header:
    outline, pieces = convert(folder)
    content = b"".join(pieces)
    assert len(content) == outline.size
    return read_header(io.BytesIO(content), arrays=True)


def _own(header: Header) -> dict[str, Any]:
    """The key-values below the architecture's name."""
    start = f"{header.architecture}."
    return {key.removeprefix(start): value for key, value in header.key_values.items() if key.startswith(start)}


@pytest.mark.parametrize("name", names())
def test_every_recorded_model_becomes_a_gguf_of_its_facts(tmp_path: Path, name: str) -> None:
    model = recorded(name)
    with _folder(name, tmp_path) as folder:
        header = _header(folder)
    found = facts(header)
    assert header.version == 3
    assert found.file_type == "F16"
    assert found.architecture == CLASSES[model.config["architectures"][0]].architecture
    assert found.vocabulary == model.config["vocab_size"] == len(header.key_values["tokenizer.ggml.tokens"])  # type: ignore[arg-type]
    assert found.block_count == model.config["num_hidden_layers"]
    assert found.embedding_length == model.config["hidden_size"]
    assert found.context_length == model.config["max_position_embeddings"]
    assert found.causal is not bool(model.vector)


@pytest.mark.parametrize("name", names())
def test_matrices_are_of_16_bits_and_all_else_of_32(tmp_path: Path, name: str) -> None:
    with _folder(name, tmp_path) as folder:
        header = _header(folder)
    added = {"position_embd.weight", "token_types.weight"}
    for tensor in header.tensors:
        wide = len(tensor.shape) == 1 or tensor.name in added
        assert tensor.type is (TensorType.F32 if wide else TensorType.F16), tensor.name


def test_every_class_belongs_to_one_family() -> None:
    assert len(CLASSES) == sum(len(family.classes) for family in FAMILIES)


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("llama", {}, {"rope.freq_base": 500000.0, "attention.key_length": 16, "attention.head_count_kv": 2}),
        ("mistral", {"num_key_value_heads": 4}, {"attention.head_count_kv": 4}),
        ("llama", {"rms_norm_eps": 1e-5}, {"attention.layer_norm_rms_epsilon": 1e-5}),
        ("gemma2", {}, {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "rope.freq_base": 10000.0}),
        ("gemma2", {"final_logit_softcapping": ...}, {"final_logit_softcapping": 30.0}),
        ("gemma2", {"final_logit_softcapping": None}, {"final_logit_softcapping": 0.0}),
        ("gemma3", {"sliding_window": None}, {"attention.sliding_window": None, "final_logit_softcapping": 0.0}),
        (
            "mistral",
            {"num_key_value_heads": ..., "num_attention_heads": 8, "head_dim": 8},
            {"attention.head_count_kv": 8},
        ),
        ("gemma2", {}, {"attention.sliding_window": 8, "attention.sliding_window_pattern": None}),
        ("gemma3", {}, {"rope.freq_base": 1e6, "rope.freq_base_swa": 10000.0, "rope.scaling.factor": 8.0}),
        ("gemma3", {}, {"attention.sliding_window_pattern": (True, False, True)}),
        (
            "gemma3",
            {"layer_types": ..., "sliding_window_pattern": 2},
            {"attention.sliding_window_pattern": (True, False, True)},
        ),
        ("gemma3", {"layer_types": ...}, {"attention.sliding_window_pattern": None}),
        ("gemma3", {"rope_parameters": None, "rope_local_base_freq": 5e3}, {"rope.freq_base_swa": 5e3}),
        ("gemma3", {"rope_parameters": {"rope_theta": 1e6}}, {"rope.freq_base": 1e6, "rope.freq_base_swa": 10000.0}),
        ("phi3", {}, {"rope.dimension_count": 8, "rope.scaling.original_context_length": 16}),
        ("granite", {}, {"attention.scale": 0.4, "embedding_scale": 3.0, "residual_scale": 0.5, "logit_scale": 2.0}),
        ("bert", {}, {"pooling_type": 1, "attention.causal": False, "attention.layer_norm_epsilon": 1e-12}),
        ("qwen2", {}, {"pooling_type": None, "rope.scaling.type": "yarn"}),
    ],
)
def test_a_familys_own_numbers(tmp_path: Path, name: str, config: dict[str, Any], expected: dict[str, Any]) -> None:
    with _folder(name, tmp_path, **config) as folder:
        own = _own(_header(folder))
    assert {key: own.get(key) for key in expected} == expected


# What is not in the config, and what else is there.


def _weights(change: Callable[[Arrays], object], name: str = "mistral") -> dict[str, bytes]:
    weights = arrays(recorded(name).shapes)
    change(weights)
    return {"model.safetensors": safetensors(weights)}


def _drop(*names: str) -> dict[str, bytes]:
    return _weights(lambda weights: [weights.pop(name) for name in names])


def _add(name: str, *shape: int) -> dict[str, bytes]:
    return _weights(lambda weights: weights.update({name: np.zeros(shape, np.float32)}))


LAYER = "model.layers.1.self_attn"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (_drop(f"{LAYER}.q_proj.weight"), "the model is not whole: blk.1.attn_q.weight is missing"),
        (_drop("model.embed_tokens.weight"), "the model is not whole: token_embd.weight is missing"),
        (_drop("model.norm.weight"), "the model is not whole: output_norm.weight is missing"),
        (_drop("lm_head.weight"), "the model is not whole: output.weight is missing"),
        (_add("model.layers.2.self_attn.q_proj.weight", 4, 4), '"model.layers.2.self_attn.q_proj.weight" has no place'),
        (_add("layers.0.attention.wq.weight", 4, 4), 'tensor "layers.0.attention.wq.weight" has no place'),
        (_add("model.extra", 4), 'tensor "model.extra" has no place'),
        (_add("../../../../tmp/pwn", 4), 'tensor "../../../../tmp/pwn" has no place'),
        (_add("model.layers.0.self_attn.q_proj.bias", 0), "is empty"),
        (
            _weights(lambda weights: weights.update({"model.embed_tokens.weight": np.zeros((4, 5), np.float32)})),
            "the embedding has not the 48 columns",
        ),
        (
            _weights(lambda weights: weights.update({f"{LAYER}.k_proj.weight": np.zeros((6, 48), np.float32)})),
            "has rows that are no whole pairs for 2 heads",
        ),
    ],
)
def test_a_model_that_is_not_what_it_says_is_refused(tmp_path: Path, more: dict[str, bytes], message: str) -> None:
    with _folder("mistral", tmp_path, more) as folder, pytest.raises(BadFile, match=message):
        convert(folder)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("llama", {"architectures": ["XForCausalLM"]}, 'unsupported architecture "XForCausalLM"$'),
        ("llama", {"architectures": ["X"], "auto_map": {"A": "b.C"}}, '"X"; the model\'s own code is not run'),
        ("llama", {"architectures": []}, "unknown architecture"),
        ("llama", {"architectures": [7]}, "unknown architecture"),
        ("llama", {"architectures": ...}, "unknown architecture"),
        ("llama", {"quantization_config": {"quant_method": "gptq"}}, "the weights are quantized"),
        ("llama", {"hidden_size": ...}, "config.json cannot be used"),
        ("llama", {"max_position_embeddings": 10**18}, "config.json cannot be used"),
        ("llama", {"num_hidden_layers": 513}, "config.json cannot be used"),
        ("llama", {"num_hidden_layers": 3}, "the model is not whole: blk.2"),
        ("llama", {"num_attention_heads": 0}, "config.json cannot be used"),
        ("llama", {"num_attention_heads": 3}, "do not go together"),
        ("llama", {"head_dim": 15}, "do not go together"),
        ("llama", {"head_dim": None, "hidden_size": 50}, "do not go together"),
        ("llama", {"rms_norm_eps": -1.0}, "config.json cannot be used"),
        ("llama", {"hidden_act": "gelu"}, 'the activation "gelu": llama.cpp has silu here'),
        ("gemma2", {"hidden_activation": "gelu"}, 'the activation "gelu": llama.cpp has gelu_pytorch_tanh here'),
        ("gemma2", {"query_pre_attn_scalar": 144}, "scales queries by 144: llama.cpp takes 16"),
        ("gemma2", {"attn_logit_softcapping": None}, "asks for another attention"),
        ("gemma3", {"layer_types": ["full_attention"]}, "has 1 layer_types for 3 layers"),
        ("gemma3", {"attn_logit_softcapping": 50.0}, "asks for another attention"),
        ("gemma3", {"use_bidirectional_attention": True}, "asks for another attention"),
        ("gemma3", {"text_config": [1]}, "text_config is no object"),
        ("bert", {"position_embedding_type": "relative_key"}, "asks for positions that are not absolute"),
        ("bert", {"hidden_act": "relu"}, 'the activation "relu"'),
        ("phi3", {"rope_parameters": {"rope_type": "longrope", "long_factor": [1.0]}}, "one long_factor and one short"),
        ("qwen2", {"rope_parameters": {"rope_type": "llama3"}}, 'rope scaling "llama3" cannot be converted'),
    ],
)
def test_what_cannot_be_converted_is_refused_and_named(
    tmp_path: Path, name: str, config: dict[str, Any], message: str
) -> None:
    with _folder(name, tmp_path, **config) as folder, pytest.raises(BadFile, match=message):
        convert(folder)


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with (
        folder_of(tmp_path, {"model.safetensors": b""}) as folder,
        pytest.raises(BadFile, match=r"config\.json is miss"),
    ):
        convert(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{" * 100_000, b"\xff", b"{}" + b" " * (1 << 20)])
def test_a_config_of_another_form_is_refused(tmp_path: Path, content: bytes) -> None:
    with folder_of(tmp_path, {"config.json": content}) as folder, pytest.raises(BadFile, match=r"config\.json"):
        convert(folder)


@pytest.mark.parametrize(
    ("name", "config", "note"),
    [
        ("mistral", {"sliding_window": 512}, "the sliding window of 512 tokens is not applied"),
        ("qwen2", {"sliding_window": 512, "use_sliding_window": True}, "the sliding window of 512 tokens is not"),
        ("phi3", {"sliding_window": 512}, "the sliding window of 512 tokens is not applied"),
        ("llama", {"auto_map": {"AutoModelForCausalLM": "modeling_x.X"}}, "the model's own code is not run"),
        ("gemma3", {"text_config": {"auto_map": {"AutoConfig": "x.X"}}}, "the model's own code is not run"),
        ("bert", {}, "no file says how vectors are pooled: it will be their mean"),
    ],
)
def test_what_is_changed_is_told(tmp_path: Path, name: str, config: dict[str, Any], note: str) -> None:
    with _folder(name, tmp_path, **config) as folder:
        outline, _ = convert(folder)
    assert any(said.startswith(note) for said in outline.notes)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("mistral", {"sliding_window": 1024}),
        ("qwen2", {"sliding_window": 512, "use_sliding_window": False}),
        ("llama", {"auto_map": None}),
    ],
)
def test_what_is_not_changed_is_not_told(tmp_path: Path, name: str, config: dict[str, Any]) -> None:
    with _folder(name, tmp_path, **config) as folder:
        outline, _ = convert(folder)
    assert [note for note in outline.notes if "chat template" not in note] == []


# Tensors that are left out, and names of another form.


def test_tied_outputs_are_left_out(tmp_path: Path) -> None:
    with _folder("mistral", tmp_path, tie_word_embeddings=True) as folder:
        assert "output.weight" not in {tensor.name for tensor in _header(folder).tensors}


def test_old_llamas_carry_frequencies_that_nobody_needs(tmp_path: Path) -> None:
    with _folder("mistral", tmp_path, _add("model.layers.0.self_attn.rotary_emb.inv_freq", 8)) as folder:
        assert len(_header(folder).tensors) == 21


@pytest.mark.parametrize("form", ["language_model.model.", "model.language_model."])
def test_gemma_3s_part_that_writes_texts_is_taken_alone(tmp_path: Path, form: str) -> None:
    model = recorded("gemma3")
    weights = {name.replace("model.", form, 1): array for name, array in arrays(model.shapes).items()}
    weights["vision_tower.x.weight"] = np.zeros((2, 2), np.float32)
    weights["multi_modal_projector.y"] = np.zeros((2, 2), np.float32)
    outer = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": model.config, "vision_config": {}}
    more = {"model.safetensors": safetensors(weights), "config.json": outer}
    with _folder("gemma3", tmp_path, more) as folder:
        found = _header(folder)
        assert "the image encoder is left out: the model will not see images" in folder.notes
    with _folder("gemma3", tmp_path) as folder:
        assert found == _header(folder)


def test_bert_may_be_named_as_its_part_of_a_larger_model_and_in_the_old_way(tmp_path: Path) -> None:
    model = recorded("bert")
    weights = {f"bert.{name}": array for name, array in arrays(model.shapes).items()}
    for part in ("weight", "bias"):
        old = {"weight": "gamma", "bias": "beta"}[part]
        name = f"bert.embeddings.LayerNorm.{part}"
        weights[f"bert.embeddings.LayerNorm.{old}"] = weights.pop(name)
    weights["cls.predictions.bias"] = np.zeros(3, np.float32)
    more = {"model.safetensors": safetensors(weights)}
    with _folder("bert", tmp_path, more, architectures=["BertForMaskedLM"]) as folder:
        found = _header(folder)
    with _folder("bert", tmp_path) as folder:
        assert {tensor.name for tensor in found.tensors} == {tensor.name for tensor in _header(folder).tensors}


def _pooling(mode: Mapping[str, Any], *modules: str) -> dict[str, Any]:
    listed = [{"type": f"sentence_transformers.models.{name}", "path": f"1_{name}"} for name in modules]
    return {"modules.json": listed, "1_Pooling/config.json": mode}


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, 1),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, 2),
        ({"pooling_mode_lasttoken": True}, 3),
        ({"pooling_mode": "mean"}, 1),
        ({"pooling_mode": "cls"}, 2),
        ({"pooling_mode": "lasttoken"}, 3),
    ],
)
@pytest.mark.parametrize("name", ["bert", "qwen3"])
def test_pooling_is_what_the_modules_say(tmp_path: Path, name: str, mode: Mapping[str, Any], number: int) -> None:
    with _folder(name, tmp_path, _pooling(mode, "Transformer", "Pooling", "Normalize")) as folder:
        header = _header(folder)
        assert not any("pooled" in note for note in folder.notes)
    assert _own(header)["pooling_type"] == number


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (_pooling({"pooling_mode_max_tokens": True}, "Pooling"), "asks for a pooling that llama.cpp does not have"),
        (_pooling({"pooling_mode": "mean", "pooling_mode_cls_token": True}, "Pooling"), "asks for a pooling"),
        (_pooling({"pooling_mode": "mean"}, "Pooling", "Dense"), 'asks for "sentence_transformers.models.Dense"'),
        ({"modules.json": [{"type": "x.Pooling", "path": "../.."}]}, '"../.." has no config.json'),
    ],
)
def test_pooling_that_llama_cpp_has_not_is_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with _folder("bert", tmp_path, more) as folder, pytest.raises(BadFile, match=message):
        convert(folder)


# Phi 3's name, by which llama.cpp drops blanks after special tokens.


def test_phi_3_is_named_only_where_its_tokens_are_those_that_llama_cpp_looks_for(tmp_path: Path) -> None:
    with _folder("phi3", tmp_path) as folder:
        assert _header(folder).key_values["general.name"] == "Phi-3"
    plain = (TOKENIZERS / "pieces/tokenizer.json").read_bytes()
    with _folder("phi3", tmp_path, {"tokenizer.json": plain}) as folder:
        assert "general.name" not in _header(folder).key_values
