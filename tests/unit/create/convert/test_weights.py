import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.weights import read
from tests.conversions import Arrays, safetensors
from tests.folders import folder_of

ONE = np.ones(4, np.float32)


def _index(places: Mapping[str, str]) -> bytes:
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": places}).encode()


def _files(**weights: Arrays) -> dict[str, bytes]:
    return {f"{name}.safetensors": safetensors(arrays) for name, arrays in weights.items()}


def test_the_tensors_of_all_files_are_one_model(tmp_path: Path) -> None:
    files = _files(model_1={"a": ONE}, model_2={"b": ONE})
    index = {"model.safetensors.index.json": _index({"a": "model_1.safetensors", "b": "model_2.safetensors"})}
    with folder_of(tmp_path, files | index) as folder:
        found = read(folder)
        assert {name: stored.tensor.shape for name, stored in found.items()} == {"a": (4,), "b": (4,)}
        assert folder.notes == []


def test_files_of_another_name_are_taken_where_no_usual_ones_are(tmp_path: Path) -> None:
    with folder_of(tmp_path, _files(other={"a": ONE})) as folder:
        assert list(read(folder)) == ["a"]


def test_a_second_set_of_weights_is_left_out_and_told_of(tmp_path: Path) -> None:
    files = _files(model={"a": ONE}, consolidated={"b": ONE}) | {"more/model.safetensors": safetensors({"c": ONE})}
    with folder_of(tmp_path, files) as folder:
        assert list(read(folder)) == ["a"]
        assert folder.notes == ['"consolidated.safetensors" is not used: the weights are in "model.safetensors"']


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "unknown tensor format"),
        (_files(model={}), "unknown tensor format"),
        (_files(model_1={"a": ONE}, model_2={"a": ONE}), 'duplicate tensor name "a" was found for this model'),
        ({"model.safetensors": b"cos\nsystem\n(S'touch pwn'\ntR."}, "the safetensors header is cut off"),
        ({"model.safetensors": b"\x80\x02" + bytes(700)}, "the safetensors header cannot be read"),
    ],
)
def test_what_is_no_set_of_weights_is_refused(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with folder_of(tmp_path, files) as folder, pytest.raises(BadFile, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"a": "model-2.safetensors"}, '"model-2.safetensors", which is none of the model\'s files'),
        ({"a": "../../../../../etc/passwd"}, '"../../../../../etc/passwd", which is none'),
        ({"a": "/etc/shadow"}, '"/etc/shadow", which is none'),
        ({"a": "http://127.0.0.1:1/x"}, "which is none"),
        ({"a": "model.safetensors", "b": "model.safetensors"}, 'tensor "b" is not in "model.safetensors"'),
        ({"a": 5}, "model.safetensors.index.json cannot be read"),
        ([], "model.safetensors.index.json cannot be read"),
    ],
)
def test_an_index_may_only_name_what_is_there(tmp_path: Path, places: Any, message: str) -> None:
    files = _files(model={"a": ONE}) | {"model.safetensors.index.json": _index(places)}
    with folder_of(tmp_path, files) as folder, pytest.raises(BadFile, match=message):
        read(folder)
