"""LoRA adapters in safetensors, as PEFT and MLX write them, become GGUFs that llama.cpp lays over a model.

What llama.cpp wants is in its `convert_lora_to_gguf.py`: names of its own, both halves with the rank where it expects
it, and the rows of some architectures' queries and keys in another order.
"""

import math
import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, Final, Literal

import msgspec

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadFile, BadRequest
from a3s_power.core.events import Progress
from a3s_power.create import safetensors
from a3s_power.create.making import Making
from a3s_power.gguf.layout import ARCHITECTURE, Header, TensorInfo, TensorType, ValueType, quoted
from a3s_power.gguf.writer import Tensor, Typed, Writable, pieces

CONFIG: Final = "adapter_config.json"

_INTERLEAVED: Final = {"llama": True, "granite": True} | dict.fromkeys(
    ("gemma", "gemma2", "gemma3", "phi3", "qwen2", "qwen3"), False
)
"""Architectures whose names are those below, and whether llama.cpp has their queries' and keys' rows pair by pair."""

_NAME: Final = re.compile(
    r"(?:base_model\.model\.)?+(?:(?:language_)?model\.)*+(?:layers\.(?P<layer>[0-9]{1,4})\.)?+(?P<module>[a-z_.]+?)"
    r"\.lora_(?P<embedding>embedding_)?(?:(?P<peft>[AB])(?:\.default)?(?:\.weight)?|(?P<mlx>[ab]))"
)
_MODULES: Final = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "embed_tokens": "token_embd",
    "lm_head": "output",
}
_TYPES: Final = {"F32": TensorType.F32, "F16": TensorType.F16, "BF16": TensorType.F32}
_MOST_RANK: Final = 4096
_LEAST_ALPHA: Final = 1e-30
"""A 32-bit float must hold it, and its inverse."""
_LETTERS: Final = {TensorType.F32: "I", TensorType.F16: "H"}
"""How `array` calls whole numbers of that size; only their places change."""

_Rearrange = Callable[[bytes], bytes]


class _Parameters(msgspec.Struct, frozen=True):
    """What MLX writes below `lora_parameters`."""

    rank: int | None = None
    alpha: float | None = None
    scale: float | None = None


class _Config(msgspec.Struct, frozen=True):
    """The part of adapter_config.json that changes what an adapter does."""

    lora_alpha: float | None = None
    use_rslora: bool | None = None
    use_dora: bool | None = None
    fan_in_fan_out: bool | None = None
    alpha_pattern: dict[str, Any] | None = None
    lora_parameters: _Parameters | None = None


class _Half(msgspec.Struct, frozen=True):
    """One half of a pair: what it will be called, its shape with the fastest dimension first, and how it gets there."""

    info: TensorInfo
    source: safetensors.Tensor
    file: int
    rearrange: _Rearrange | None


class Made(msgspec.Struct, frozen=True):
    """An adapter as the GGUF it becomes, while its files are open."""

    key_values: dict[str, Writable]
    halves: list[_Half]
    files: list[BinaryIO]

    @property
    def header(self) -> Header:
        """What the file will say, as far as it matters to a model."""
        architecture = str(self.key_values[ARCHITECTURE])
        infos = tuple(half.info for half in self.halves)
        return Header(version=3, key_values={ARCHITECTURE: architecture}, tensors=infos, data_offset=0, size=self.size)

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(half.info.size for half in self.halves)

    def pieces(self) -> Iterator[bytes]:
        """The file. Raises BadFile when what it is made from is cut off."""
        return pieces(self.key_values, [_tensor(half, self.files[half.file]) for half in self.halves])


@contextmanager
def opened(files: Mapping[str, str], model: Header, making: Making) -> Iterator[Made]:
    """The adapter from its uploaded files (name to digest); nobody has looked yet whether it fits the model.

    Raises:
        BadRequest: nothing is known of adapters for models of this architecture.
        BadFile: the adapter is broken, or does what llama.cpp cannot.
        BlobNotFound: a file was not uploaded.
    """
    making.report(Progress("converting adapter"))
    if model.architecture not in _INTERLEAVED:
        raise BadRequest("unsupported architecture")
    config = _config(files, making)
    with ExitStack() as stack:
        sources = [stack.enter_context(_open(files[name], making)) for name in sorted(files) if _is_weights(name)]
        halves = _halves(sources, model)
        yield Made(_key_values(config, halves, model), halves, sources)


def is_safetensors(files: Mapping[str, str]) -> bool:
    """Whether an adapter's files are of the kind that is converted."""
    return any(map(_is_weights, files))


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors")


def _open(digest: str, making: Making) -> BinaryIO:
    return making.store.blobs.open(Digest.parse(digest))[1]


def _config(files: Mapping[str, str], making: Making) -> _Config:
    digest = next((digest for name, digest in files.items() if name.rpartition("/")[2] == CONFIG), None)
    if digest is None:
        raise BadFile(f"the adapter has no {CONFIG}")
    with _open(digest, making) as file:
        content = file.read(limits.CONFIG_BYTES + 1)
    if len(content) > limits.CONFIG_BYTES:
        raise BadFile(f"{CONFIG} is larger than {limits.CONFIG_BYTES} bytes")
    try:
        config = msgspec.json.decode(content, type=_Config)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadFile(f"{CONFIG} cannot be read: {error}") from None
    for field in ("use_dora", "fan_in_fan_out", "alpha_pattern"):
        if getattr(config, field):
            raise BadFile(f"adapters with {field} cannot be converted")
    return config


def _key_values(config: _Config, halves: list[_Half], model: Header) -> dict[str, Writable]:
    ranks = {half.info.shape[0] for half in halves if half.info.name.endswith(".lora_b")}
    small = all(half.info.type is TensorType.F16 for half in halves)
    return {
        ARCHITECTURE: model.architecture,
        "general.type": "adapter",
        "general.file_type": 1 if small else 0,
        "adapter.type": "lora",
        "adapter.lora.alpha": Typed(ValueType.FLOAT32, _alpha(config, ranks)),
    }


def _alpha(config: _Config, ranks: set[int]) -> float:
    """What llama.cpp divides by the rank to get the scale. It takes 0 for a scale of 1, so 0 is refused."""
    own = config.lora_parameters or _Parameters()
    alpha = own.alpha if config.lora_alpha is None else config.lora_alpha
    factor = 1.0
    if alpha is None and own.scale is not None:
        alpha, factor = own.scale, _one(ranks)
    elif config.use_rslora:
        factor = math.sqrt(_one(ranks))
    if alpha is None:
        raise BadFile(f"{CONFIG} has no lora_alpha")
    if not _LEAST_ALPHA < abs(alpha * factor) < 1 / _LEAST_ALPHA:
        raise BadFile(f"an adapter with an alpha of {alpha * factor} cannot be converted")
    return alpha * factor


def _one(ranks: set[int]) -> float:
    if len(ranks) != 1:
        raise BadFile("an adapter with several ranks and a scale that depends on them cannot be converted")
    return float(next(iter(ranks)))


def _halves(sources: list[BinaryIO], model: Header) -> list[_Half]:
    halves: dict[str, _Half] = {}
    for number, source in enumerate(sources):
        for tensor in safetensors.read_tensors(source).values():
            half = _half(tensor, number, model)
            if half.info.name in halves:
                raise BadFile(f"duplicate tensor {quoted(half.info.name)} in the adapter")
            halves[half.info.name] = half
    return list(halves.values())


def _half(tensor: safetensors.Tensor, file: int, model: Header) -> _Half:
    name = _NAME.fullmatch(tensor.name)
    module = _MODULES.get(name["module"]) if name else None
    if name is None or module is None or (name["layer"] is None) != (module in ("token_embd", "output")):
        raise BadFile(f"the adapter's tensor {quoted(tensor.name)} has no place in a model of {model.architecture}")
    if tensor.type not in _TYPES or len(tensor.shape) != 2 or not 0 < min(tensor.shape) <= _MOST_RANK:
        raise BadFile(f"the adapter's tensor {quoted(tensor.name)} is no narrow matrix of F32, F16 or BF16")
    layer = int(name["layer"] or 0)
    of: Literal["a", "b"] = "a" if (name["peft"] or name["mlx"]).lower() == "a" else "b"
    kind, (rows, columns) = _TYPES[tensor.type], tensor.shape
    rearrange: _Rearrange | None = None
    # MLX has both halves the other way round, and of an embedding PEFT has the first.
    if name["mlx"] or (name["embedding"] and of == "a"):
        rearrange = _turning(rows, columns, kind)
        rows, columns = columns, rows
    heads = _heads(model, module, layer)
    if of == "b" and heads:
        rearrange = _after(rearrange, _pairing(rows, columns, kind, heads))
    stem = module if name["layer"] is None else f"blk.{layer}.{module}"
    info = TensorInfo(f"{stem}.weight.lora_{of}", kind, (columns, rows), 0)
    return _Half(info, tensor, file, rearrange)


def _heads(model: Header, module: str, layer: int) -> int:
    """How many heads the rows are of, where they must be paired; else 0."""
    if module not in ("attn_q", "attn_k") or not _INTERLEAVED[model.architecture]:
        return 0
    key = "attention.head_count" if module == "attn_q" else "attention.head_count_kv"
    counts = model.counts(key) or model.counts("attention.head_count")
    return counts[min(layer, len(counts) - 1)] if counts else 0


def _turning(rows: int, columns: int, kind: TensorType) -> _Rearrange:
    """Rows become columns."""

    def turn(content: bytes) -> bytes:
        before = array(_LETTERS[kind], content)
        after = array(_LETTERS[kind], bytes(len(content)))
        if columns < rows:
            for column in range(columns):
                after[column * rows : (column + 1) * rows] = before[column::columns]
        else:
            for row in range(rows):
                after[row::rows] = before[row * columns : (row + 1) * columns]
        return after.tobytes()

    return turn


def _pairing(rows: int, columns: int, kind: TensorType, heads: int) -> _Rearrange:
    """The rows of each head: first and second half by turns, where they were one after the other."""
    if rows % (2 * heads):
        raise BadFile(f"the adapter's {rows} rows are no whole pairs for {heads} heads")
    half = rows // heads // 2
    order = [
        head * 2 * half + pair + second * half for head in range(heads) for pair in range(half) for second in (0, 1)
    ]
    size = kind.size((columns,))

    def pair(content: bytes) -> bytes:
        return b"".join([content[row * size : (row + 1) * size] for row in order])

    return pair


def _after(first: _Rearrange | None, second: _Rearrange) -> _Rearrange:
    return second if first is None else lambda content: second(first(content))


def _tensor(half: _Half, file: BinaryIO) -> Tensor:
    return Tensor(half.info.name, half.info.type, half.info.shape, _data(half, file))


def _data(half: _Half, file: BinaryIO) -> Iterator[bytes]:
    content = _numbers(file, half.source)
    if half.rearrange is None:
        yield from content
    else:
        yield half.rearrange(b"".join(content))


def _numbers(file: BinaryIO, tensor: safetensors.Tensor) -> Iterator[bytes]:
    """The elements in pieces; a BF16 is the upper half of an F32."""
    file.seek(tensor.offset)
    left = tensor.size
    while left:
        piece = file.read(min(left, limits.MIB))
        if not piece:
            raise BadFile("unexpected end of file: the adapter's tensors are cut off")
        left -= len(piece)
        if tensor.type == "BF16":
            wide = bytearray(2 * len(piece))
            wide[2::4], wide[3::4] = piece[::2], piece[1::2]
            piece = bytes(wide)
        yield piece
