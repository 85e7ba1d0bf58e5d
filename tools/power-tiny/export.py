"""Weights and tokenizer → a folder for Transformers and GGUF files.

usage: export.py WEIGHTS.pt TOKENIZER.json FOLDER
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import gguf
import torch
from gguf import GGUFWriter, TokenType
from network import SHAPE
from safetensors.torch import save_file
from tokenizer import chat_template
from torch import Tensor
from weights import FILE_TYPES, Array, FileType, add_tensor, finish, interleaved

NAME = "power-tiny"


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def _added_tokens(tokenizer: Path) -> list[dict[str, Any]]:
    return json.loads(tokenizer.read_text(encoding="utf-8"))["added_tokens"]


def write_transformers(weights: dict[str, Tensor], tokenizer: Path, folder: Path) -> None:
    """The model as Transformers reads it, in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"model." + name: value.to(torch.float16).contiguous() for name, value in weights.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    added = _added_tokens(tokenizer)
    tokens = {token["content"]: token["id"] for token in added}
    _write_json(folder / "config.json", _config(tokens))
    _write_json(
        folder / "generation_config.json",
        {
            "do_sample": False,
            "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]],
            "pad_token_id": tokens["<|endoftext|>"],
        },
    )
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(added))
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    (folder / "chat_template.jinja").write_text(chat_template(), encoding="utf-8")


def _config(tokens: dict[str, int]) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **SHAPE._asdict(),
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "rope_parameters": {"rope_theta": SHAPE.rope_theta, "rope_type": "default"},
        "rope_scaling": None,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "pretraining_tp": 1,
        "tie_word_embeddings": True,
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": tokens["<|im_end|>"],
        "pad_token_id": tokens["<|endoftext|>"],
        "torch_dtype": "float16",
        "dtype": "float16",
    }


def _tokenizer_config(added: list[dict[str, Any]]) -> dict[str, object]:
    kept = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(token["id"]): {key: token[key] for key in kept} for token in added},
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_max_length": SHAPE.max_position_embeddings,
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": chat_template(),
    }


def write_gguf(weights: dict[str, Tensor], tokenizer: Path, path: Path, file_type: FileType) -> None:
    """The model as llama.cpp reads it."""
    writer = GGUFWriter(path, "llama")
    _add_facts(writer, file_type)
    _add_tokenizer(writer, tokenizer)
    _add_tensors(writer, weights, file_type)
    finish(writer)


def _add_facts(writer: GGUFWriter, file_type: FileType) -> None:
    writer.add_type("model")
    writer.add_name(NAME)
    writer.add_basename(NAME)
    writer.add_description("Tiny chat model for tests, trained on synthetic dialogues only")
    writer.add_license("mit")
    writer.add_size_label("2.8M")
    writer.add_context_length(SHAPE.max_position_embeddings)
    writer.add_embedding_length(SHAPE.hidden_size)
    writer.add_block_count(SHAPE.num_hidden_layers)
    writer.add_feed_forward_length(SHAPE.intermediate_size)
    writer.add_head_count(SHAPE.num_attention_heads)
    writer.add_head_count_kv(SHAPE.num_key_value_heads)
    writer.add_key_length(SHAPE.head_dim)
    writer.add_value_length(SHAPE.head_dim)
    writer.add_layer_norm_rms_eps(SHAPE.rms_norm_eps)
    writer.add_rope_dimension_count(SHAPE.head_dim)
    writer.add_rope_freq_base(SHAPE.rope_theta)
    writer.add_vocab_size(SHAPE.vocab_size)
    writer.add_file_type(FILE_TYPES[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(writer: GGUFWriter, path: Path) -> None:
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokens = [""] * SHAPE.vocab_size
    types = [TokenType.NORMAL] * SHAPE.vocab_size
    for text, index in tokenizer["model"]["vocab"].items():
        tokens[index] = text
    for token in tokenizer["added_tokens"]:
        tokens[token["id"]] = token["content"]
        types[token["id"]] = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(ids["<|endoftext|>"])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_eot_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(value=False)
    writer.add_add_eos_token(value=False)
    for short, word in (("pre", "prefix"), ("suf", "suffix"), ("mid", "middle"), ("pad", "pad")):
        writer.add_uint32(f"tokenizer.ggml.fim_{short}_token_id", ids[f"<|fim_{word}|>"])
    writer.add_chat_template(chat_template())


_LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _add_tensors(writer: GGUFWriter, weights: dict[str, Tensor], file_type: FileType) -> None:
    def values(name: str) -> Array:
        # By way of float16: the same weights as in the safetensors file.
        return weights[name + ".weight"].to(torch.float16).float().numpy()

    heads = {"attn_q": SHAPE.num_attention_heads, "attn_k": SHAPE.num_key_value_heads}
    add_tensor(writer, "token_embd.weight", values("embed_tokens"), file_type)
    for layer in range(SHAPE.num_hidden_layers):
        for name, source in _LAYER_TENSORS.items():
            tensor = values(f"layers.{layer}.{source}")
            if name in heads:
                tensor = interleaved(tensor, heads[name])
            add_tensor(writer, f"blk.{layer}.{name}.weight", tensor, file_type)
    # There is no output.weight: it is tied to token_embd.
    add_tensor(writer, "output_norm.weight", values("norm"), file_type)


def main() -> None:
    weights_file, tokenizer, folder = (Path(text) for text in sys.argv[1:4])
    weights = torch.load(weights_file, map_location="cpu")
    write_transformers(weights, tokenizer, folder / f"{NAME}-hf")
    for file_type in FILE_TYPES:
        path = folder / f"{NAME}-{file_type}.gguf"
        write_gguf(weights, tokenizer, path, file_type)
        print(path, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
