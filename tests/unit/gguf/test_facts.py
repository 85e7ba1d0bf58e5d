import io
import struct
from collections.abc import Sequence

import pytest

from a3s_power.core.model import Facts
from a3s_power.gguf.facts import facts, kind_of, model_info, projector_info, tensor_list
from a3s_power.gguf.layout import Header, ValueType
from a3s_power.gguf.reader import read_header
from tests.hostile import LLAMA, array, gguf, number, pair, string, tensor
from tests.shared import BUILTIN_MODEL, shared_file


def _header(*pairs: bytes, tensors: Sequence[bytes] = (), data: int = 0) -> Header:
    return read_header(io.BytesIO(gguf(pairs, tensors, data=data)))


def _yes(key: str) -> bytes:
    return pair(key, ValueType.BOOL, b"\x01")


def _no(key: str) -> bytes:
    return pair(key, ValueType.BOOL, b"\x00")


def test_the_built_in_model_says_all_of_itself() -> None:
    found = facts(read_header(BUILTIN_MODEL))
    assert found.chat_template.startswith("{#- power-tiny chat template")
    assert found == Facts(
        architecture="llama",
        parameters=2_754_816,
        file_type="Q8_0",
        context_length=2048,
        embedding_length=256,
        block_count=4,
        feed_forward=512,
        heads=4,
        kv_heads=(2, 2, 2, 2),
        head_k=64,
        head_v=64,
        vocabulary=1536,
        weights_bytes=2_933_760,
        merges=1258,
        chat_template=found.chat_template,
    )


def test_a_file_that_says_nothing_has_plain_facts() -> None:
    assert facts(_header(LLAMA)) == Facts(architecture="llama")


@pytest.mark.parametrize(
    ("path", "architecture", "parameters", "file_type", "kind"),
    [
        ("power-tiny/power-tiny-F16.gguf", "llama", 2_754_816, "F16", "model"),
        ("power-tiny/power-tiny-Q4_0.gguf", "llama", 2_754_816, "Q4_0", "model"),
        ("power-tiny/power-tiny-mmproj.gguf", "clip", 233_216, "unknown", "projector"),
        ("power-tiny/power-tiny-lora-arr.gguf", "llama", 34_816, "unknown", "adapter"),
        ("stories260K/stories260K-F32.gguf", "llama", 260_032, "unknown", "model"),
        ("minilm/all-MiniLM-L6-v2-Q8_0.gguf", "bert", 22_565_376, "Q8_0", "model"),
    ],
)
def test_the_shared_models_are_what_they_are(
    path: str, architecture: str, parameters: int, file_type: str, kind: str
) -> None:
    header = read_header(shared_file(f"models/{path}"))
    found = facts(header)
    assert (found.architecture, found.parameters, found.file_type) == (architecture, parameters, file_type)
    assert kind_of(header) == kind


def test_an_embedding_model_pools_and_does_not_go_on_with_a_text() -> None:
    found = facts(read_header(shared_file("models/minilm/all-MiniLM-L6-v2-F16.gguf")))
    assert (found.pooling, found.causal, found.embedding_length) == (1, False, 384)


@pytest.mark.parametrize(
    ("number_", "name"),
    [
        (0, "unknown"),
        (1, "F16"),
        (4, "unknown"),
        (7, "Q8_0"),
        (15, "Q4_K_M"),
        (32, "BF16"),
        (40, "Q1_0"),
        (1024, "unknown"),
    ],
)
def test_file_types_have_ollamas_names(number_: int, name: str) -> None:
    assert facts(_header(LLAMA, number("general.file_type", number_))).file_type == name


@pytest.mark.parametrize(
    ("pairs", "kv_heads"),
    [
        ([number("llama.attention.head_count", 8)], (8, 8, 8)),
        ([number("llama.attention.head_count", 8), number("llama.attention.head_count_kv", 2)], (2, 2, 2)),
        (
            [
                number("llama.attention.head_count", 8),
                array("llama.attention.head_count_kv", ValueType.UINT32, 3, struct.pack("<3I", 0, 4, 0)),
            ],
            (0, 4, 0),
        ),
        ([array("llama.attention.head_count", ValueType.INT32, 3, struct.pack("<3i", 4, 0, 8))], (4, 0, 8)),
        ([], ()),
    ],
)
def test_every_layer_has_its_key_value_heads(pairs: Sequence[bytes], kv_heads: tuple[int, ...]) -> None:
    assert facts(_header(LLAMA, number("llama.block_count", 3), *pairs)).kv_heads == kv_heads


def test_head_lengths_are_said_or_follow_from_the_width() -> None:
    width = [number("llama.embedding_length", 512), number("llama.attention.head_count", 8)]
    assert (facts(_header(LLAMA, *width)).head_k, facts(_header(LLAMA, *width)).head_v) == (64, 64)
    said = [number("llama.attention.key_length", 192), number("llama.attention.value_length", 128)]
    assert (facts(_header(LLAMA, *width, *said)).head_k, facts(_header(LLAMA, *width, *said)).head_v) == (192, 128)


def test_a_model_that_looks_ahead_is_not_causal() -> None:
    assert facts(_header(LLAMA)).causal
    assert not facts(_header(LLAMA, _no("llama.attention.causal"))).causal
    assert not facts(_header(string("general.architecture", "nomic-bert"))).causal


def test_weights_are_counted_in_elements_and_bytes() -> None:
    header = _header(LLAMA, tensors=[tensor("a", [32, 2], kind=8), tensor("b", [3], offset=96)], data=128)
    assert (facts(header).parameters, facts(header).weights_bytes) == (67, 2 * 34 + 12)
    assert tensor_list(header) == (("a", "Q8_0", (32, 2)), ("b", "F32", (3,)))


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        ([LLAMA], "model"),
        ([LLAMA, string("general.type", "adapter")], "adapter"),
        ([LLAMA, string("general.type", "projector")], "projector"),
        ([LLAMA, string("general.type", "mmproj")], "projector"),
        ([LLAMA, number("llama.vision.block_count", 2)], "projector"),
        ([LLAMA, number("llama.vision.block_count", 2), number("llama.block_count", 2)], "model"),
        ([LLAMA, number("llama.vision.block_count", 0)], "model"),
        ([string("general.architecture", "clip"), _yes("clip.has_vision_encoder")], "projector"),
        ([string("general.architecture", "clip"), _yes("clip.has_audio_encoder")], "projector"),
        ([string("general.architecture", "clip"), _no("clip.has_vision_encoder")], "model"),
        (
            [string("general.architecture", "clip"), _yes("clip.has_vision_encoder"), number("clip.block_count", 2)],
            "model",
        ),
    ],
)
def test_the_kind_of_a_file_follows_from_its_keys(pairs: Sequence[bytes], kind: str) -> None:
    assert kind_of(_header(*pairs)) == kind


_CLIP = string("general.architecture", "clip")
_MMPROJ = string("general.type", "mmproj")


@pytest.mark.parametrize(
    ("pairs", "vision", "audio"),
    [
        ([LLAMA], False, False),
        ([LLAMA, number("llama.block_count", 1), number("llama.vision.block_count", 4)], True, False),
        ([LLAMA, number("llama.block_count", 1), number("llama.audio.block_count", 4)], False, True),
        ([_CLIP, _MMPROJ, _yes("clip.has_vision_encoder")], True, False),
        ([_CLIP, _MMPROJ, _yes("clip.has_audio_encoder")], False, True),
        ([_CLIP, _MMPROJ, _yes("clip.has_audio_encoder"), number("clip.vision.block_count", 2)], True, True),
        (
            [_CLIP, _MMPROJ, _yes("clip.has_audio_encoder"), string("clip.vision.projector_type", "gemma3nv")],
            False,
            False,
        ),
    ],
)
def test_a_model_sees_and_hears_what_its_keys_say(pairs: Sequence[bytes], vision: bool, audio: bool) -> None:
    found = facts(_header(*pairs))
    assert (found.vision, found.audio) == (vision, audio)


def _described() -> list[bytes]:
    return [
        string("tokenizer.chat_template", "{{ x }}"),
        LLAMA,
        string("general.name", "n"),
        array("llama.pattern", ValueType.BOOL, 2, b"\x00\x01"),
        array("llama.nothing", ValueType.STRING, 0),
        array("tokenizer.ggml.tokens", ValueType.STRING, 1, struct.pack("<Q", 1) + b"a"),
    ]


def test_model_info_has_arrays_only_when_verbose() -> None:
    content = gguf(_described())
    short = model_info(read_header(io.BytesIO(content)))
    long = model_info(read_header(io.BytesIO(content), arrays=True), verbose=True)
    assert short == {
        "general.architecture": "llama",
        "general.parameter_count": 0,
        "llama.nothing": (),
        "llama.pattern": None,
        "tokenizer.ggml.tokens": None,
    }
    assert list(short) == sorted(short)
    assert long == short | {"llama.pattern": (False, True), "tokenizer.ggml.tokens": ("a",)}


def test_projector_info_leaves_nothing_out() -> None:
    assert set(projector_info(_header(*_described()))) >= {"general.name", "tokenizer.chat_template"}
