import io
import struct
from collections.abc import Sequence

import pytest

from a3s_power.core.errors import BadFile
from a3s_power.gguf.layout import ValueType
from a3s_power.gguf.reader import read_header, read_pairs
from a3s_power.gguf.sanity import check_vocabulary
from tests.hostile import LLAMA, array, gguf, number, pair, string, text


def _clip(*pairs: bytes) -> Sequence[bytes]:
    return [string("general.architecture", "clip"), string("general.type", "mmproj"), *pairs]


def _float(key: str, value: float) -> bytes:
    return pair(key, ValueType.FLOAT32, struct.pack("<f", value))


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([LLAMA, number("llama.context_length", 2**31)], "llama.context_length is 2147483648: it must be between"),
        ([LLAMA, number("llama.block_count", 513)], "llama.block_count is 513: it must be between 1 and 512"),
        ([LLAMA, number("llama.pooling_type", 5)], "llama.pooling_type is 5: it must be between 0 and 4"),
        ([LLAMA, number("llama.expert_count", 1025)], "llama.expert_count is 1025"),
        ([LLAMA, number("llama.expert_count", 8)], "llama.expert_used_count is 0: there are 8 experts"),
        ([LLAMA, number("llama.expert_used_count", 2)], "llama.expert_used_count is 2: there are 0 experts"),
        (
            [LLAMA, number("llama.block_count", 2), number("llama.nextn_predict_layers", 3)],
            "llama.nextn_predict_layers is 3: there are 2 layers",
        ),
        (
            [LLAMA, array("llama.attention.head_count", ValueType.INT32, 2, bytes(8))],
            "llama.attention.head_count is 0: it must be positive",
        ),
        ([LLAMA, _float("llama.attention.layer_norm_rms_epsilon", -1.0)], '_rms_epsilon" is -1.0: it must not be neg'),
        ([LLAMA, _float("llama.attention.layer_norm_epsilon", float("nan"))], "is nan: it must not be negative"),
        (_clip(number("clip.vision.image_size", 0)), "clip.vision.image_size is 0"),
        (_clip(number("clip.vision.image_size", 2**31 - 1)), "clip.vision.image_size is 2147483647"),
        (
            _clip(number("clip.vision.image_size", 3), number("clip.vision.patch_size", 16)),
            "clip.vision.patch_size is 16: images have 3 pixels",
        ),
        (
            _clip(number("clip.vision.embedding_length", 64), number("clip.vision.attention.head_count", 3)),
            "clip.vision.attention.head_count is 3: it must divide 64",
        ),
        (_clip(number("clip.vision.attention.head_count", 0)), "clip.vision.attention.head_count is 0"),
    ],
)
def test_a_value_that_brings_an_engine_down_is_refused(pairs: Sequence[bytes], reason: str) -> None:
    with pytest.raises(BadFile) as caught:
        read_header(io.BytesIO(gguf(pairs)))
    assert reason in caught.value.message


@pytest.mark.parametrize(
    "pairs",
    [
        [LLAMA],
        [LLAMA, number("llama.block_count", 512), number("llama.context_length", 2**31 - 1)],
        [LLAMA, number("llama.expert_count", 0), number("llama.expert_used_count", 0)],
        [LLAMA, number("llama.expert_count", 8), number("llama.expert_used_count", 2)],
        [LLAMA, array("llama.attention.head_count", ValueType.INT32, 2, struct.pack("<2i", 0, 4))],
        [
            string("general.architecture", "mamba"),
            number("mamba.attention.head_count", 0),
            number("mamba.ssm.state_size", 16),
        ],
        [
            string("general.architecture", "rwkv7"),
            number("rwkv7.attention.head_count", 0),
            number("rwkv7.wkv.head_size", 64),
        ],
        [string("general.architecture", "nomic-bert-moe")],
        [LLAMA, string("llama.block_count", "many")],
    ],
)
def test_what_an_engine_can_judge_by_itself_passes(pairs: Sequence[bytes]) -> None:
    read_header(io.BytesIO(gguf(pairs)))


def test_a_further_part_of_a_split_file_has_no_architecture() -> None:
    part = pair("split.no", ValueType.UINT16, struct.pack("<H", 1))
    assert read_header(io.BytesIO(gguf([part]))).architecture == ""


def _vocabulary(*tokens: str | bytes) -> bytes:
    return array("tokenizer.ggml.tokens", ValueType.STRING, len(tokens), b"".join(map(text, tokens)))


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [(["a", "b", "a"], '"a"'), ([b"\xff", "x", b"\xff"], '"\ufffd"'), (["\x1b[2J"] * 2, "\ufffd[2J")],
)
def test_a_token_that_is_there_twice_is_refused(tokens: list[str | bytes], shown: str) -> None:
    pairs = read_pairs(io.BytesIO(gguf([LLAMA, _vocabulary(*tokens)])))
    with pytest.raises(BadFile, match=r"twice: llama\.cpp cannot load such a model") as caught:
        check_vocabulary(pairs)
    assert shown in caught.value.message


@pytest.mark.parametrize(
    "pairs",
    [
        [LLAMA],
        [LLAMA, _vocabulary()],
        [LLAMA, _vocabulary("a", "A", b"\xff", b"\xfe", "", "")],
        [LLAMA, number("tokenizer.ggml.tokens", 7)],
        [LLAMA, array("tokenizer.ggml.tokens", ValueType.INT32, 2, bytes(8))],
    ],
)
def test_tokens_that_differ_pass(pairs: Sequence[bytes]) -> None:
    check_vocabulary(read_pairs(io.BytesIO(gguf(pairs))))
