from typing import Any

import msgspec
import pytest

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.splitting import way
from a3s_power.create.convert.tokenizer_json import Part, TokenizerJson

ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{REST}"
QWEN2 = rf"{ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{REST}"
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT_4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT_2 = BYTES | {"use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


def _split(expression: str, behavior: str = "Isolated", *, invert: bool = False) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": behavior, "invert": invert}


def _tokenizer(*steps: dict[str, Any], whole_words: bool = False) -> TokenizerJson:
    part = steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": list(steps)}
    said = {"model": {"type": "BPE", "ignore_merges": whole_words}, "pre_tokenizer": part if steps else None}
    return msgspec.convert(said, TokenizerJson)


@pytest.mark.parametrize(
    ("steps", "whole_words", "name"),
    [
        ([_split(LLAMA3), BYTES], True, "llama-bpe"),
        ([_split(LLAMA3, "Removed", invert=True), BYTES], True, "llama-bpe"),
        ([_split(LLAMA3, "Removed", invert=True), BYTES], False, "dbrx"),
        ([_split(QWEN2), BYTES], False, "qwen2"),
        ([_split(TEKKEN), BYTES], True, "tekken"),
        ([_split(GPT_4O), BYTES], False, "gpt-4o"),
        ([GPT_2], False, "gpt-2"),
        ([DIGITS, GPT_2], False, "smollm"),
    ],
)
def test_a_known_way_has_a_name(steps: list[dict[str, Any]], whole_words: bool, name: str) -> None:
    assert way(_tokenizer(*steps, whole_words=whole_words)) == name


def test_texts_may_be_composed_before_and_nothing_else() -> None:
    tokenizer = _tokenizer(_split(QWEN2), BYTES)
    assert way(msgspec.structs.replace(tokenizer, normalizer=Part(type="NFC"))) == "qwen2"
    with pytest.raises(BadFile, match='does not know: "Lowercase"'):
        way(msgspec.structs.replace(tokenizer, normalizer=Part(type="Sequence", normalizers=[Part(type="Lowercase")])))


@pytest.mark.parametrize(
    ("steps", "whole_words"),
    [
        ([_split(LLAMA3 + " "), BYTES], True),
        ([_split(LLAMA3, "Removed"), BYTES], True),
        ([_split(QWEN2), BYTES], True),
        ([_split(QWEN2), GPT_2], False),
        ([BYTES], False),
        ([GPT_2], True),
        ([DIGITS | {"individual_digits": False}, GPT_2], False),
        ([_split("[\r\n]"), _split(r"\s?\p{L}+"), BYTES], False),
        ([{"type": "Whitespace"}, GPT_2], False),
        ([], False),
    ],
)
def test_any_other_way_is_refused(steps: list[dict[str, Any]], whole_words: bool) -> None:
    with pytest.raises(BadFile, match="the tokenizer splits texts in a way that llama"):
        way(_tokenizer(*steps, whole_words=whole_words))
