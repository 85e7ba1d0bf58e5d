"""The bytes of tokens: as the texts that recorded ids came from, halves of characters included."""

from typing import Any

import pytest

from a3s_power.gguf.layout import Header
from a3s_power.gguf.reader import read_header
from a3s_power.gguf.vocabulary import Vocabulary
from tests.shared import BUILTIN_MODEL, shared_file


def _vocabulary(model: str, tokens: dict[str, int]) -> Vocabulary:
    values: dict[str, Any] = {
        "tokenizer.ggml.model": model,
        "tokenizer.ggml.tokens": tuple(tokens),
        "tokenizer.ggml.token_type": tuple(tokens.values()),
    }
    found = Vocabulary.of(Header(version=3, key_values=values, tensors=(), data_offset=0, size=0))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "text", "kind", "piece"),
    [
        ("gpt2", "Ġhello", 1, b" hello"),
        ("gpt2", "Ċ", 1, b"\n"),
        ("gpt2", "Ã", 1, b"\xc3"),
        ("gpt2", "你", 1, "你".encode()),
        ("gpt2", "Ġ<tag>", 4, "Ġ<tag>".encode()),
        ("gpt2", "<|im_end|>", 3, b""),
        ("llama", "\u2581hello", 1, b" hello"),
        ("llama", "<0xC3>", 6, b"\xc3"),
        ("llama", "<unk>", 2, b""),
        ("llama", "é", 1, b"\xc3\xa9"),
    ],
)
def test_a_token_is_its_bytes(model: str, text: str, kind: int, piece: bytes) -> None:
    assert _vocabulary(model, {text: kind}).piece(0) == piece


def test_a_control_token_can_be_made_visible() -> None:
    vocabulary = _vocabulary("gpt2", {"<think>": 3, "<|end|>": 3})
    assert [vocabulary.piece(token, ("<think>",)) for token in (0, 1)] == [b"<think>", b""]


def test_a_token_that_there_is_not_is_an_error() -> None:
    with pytest.raises(IndexError):
        _vocabulary("gpt2", {"a": 1}).piece(1)


def test_a_vocabulary_of_another_kind_is_none() -> None:
    assert Vocabulary.of(read_header(BUILTIN_MODEL)) is None  # its arrays were not read
    assert Vocabulary.of(read_header(shared_file("models/vocabs/ggml-vocab-bert-bge.gguf"), arrays=True)) is None


@pytest.mark.parametrize("name", ["gpt-2", "qwen2", "llama-bpe", "phi-3"])
def test_recorded_ids_are_their_texts_again(name: str) -> None:
    path = shared_file(f"models/vocabs/ggml-vocab-{name}.gguf")
    found = Vocabulary.of(read_header(path, arrays=True))
    assert found is not None
    texts = path.with_name(path.name + ".inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    ids = path.with_name(path.name + ".out").read_text().splitlines()
    spelled = [b"".join(found.piece(int(token)) for token in line.split()).decode() for line in ids]
    # Vocabularies of this kind put a blank before a text.
    if name == "phi-3":
        spelled = [text.removeprefix(" ") for text in spelled]
    assert spelled == texts[: len(spelled)]
