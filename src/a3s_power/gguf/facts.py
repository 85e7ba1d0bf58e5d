"""What a header means: architecture, sizes, file type, what kind of file it is, and the tables that `show` prints."""

from typing import Any, Final

from a3s_power.core.model import Facts
from a3s_power.gguf.layout import Header, Kind, Skipped, TensorInfo, TensorType, Value

_FILE_TYPES: Final = {
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
"""`general.file_type` by name. 0 is F32 to llama.cpp but says nothing to Ollama, which takes it for absent."""

_ENCODERS: Final = frozenset(
    {
        "bert",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    }
)
"""Architectures whose tokens see what follows them, so that they embed and cannot go on with a text."""

_CHAT_TEMPLATE: Final = "tokenizer.chat_template"
_NAME: Final = "general.name"
_TOKENS: Final = "tokenizer.ggml.tokens"
_MERGES: Final = "tokenizer.ggml.merges"
_TABLE: Final = "token_embd.weight"
_REARRANGED: Final = frozenset({TensorType.Q4_0, TensorType.Q4_K, TensorType.IQ4_NL})
"""Types that llama.cpp has a second, faster order of on a CPU."""


def facts(header: Header) -> Facts:
    """What the file says of itself."""
    heads = header.count("attention.head_count")
    embedding_length = header.count("embedding_length")
    head_length = embedding_length // heads if heads else 0
    return Facts(
        architecture=header.architecture,
        type=header.text("general.type") or "model",
        parameters=sum(tensor.elements for tensor in header.tensors),
        file_type=file_type(header),
        context_length=header.count("context_length"),
        embedding_length=embedding_length,
        block_count=header.count("block_count"),
        feed_forward=header.count("feed_forward_length"),
        heads=heads,
        kv_heads=_kv_heads(header),
        head_k=header.count("attention.key_length") or head_length,
        head_v=header.count("attention.value_length") or head_length,
        sliding_window=header.count("attention.sliding_window"),
        vocabulary=_items(header.key_values.get(_TOKENS)) or header.count("vocab_size"),
        weights_bytes=sum(tensor.size for tensor in header.tensors),
        rearranged_bytes=sum(tensor.size for tensor in header.tensors if is_rearranged(tensor)),
        merges=_items(header.key_values.get(_MERGES)),
        pooling=next(iter(header.counts("pooling_type")), None),
        chat_template=header.text(_CHAT_TEMPLATE),
        vision=header.count("vision.block_count") > 0 or _flag(header, "has_vision_encoder"),
        audio=_hears(header),
        causal=header.about("attention.causal") is not False and header.architecture not in _ENCODERS,
    )


def file_type(header: Header) -> str:
    """The name of the quantisation, `unknown` when the file does not say."""
    number = header.key_values.get("general.file_type")
    return _FILE_TYPES.get(number, "unknown") if isinstance(number, int) else "unknown"


def is_rearranged(tensor: TensorInfo) -> bool:
    """Whether an engine may copy it in another order: matrices that are multiplied with, of some types.

    Of the vocabulary's table only rows are taken.
    """
    return tensor.type in _REARRANGED and len(tensor.shape) > 1 and tensor.name != _TABLE


def kind_of(header: Header) -> Kind:
    """Which layer of a model the file is, as Ollama decides."""
    match header.text("general.type"):
        case "adapter":
            return "adapter"
        case "projector" | "mmproj":
            return "projector"
    if header.about("block_count") is None:
        encodes = _flag(header, "has_vision_encoder") or _flag(header, "has_audio_encoder")
        if header.count("vision.block_count") or (header.architecture == "clip" and encodes):
            return "projector"
    return "model"


def _kv_heads(header: Header) -> tuple[int, ...]:
    """Key-value heads by layer: as many as attention heads where the file does not say."""
    counts = header.counts("attention.head_count_kv") or header.counts("attention.head_count")
    return counts * header.count("block_count") if len(counts) == 1 else counts


def _hears(header: Header) -> bool:
    if kind_of(header) != "projector":
        return header.count("audio.block_count") > 0
    # Projectors of this type carry the flag, but the engine has no code for their audio half.
    return _flag(header, "has_audio_encoder") and header.about("vision.projector_type") != "gemma3nv"


def _flag(header: Header, name: str) -> bool:
    return any(value is True for key, value in header.key_values.items() if key.rpartition(".")[2] == name)


def _items(value: Value | None) -> int:
    match value:
        case Skipped(count=count):
            return count
        case tuple():
            return len(value)
        case _:
            return 0


def model_info(header: Header, *, verbose: bool = False) -> dict[str, Any]:
    """The weights' metadata as `show` has it: sorted, without name and chat template, with the parameter count."""
    info = projector_info(header, verbose=verbose)
    return {key: value for key, value in info.items() if key not in (_NAME, _CHAT_TEMPLATE)}


def projector_info(header: Header, *, verbose: bool = False) -> dict[str, Any]:
    """A projector's metadata: sorted, arrays only when `verbose`, else `None` for those that are not empty."""
    info = {key: _shown(value, verbose=verbose) for key, value in header.key_values.items()}
    info["general.parameter_count"] = sum(tensor.elements for tensor in header.tensors)
    return dict(sorted(info.items()))


def _shown(value: Value, *, verbose: bool) -> Value | None:
    if isinstance(value, Skipped):
        return None
    return None if value and isinstance(value, tuple) and not verbose else value


def tensor_list(header: Header) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """Name, type and shape of every tensor, in the file's order; shapes with the fastest dimension first."""
    return tuple((tensor.name, tensor.type.name, tensor.shape) for tensor in header.tensors)
