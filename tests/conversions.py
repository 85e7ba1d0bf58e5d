"""Small models in the form of Transformers, made on the spot: recorded shapes, the same numbers everywhere.

What Transformers answers with them is recorded beside the shapes, by `tools/conversions.py`.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from a3s_power.create.convert.vocabulary import BLANK, Kind
from a3s_power.gguf.layout import Header

RECORDED: Final = Path(__file__).parent / "integration/conversions"
TOKENIZERS: Final = RECORDED / "tokenizers"

Dtype = Literal["F32", "F16", "BF16"]
Arrays = dict[str, NDArray[np.float32]]

_GRID: Final = 128


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A model, a text, and what Transformers makes of it.

    `tokenizer` is a folder of `TOKENIZERS`; `changes` is what is other in its files of JSON, and `without` which it has
    not. `logprobs` are those of all tokens for the one that follows the text; of a model that makes vectors, `vector`
    is the text's.
    """

    config: dict[str, Any]
    tokenizer: str
    changes: dict[str, dict[str, Any]] = {}
    without: list[str] = []
    dtype: Dtype = "F32"
    shards: int = 1
    text: str
    shapes: dict[str, list[int]]
    seed: int = 0
    tokens: list[int] = []
    logprobs: list[float] = []
    vector: list[float] = []
    context: int = 512
    """What the model is loaded with: some choose their factors by it."""


def recorded(name: str) -> Recorded:
    """What is recorded under a name."""
    return msgspec.json.decode((RECORDED / f"{name}.json").read_bytes(), type=Recorded)


def names() -> list[str]:
    """All that is recorded."""
    return sorted(path.stem for path in RECORDED.glob("*.json"))


def arrays(shapes: Mapping[str, list[int]], seed: int = 0) -> Arrays:
    """The weights of these shapes: no chance but that of the names, and no number that 16 bits cannot hold."""
    return {name: _array(name, shape, seed) for name, shape in shapes.items()}


def _array(name: str, shape: list[int], seed: int) -> NDArray[np.float32]:
    dice = np.random.RandomState(zlib.crc32(name.encode(), seed))
    grid = dice.randint(-_GRID, _GRID + 1, shape).astype(np.float32) / _GRID
    if "norm" in name.lower():
        numbers = grid * 0.3 + (0.0 if name.endswith("bias") else 1.0)
    elif len(shape) == 1:
        numbers = grid * 0.5
    else:
        numbers = grid * (1.0 if "embed" in name else 2.5 / np.sqrt(shape[-1]))
    # Cut to what a BF16 holds; none is so small that an F16 does not hold it, too.
    bits = numbers.astype(np.float32).view(np.uint32) & 0xFFFF0000
    return bits.view(np.float32)


def write_folder(folder: Path, model: Recorded) -> Path:
    """The model as it would be downloaded."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in (TOKENIZERS / model.tokenizer).iterdir():
        if source.name not in model.without:
            (folder / source.name).write_bytes(source.read_bytes())
    for name, change in {**model.changes, "config.json": model.config}.items():
        path = folder / name
        path.write_text(json.dumps(_changed(json.loads(path.read_text()) if path.exists() else {}, change)))
    write_weights(folder, arrays(model.shapes, model.seed), model.dtype, model.shards)
    return folder


def _changed(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _changed(old.get(key), value) for key, value in new.items()}}
    return new


def write_weights(folder: Path, weights: Arrays, dtype: Dtype = "F32", shards: int = 1) -> None:
    """The weights in one safetensors file, or in several with their index."""
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors(weights, dtype))
        return
    index: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        own = {key: array for number, (key, array) in enumerate(weights.items()) if number % shards == shard}
        (folder / name).write_bytes(safetensors(own, dtype))
        index |= dict.fromkeys(own, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def safetensors(weights: Arrays, dtype: Dtype = "F32") -> bytes:
    """A safetensors file."""
    header, data = {}, b""
    for name, array in weights.items():
        content = _bytes(array, dtype)
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    described = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return len(described).to_bytes(8, "little") + described + data


def _bytes(array: NDArray[np.float32], dtype: Dtype) -> bytes:
    match dtype:
        case "F32":
            return array.astype("<f4").tobytes()
        case "F16":
            return array.astype("<f2").tobytes()
        case "BF16":
            return (array.view(np.uint32) >> 16).astype("<u2").tobytes()


def files_of(folder: Path) -> dict[str, Path]:
    """The files of a folder, under the names that an upload gives them."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def pieces_of(header: Header) -> list[bytes | None]:
    """The bytes that each token of a GGUF stands for in a text; `None` for one that is no ordinary one."""
    texts, kinds = header.key_values["tokenizer.ggml.tokens"], header.key_values["tokenizer.ggml.token_type"]
    assert isinstance(texts, tuple)
    assert isinstance(kinds, tuple)
    byte_level = header.key_values["tokenizer.ggml.model"] == "gpt2"
    return [_piece(str(text), kind, byte_level) for text, kind in zip(texts, kinds, strict=True)]


def _piece(text: str, kind: object, byte_level: bool) -> bytes | None:
    if kind == Kind.BYTE:
        return bytes([int(text[1:-1], 16)])
    if kind != Kind.NORMAL:
        return None
    return bytes(_ALPHABET[sign] for sign in text) if byte_level else text.replace(BLANK, " ").encode()


_PLAIN: Final = (*range(33, 127), *range(161, 173), *range(174, 256))
_ALPHABET: Final = {chr(byte): byte for byte in _PLAIN} | {
    chr(256 + number): byte for number, byte in enumerate(sorted(set(range(256)).difference(_PLAIN)))
}
"""How byte-level tokenizers write bytes as signs."""
