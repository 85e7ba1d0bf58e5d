import io
import struct
from pathlib import Path

import pytest

from a3s_power.core import limits
from a3s_power.core.errors import BadFile
from a3s_power.gguf.layout import ARCHITECTURE, Skipped, TensorInfo, TensorType, ValueType
from a3s_power.gguf.reader import is_gguf, read_header, shortest
from tests.hostile import LLAMA, array, gguf, number, pair, string, tensor, text
from tests.models import VOCABULARY, llama_shapes, tiny_llama
from tests.shared import BUILTIN_MODEL, shared_file


def test_a_tiny_model_is_read_whole(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "tiny.gguf")
    header = read_header(tmp_path / "tiny.gguf")
    assert header.version == 3
    assert header.size == (tmp_path / "tiny.gguf").stat().st_size
    assert {one.name: one.shape for one in header.tensors} == llama_shapes()
    assert header.data_offset % 32 == 0
    assert header.tensors[0] == TensorInfo("token_embd.weight", TensorType.F16, (64, len(VOCABULARY)), 0)
    assert header.key_values["llama.attention.layer_norm_rms_epsilon"] == 1e-5
    assert header.key_values["tokenizer.ggml.tokens"] == Skipped(ValueType.STRING, len(VOCABULARY))


def test_arrays_come_when_they_are_asked_for(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "tiny.gguf")
    header = read_header(tmp_path / "tiny.gguf", arrays=True)
    assert header.key_values["tokenizer.ggml.tokens"] == VOCABULARY


@pytest.mark.parametrize("version", [2, 3])
def test_both_versions_are_read(version: int) -> None:
    assert read_header(io.BytesIO(gguf([LLAMA], version=version))).version == version


@pytest.mark.parametrize(
    ("kind", "content", "value"),
    [
        (ValueType.UINT8, b"\xff", 255),
        (ValueType.INT8, b"\xff", -1),
        (ValueType.UINT16, b"\x01\x02", 513),
        (ValueType.INT16, b"\xfe\xff", -2),
        (ValueType.UINT32, b"\xff" * 4, 2**32 - 1),
        (ValueType.INT32, b"\xff" * 4, -1),
        (ValueType.FLOAT32, struct.pack("<f", 0.1), 0.1),
        (ValueType.BOOL, b"\x01", True),
        (ValueType.BOOL, b"\x00", False),
        (ValueType.STRING, text("früh"), "früh"),
        (ValueType.STRING, text(b"a\xffb"), "a\ufffdb"),
        (ValueType.UINT64, b"\xff" * 8, 2**64 - 1),
        (ValueType.INT64, b"\xff" * 8, -1),
        (ValueType.FLOAT64, struct.pack("<d", 0.1), 0.1),
    ],
)
def test_every_type_of_value_is_read(kind: ValueType, content: bytes, value: object) -> None:
    header = read_header(io.BytesIO(gguf([LLAMA, pair("x", kind, content)])))
    assert header.key_values["x"] == value
    assert type(header.key_values["x"]) is type(value)


def test_short_arrays_of_numbers_always_come() -> None:
    pairs = [LLAMA, array("x", ValueType.INT16, 3, struct.pack("<3h", 1, -2, 3)), array("empty", ValueType.STRING, 0)]
    header = read_header(io.BytesIO(gguf(pairs)))
    assert header.key_values["x"] == (1, -2, 3)
    assert header.key_values["empty"] == ()


def test_long_arrays_of_numbers_come_when_asked_for() -> None:
    content = gguf([LLAMA, array("x", ValueType.UINT8, 10_000, bytes(10_000)), number("after", 7)])
    assert read_header(io.BytesIO(content)).key_values["x"] == Skipped(ValueType.UINT8, 10_000)
    assert read_header(io.BytesIO(content)).key_values["after"] == 7
    assert read_header(io.BytesIO(content), arrays=True).key_values["x"] == (0,) * 10_000


def test_beyond_a_number_of_items_arrays_are_only_counted() -> None:
    most = limits.GGUF_ARRAY_ITEMS_READ
    arrays = [array(name, ValueType.BOOL, count, bytes(count)) for name, count in (("x", most), ("y", 1))]
    header = read_header(io.BytesIO(gguf([LLAMA, *arrays, number("after", 7)])), arrays=True)
    assert header.key_values["x"] == (False,) * most
    assert header.key_values["y"] == Skipped(ValueType.BOOL, 1)
    assert header.key_values["after"] == 7


def test_strings_are_passed_over_wherever_the_window_ends() -> None:
    """Lengths and contents lie across the ends of the megabytes that are read at a time."""
    items = [b"x" * length for length in range(0, 4000, 3)] * 2
    assert sum(map(len, items)) > 4 * limits.MIB
    content = gguf(
        [LLAMA, array("x", ValueType.STRING, len(items), b"".join(map(text, items))), string("after", "here")]
    )
    header = read_header(io.BytesIO(content))
    assert header.key_values["x"] == Skipped(ValueType.STRING, len(items))
    assert header.key_values["after"] == "here"
    assert read_header(io.BytesIO(content), arrays=True).key_values["x"] == tuple(item.decode() for item in items)


def test_a_string_longer_than_a_window_is_passed_over() -> None:
    items = [b"a" * (3 * limits.MIB), b"b", b"c" * limits.MIB]
    content = gguf([LLAMA, array("x", ValueType.STRING, 3, b"".join(map(text, items))), number("after", 1)])
    assert read_header(io.BytesIO(content)).key_values["after"] == 1


def test_an_array_of_strings_may_not_reach_beyond_the_file() -> None:
    content = gguf([LLAMA, array("x", ValueType.STRING, 2, text("a") + struct.pack("<Q", 5000))])
    with pytest.raises(BadFile, match="cut off"):
        read_header(io.BytesIO(content))


def test_a_string_in_an_array_has_its_limit() -> None:
    content = gguf([LLAMA, array("x", ValueType.STRING, 2, text("a") + struct.pack("<Q", 2**63))])
    with pytest.raises(BadFile, match="GGUF string length 9223372036854775808 exceeds maximum 16777216"):
        read_header(io.BytesIO(content))


def test_metadata_as_a_whole_has_its_limit() -> None:
    count = limits.GGUF_METADATA_BYTES // 2
    pairs = [array(name, ValueType.UINT8, count, bytes(count)) for name in ("x", "y")]
    with pytest.raises(BadFile, match="GGUF metadata exceeds maximum"):
        read_header(io.BytesIO(gguf([LLAMA, *pairs, number("after", 1)])))


def test_tensors_are_placed_by_the_alignment_of_the_file() -> None:
    pairs = [LLAMA, number("general.alignment", 4096)]
    content = gguf(pairs, [tensor("a", [8]), tensor("b", [8, 2], offset=4096)])
    header = read_header(io.BytesIO(content + bytes(4096 - len(content)) + bytes(4096 + 64)))
    assert header.data_offset == 4096
    assert [one.size for one in header.tensors] == [32, 64]


def test_a_file_without_tensors_need_not_be_padded() -> None:
    content = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string(ARCHITECTURE, "test")
    assert len(content) == 68
    assert read_header(io.BytesIO(content)).tensors == ()


def test_a_tensor_without_dimensions_is_one_number() -> None:
    header = read_header(io.BytesIO(gguf([LLAMA], [tensor("t", [])], data=32)))
    assert (header.tensors[0].elements, header.tensors[0].size) == (1, 4)


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none")


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.gguf"
    count = 3 * limits.MIB
    path.write_bytes(gguf([LLAMA, array("x", ValueType.UINT8, count, bytes(count)), number("after", 1)]))

    class Shrinking(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            path.write_bytes(path.read_bytes()[: limits.MIB])
            return content or b""

    with Shrinking(path) as file, pytest.raises(BadFile, match="cut off"):
        read_header(file)


def test_the_magic_says_what_is_a_gguf() -> None:
    assert is_gguf(io.BytesIO(gguf()))
    assert not is_gguf(io.BytesIO(b"PK\x03\x04"))
    assert not is_gguf(io.BytesIO(b""))


def test_a_message_shows_a_files_text_harmless_and_short() -> None:
    with pytest.raises(BadFile) as caught:
        read_header(io.BytesIO(gguf([LLAMA, *[string("\x1b[31m" + "k" * 500, "v")] * 2])))
    assert caught.value.message == f'duplicate key "\ufffd[31m{"k" * 59}"'


@pytest.mark.parametrize(
    "value", [0.1, 1e-5, 1e-6, 0.7, -9.7045e-07, 500000.0, 3.4028235e38, 1.5e-30, 16777217.0, 0.33333334]
)
def test_a_32_bit_float_is_shown_with_the_fewest_digits(value: float) -> None:
    (single,) = struct.unpack("<f", struct.pack("<f", value))
    assert struct.pack("<f", shortest(single)) == struct.pack("<f", single)
    assert len(repr(shortest(single))) <= len(repr(value))


@pytest.mark.parametrize(("name", "tokens"), [("qwen2", 151_936), ("llama-bpe", 128_256), ("bert-bge", 30_522)])
def test_big_vocabularies_are_counted(name: str, tokens: int) -> None:
    header = read_header(shared_file(f"models/vocabs/ggml-vocab-{name}.gguf"))
    assert header.key_values["tokenizer.ggml.tokens"] == Skipped(ValueType.STRING, tokens)


def test_the_tokens_of_a_big_vocabulary_are_read() -> None:
    header = read_header(shared_file("models/vocabs/ggml-vocab-qwen2.gguf"), arrays=True)
    tokens = header.key_values["tokenizer.ggml.tokens"]
    assert isinstance(tokens, tuple)
    assert (len(tokens), tokens[0], tokens[151_643]) == (151_936, "!", "<|endoftext|>")


def test_the_built_in_model_is_read() -> None:
    header = read_header(BUILTIN_MODEL)
    assert (header.architecture, len(header.tensors)) == ("llama", 38)
