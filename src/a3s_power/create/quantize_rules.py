"""Which tensor of a model gets which type: llama.cpp's rules, so that a file made here is the file made there.

They were read in `src/llama-quant.cpp` and `tools/quantize/quantize.cpp` of llama.cpp as of autumn 2026 (commits
007dbbf and 03161a4), without an importance matrix. Some types stay finer where Ollama keeps them so. Three things are
ours. A matrix that no block size fits becomes F16, where llama.cpp does that for some types and fails for others.
Tensors of the encoders that Ollama puts into the model's own file stay as they are. And a level that needs an
importance matrix anywhere is not offered.
"""

import re
from typing import Final, Literal, NamedTuple

from a3s_power.core.errors import BadFile
from a3s_power.gguf.layout import Header, TensorInfo, TensorType, quoted

T = TensorType


class Level(NamedTuple):
    """What a model can be quantised to: the number in `general.file_type`, and the type of most of its matrices."""

    number: int
    type: TensorType


LEVELS: Final = {
    "F32": Level(0, T.F32),
    "F16": Level(1, T.F16),
    "Q4_K_S": Level(14, T.Q4_K),
    "Q4_K_M": Level(15, T.Q4_K),
    "Q8_0": Level(7, T.Q8_0),
    "BF16": Level(32, T.BF16),
    "Q1_0": Level(40, T.Q1_0),
    "Q2_0": Level(41, T.Q2_0),
    "Q2_K": Level(10, T.Q2_K),
    "Q3_K_S": Level(11, T.Q3_K),
    "Q3_K_M": Level(12, T.Q3_K),
    "Q3_K_L": Level(13, T.Q3_K),
    "Q4_0": Level(2, T.Q4_0),
    "Q4_1": Level(3, T.Q4_1),
    "Q5_0": Level(8, T.Q5_0),
    "Q5_1": Level(9, T.Q5_1),
    "Q5_K_S": Level(16, T.Q5_K),
    "Q5_K_M": Level(17, T.Q5_K),
    "Q6_K": Level(18, T.Q6_K),
    "IQ3_S": Level(26, T.IQ3_S),
    "IQ3_M": Level(27, T.IQ3_S),
    "IQ4_NL": Level(25, T.IQ4_NL),
    "IQ4_XS": Level(30, T.IQ4_XS),
    "TQ1_0": Level(36, T.TQ1_0),
    "TQ2_0": Level(37, T.TQ2_0),
    "MXFP4_MOE": Level(38, T.MXFP4),
}
"""The first five as Ollama lists them."""

ALIASES: Final = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}

NEED_A_MATRIX: Final = frozenset(
    {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S"}
)
"""Levels that llama.cpp refuses without an importance matrix: some of their tensors would be garbage."""

TRAINED_FOR: Final = frozenset({"Q1_0", "Q2_0", "TQ1_0", "TQ2_0"})
"""Levels of so few values that only models trained with them keep their sense."""

UNQUANTISED: Final = frozenset({T.F32, T.F16, T.BF16})

_FALLBACKS: Final = {
    **dict.fromkeys((T.Q2_0, T.Q2_K, T.Q3_K, T.TQ1_0, T.TQ2_0), T.Q4_0),
    **dict.fromkeys((T.IQ3_S, T.IQ4_XS), T.IQ4_NL),
    T.Q4_K: T.Q5_0,
    T.Q5_K: T.Q5_1,
    T.Q6_K: T.Q8_0,
}
"""For rows that are no whole blocks of 256 (of 64 with Q2_0): a type with blocks of 32."""

_LEFT_ALONE: Final = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid\.weight|altup|laurel|per_layer_model_proj"
    r"|ssm_conv1d|shortconv\.conv\.weight|indexer\.[kq]_proj\.weight"
    r"|time_mix_(?:first|w[012]|v[012]|a[012]|g[12]|decay_w[12]|lerp_fused)\.weight"
    r"|attn_rel_b\.weight|\.position_embd|sam\.(?:pos_embd|neck\.|net_)|\.rel_pos|\.patch_(?:embd|merger)"
    r"|a\.rvq\.codebook|mm\.a\.code_embd"
    r"|^position_embd\.weight$|^token_types\.weight$"
    r"|^(?:a|mm|mtp|s|v)\."
)
"""Norms, gates, positions, and what is too small or too delicate. The last line are Ollama's embedded encoders."""

_FINER: Final = {
    "qwen35": (re.compile(r"blk\.\d+\.nextn\.eh_proj\.weight"), T.Q8_0),
    "qwen35moe": (re.compile(r"blk\.\d+\.nextn\.eh_proj\.weight"), T.Q8_0),
    "gemma3n": (re.compile(r"per_layer_token_embd\.weight"), T.F16),
    "deepseek2": (re.compile(r"blk\.\d+\.attn_(?:k_b|q_a|q_b|v_b|kv_a_mqa)\.weight"), T.Q8_0),
    "glmocr": (re.compile(r"(?:token_embd|output)\.weight"), T.F16),
    "glm4": (re.compile(r"(?:token_embd|output)\.weight"), T.F16),
}
"""By architecture, what Ollama keeps finer with Q4_K_S and Q4_K_M."""

_70B: Final = {"llama": 80, "deci": 80, "qwen2": 80, "jais2": 68}
"""Layers of what llama.cpp takes for a model of 70B; a llama also needs fewer key-value heads than heads."""

_LAYER: Final = re.compile(r"blk\.(\d+)\.")

Role = Literal["embedding", "output", "values", "keys", "queries", "attention", "down", "other"]

_ROLES: Final[tuple[tuple[str, Role], ...]] = (
    ("attn_qkv.weight", "values"),
    ("attn_kv_b.weight", "values"),
    ("attn_v.weight", "values"),
    ("attn_k.weight", "keys"),
    ("attn_q.weight", "queries"),
    ("attn_output.weight", "attention"),
    ("ffn_up", "other"),
    ("ffn_gate", "other"),
    ("ffn_down", "down"),
)


def types(header: Header, level: str) -> tuple[tuple[TensorInfo, TensorType], ...]:
    """Every tensor and its type at `level`, in the order in which llama.cpp writes them: by layer, then by name.

    Raises:
        BadFile: a tensor of experts that does not say which layer it is of.
    """
    tensors = sorted(header.tensors, key=lambda tensor: (_layer(tensor.name, default=-1), tensor.name.encode()))
    mix = _Mix(header, level)
    return tuple((tensor, mix.type_of(tensor)) for tensor in tensors)


def role(name: str) -> Role:
    """What a matrix is for, as far as the rules tell them apart."""
    if name == "output.weight":
        return "output"
    if name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return "embedding"
    return next((role for part, role in _ROLES if part in name), "other")


class _Mix:
    """The rules for one model at one level. The places of values and down projections are counted as they come."""

    def __init__(self, header: Header, level: str) -> None:
        names = [tensor.name for tensor in header.tensors]
        self._level = level
        self._default = LEVELS[level].type
        self._architecture = header.architecture
        self._layers = header.count("block_count")
        self._experts = header.count("expert_count")
        self._sharing = _sharing(header)
        self._large = _is_70b(header)
        self._tied = "output.weight" not in names
        self._values = sum(role(name) == "values" for name in names)
        self._seen = {"values": 0, "down": 0}

    def type_of(self, tensor: TensorInfo) -> TensorType:
        """The type of the next tensor."""
        if not _is_matrix(tensor):
            return tensor.type
        if self._default in UNQUANTISED:
            return self._default
        finer = self._finer(tensor.name)
        return _fitting(tensor, self._wanted(tensor) if finer is None else finer)

    def _finer(self, name: str) -> TensorType | None:
        if self._level in ("Q4_K_S", "Q4_K_M") and self._architecture in _FINER:
            names, kind = _FINER[self._architecture]
            return kind if names.fullmatch(name) else None
        return None

    def _wanted(self, tensor: TensorInfo) -> TensorType:
        of = role(tensor.name)
        if of == "output" or (self._tied and of == "embedding"):
            return self._output(tensor)
        if self._level == "MXFP4_MOE":
            return T.MXFP4 if self._is_expert(tensor) else T.Q8_0
        match of:
            case "embedding":
                return T.Q4_K if self._level in ("TQ1_0", "TQ2_0", "Q2_0") else self._default
            case "values":
                return self._of_values(self._next(of))
            case "keys":
                return T.Q8_0 if self._experts == 8 else self._default
            case "down":
                return self._of_down(self._place_of(tensor, self._next(of)))
            case "attention":
                return self._of_attention()
            case _:
                return self._default

    def _next(self, of: Literal["values", "down"]) -> int:
        self._seen[of] += 1
        return self._seen[of] - 1

    def _place_of(self, tensor: TensorInfo, counted: int) -> int:
        """The layer: with experts it stands in the name, without it is the count."""
        if self._experts <= 1:
            return counted
        layer = _layer(tensor.name, default=-1)
        if not 0 <= layer < self._layers:
            raise BadFile(f"tensor {quoted(tensor.name)} is of none of the model's {self._layers} layers")
        return layer

    def _output(self, tensor: TensorInfo) -> TensorType:
        if self._level == "MXFP4_MOE" or self._architecture == "falcon" or tensor.shape[0] % self._default.block[0]:
            return T.Q8_0
        return T.Q8_0 if self._default is T.Q8_0 else T.Q6_K

    def _is_expert(self, tensor: TensorInfo) -> bool:
        stacked = len(tensor.shape) > 2 and tensor.shape[2] > 1
        # This one's attention has matrices of three dimensions, too.
        return stacked and (self._architecture != "bailingmoe3" or "ffn_" in tensor.name)

    def _of_values(self, place: int) -> TensorType:
        if self._experts == 8:
            return T.Q8_0
        wanted = self._of_values_by_level(place)
        return T.Q5_K if self._large and wanted in (T.Q3_K, T.Q4_K) else wanted

    def _of_values_by_level(self, place: int) -> TensorType:
        match self._level:
            case "Q2_K":
                return T.Q4_K if self._sharing >= 4 else T.Q3_K
            case "Q3_K_M":
                return T.Q5_K if place < 2 else T.Q4_K
            case "Q3_K_L":
                return T.Q5_K
            case "IQ3_M":
                return T.Q4_K
            case "IQ3_S" if self._sharing >= 4:
                return T.Q4_K
            case "IQ4_NL" | "IQ4_XS" if self._sharing >= 4:
                return T.Q5_K
            case "Q4_K_S" if place < 4:
                return T.Q5_K
            case "Q4_K_M" | "Q5_K_M" if _more_bits(place, self._values):
                return T.Q6_K
        return self._default

    def _of_down(self, place: int) -> TensorType:
        falcon, early = self._architecture == "falcon", place < self._layers // 8
        more = _more_bits(place, self._layers)
        match self._level:
            case "Q2_K":
                return T.Q3_K
            case "Q3_K_M" if place < self._layers // 16:
                return T.Q5_K
            case "Q3_K_M" if not falcon or more:
                return T.Q4_K
            case "Q3_K_L":
                return T.Q4_K if falcon else T.Q5_K
            case "IQ3_M" if early or (self._experts == 8 and more):
                return T.Q4_K
            case "Q4_K_M" if falcon and place >= self._layers // 16:
                return T.Q5_K if more else T.Q4_K
            case "Q4_K_M" | "Q5_K_M" if more:
                return T.Q6_K
            case "Q4_K_S" if early and not falcon:
                return T.Q5_K
            case "IQ4_NL" | "IQ4_XS" if early:
                return T.Q5_K
        return self._default

    def _of_attention(self) -> TensorType:
        if self._architecture == "falcon":
            return T.Q4_K if self._level == "Q3_K_L" else self._default
        if self._experts == 8:
            fine = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ3_S", "IQ3_M", "IQ4_NL", "IQ4_XS")
            return T.Q5_K if self._level in fine else self._default
        by_level = {"Q2_K": T.Q3_K, "Q3_K_M": T.Q4_K, "Q3_K_L": T.Q5_K, "IQ3_M": T.Q4_K}
        return by_level.get(self._level, self._default)


def _is_matrix(tensor: TensorInfo) -> bool:
    """Whether the tensor is one that changes its type at all."""
    wide = any(size > 1 for size in tensor.shape[1:])
    return wide and tensor.name.endswith("weight") and not _LEFT_ALONE.search(tensor.name)


def _fitting(tensor: TensorInfo, wanted: TensorType) -> TensorType:
    """The type, or what stands in for it where rows are no whole blocks of it."""
    columns = tensor.shape[0]
    for kind in (wanted, _FALLBACKS.get(wanted, T.F16)):
        if columns % kind.block[0] == 0:
            return kind
    return T.F16


def _more_bits(place: int, places: int) -> bool:
    """The first eighth, the last eighth, and of those between them every third."""
    first = places // 8
    return place < first or place >= 7 * places // 8 or (place - first) % 3 == 2


def _layer(name: str, *, default: int) -> int:
    found = _LAYER.match(name)
    return int(found[1]) if found else default


def _sharing(header: Header) -> int:
    """How many heads share a key-value head, in the first layer; 0 where that has none."""
    heads = header.counts("attention.head_count")[:1] or (0,)
    kv_heads = header.counts("attention.head_count_kv")[:1] or heads
    return heads[0] // kv_heads[0] if kv_heads[0] else 0


def _is_70b(header: Header) -> bool:
    if header.count("block_count") != _70B.get(header.architecture):
        return False
    return header.architecture != "llama" or _sharing(header) != 1
