"""Slices of models: a few layers, of all parts, as a model that stands on its own."""

from pathlib import Path

import pytest

from a3s_power.core.errors import BadFile
from a3s_power.gguf.layout import TensorType, Value
from a3s_power.gguf.reader import read_header
from a3s_power.gguf.slices import write_slice
from a3s_power.gguf.writer import Tensor, Writable, write

LAYERS = 8
ROW = 64


def a_model(path: Path, *, wider: int | None = None, **key_values: Writable) -> Path:
    """Eight layers of two tensors whose bytes say which layer it is; of the `wider` one the matrix has more rows."""
    tensors = [tensor("token_embd.weight", 100), tensor("output.weight", 101)]
    for layer in range(LAYERS):
        rows = 5 if layer == wider else 4
        tensors += [
            tensor(f"blk.{layer}.ffn_up.weight", layer, rows),
            tensor(f"blk.{layer}.attn_norm.weight", layer, 1),
        ]
    values: dict[str, Writable] = {
        "general.architecture": "llama",
        "llama.block_count": LAYERS,
        "general.name": "whole",
    }
    write(path, values | {f"llama.{key}": value for key, value in key_values.items()}, tensors)
    return path


def tensor(name: str, content: int, rows: int = 4) -> Tensor:
    return Tensor(name, TensorType.I8, (ROW, rows), [bytes([content]) * ROW * rows])


def contents(path: Path) -> dict[str, int]:
    """The first byte of each tensor."""
    header, data = read_header(path), path.read_bytes()
    return {tensor.name: data[header.data_offset + tensor.offset] for tensor in header.tensors}


@pytest.mark.parametrize(
    ("size", "kept"), [(1, [4]), (5 * ROW * 2, [2, 6]), (5 * ROW * 4, [1, 3, 5, 7]), (10**9, [*range(LAYERS)])]
)
def test_layers_come_from_all_parts_of_the_model(size: int, kept: list[int], tmp_path: Path) -> None:
    whole, target = a_model(tmp_path / "whole.gguf"), tmp_path / "slice.gguf"
    part = write_slice(str(whole), target, size)
    found = contents(target)
    assert [found[f"blk.{number}.ffn_up.weight"] for number in range(len(kept))] == kept
    assert [found[f"blk.{number}.attn_norm.weight"] for number in range(len(kept))] == kept
    assert (found["token_embd.weight"], found["output.weight"]) == (100, 101)
    assert len(found) == 2 + 2 * len(kept)
    assert part.share == len(kept) / LAYERS
    # The table that texts are looked up in is hardly read.
    assert part.layers == pytest.approx(5 * len(kept) / (5 * len(kept) + 4))


def test_key_values_are_those_of_the_model_with_fewer_layers(tmp_path: Path) -> None:
    whole = a_model(tmp_path / "whole.gguf", head_count_kv=(4,) * LAYERS, window=(True,) * LAYERS, short=(1, 2))
    write_slice(str(whole), tmp_path / "slice.gguf", 5 * ROW * 2)
    expected: dict[str, Value] = {
        "general.architecture": "llama",
        "general.name": "whole",
        "llama.block_count": 2,
        "llama.head_count_kv": (4, 4),
        "llama.window": (True, True),
        "llama.short": (1, 2),
    }
    assert read_header(tmp_path / "slice.gguf").key_values == expected


@pytest.mark.parametrize("different", ["shape", "number", "count"])
def test_layers_that_are_not_alike_cannot_be_cut_out(different: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole.gguf"
    match different:
        case "shape":
            a_model(whole, wider=3)
        case "number":
            a_model(whole, head_count_kv=(4, 4, 4, 2, 4, 4, 4, 4))
        case "count":
            a_model(whole, block_count=LAYERS + 1)
    with pytest.raises(BadFile, match="layers are not all alike"):
        write_slice(str(whole), tmp_path / "slice.gguf", 1)
    assert not (tmp_path / "slice.gguf").exists()
