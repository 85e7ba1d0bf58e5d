import json
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.tokenizer import key_values, vocabulary
from a3s_power.create.convert.tokenizer_json import tokenizer_json
from a3s_power.create.convert.vocabulary import Kind, Vocabulary
from tests.conversions import TOKENIZERS
from tests.folders import folder_of

Files = dict[str, bytes | dict[str, Any] | list[Any]]

PIECES = (TOKENIZERS / "pieces/tokenizer.model").read_bytes()
SETTINGS = "tokenizer_config.json"


def _json(kind: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((TOKENIZERS / kind / "tokenizer.json").read_text())
    return content


def _vocabulary(scratch: Path, files: Files, rows: int = 410) -> tuple[Vocabulary, list[str]]:
    with folder_of(scratch, files) as folder:
        return vocabulary(folder, tokenizer_json(folder), rows), folder.notes


def _values(scratch: Path, files: Files, config: Mapping[str, Any] | None = None, rows: int = 350) -> dict[str, Any]:
    """The key-values, without their common beginning and without the vocabulary itself."""
    with folder_of(scratch, files) as folder:
        tokenizer = tokenizer_json(folder)
        values = key_values(vocabulary(folder, tokenizer, rows), folder, tokenizer, config or {})
    long = ("tokens", "token_type", "scores", "merges")
    shown = {key.removeprefix("tokenizer.ggml."): value for key, value in values.items()}
    return {key: value for key, value in shown.items() if key not in long}


# The kinds of tokenizers.


def test_byte_level_tokens_come_with_their_merges_and_added_ones(tmp_path: Path) -> None:
    tokenizer = _json("bytes")
    words, notes = _vocabulary(tmp_path, {"tokenizer.json": tokenizer}, 350)
    assert (words.model, words.pre, notes) == ("gpt2", "dbrx", [])
    texts = {number: text for text, number in tokenizer["model"]["vocab"].items()}
    assert [entry.text for entry in words.entries[:340]] == [texts[number] for number in range(340)]
    assert words.merges[0] == " ".join(tokenizer["model"]["merges"][0])
    kinds = {entry.text: entry.kind for entry in words.entries}
    assert (kinds["<|begin|>"], kinds["<tool>"], kinds["a"]) == (Kind.CONTROL, Kind.USER_DEFINED, Kind.NORMAL)
    assert words.entries[-1].text == "[PAD349]"
    assert words.entries[-1].kind is Kind.UNUSED


def test_merges_may_be_written_in_one_text(tmp_path: Path) -> None:
    tokenizer = _json("bytes")
    before, _ = _vocabulary(tmp_path, {"tokenizer.json": tokenizer})
    tokenizer["model"]["merges"] = [" ".join(merge) for merge in tokenizer["model"]["merges"]]
    after, _ = _vocabulary(tmp_path, {"tokenizer.json": tokenizer})
    assert after.merges == before.merges


def test_a_sentencepiece_model_and_the_json_made_of_it_are_the_same_vocabulary(tmp_path: Path) -> None:
    files: Files = {"tokenizer.model": PIECES, "tokenizer.json": _json("pieces")}
    model, _ = _vocabulary(tmp_path, {"tokenizer.model": PIECES})
    made, _ = _vocabulary(tmp_path, {"tokenizer.json": _json("pieces")})
    both, _ = _vocabulary(tmp_path, files)
    kinds = {entry.text: entry.kind for entry in model.entries}
    assert (kinds["<unk>"], kinds["<s>"], kinds["<0x0A>"]) == (Kind.UNKNOWN, Kind.CONTROL, Kind.BYTE)
    assert kinds["   "] is Kind.USER_DEFINED
    assert kinds["\u2581t"] is Kind.NORMAL
    # In the json what the user defined is a word like others.
    assert [entry.text for entry in made.entries] == [
        entry.text.replace("   ", "\u2581" * 3) for entry in model.entries
    ]
    assert [entry.text for entry in both.entries] == [entry.text for entry in model.entries]
    assert model.own == made.own == {"add_space_prefix": True}


def test_scores_are_in_the_order_of_merges(tmp_path: Path) -> None:
    model, _ = _vocabulary(tmp_path, {"tokenizer.model": PIECES})
    made, _ = _vocabulary(tmp_path, {"tokenizer.json": _json("pieces")})
    merged = {"".join(merge) for merge in _json("pieces")["model"]["merges"]}
    numbers = [number for number, entry in enumerate(made.entries) if entry.text in merged]
    by_model = sorted(numbers, key=lambda number: -model.entries[number].score)
    by_json = sorted(numbers, key=lambda number: -made.entries[number].score)
    assert by_json == by_model


def test_word_pieces_have_their_beginnings_marked(tmp_path: Path) -> None:
    tokenizer = _json("words")
    words, _ = _vocabulary(tmp_path, {"tokenizer.json": tokenizer}, 300)
    vocab = tokenizer["model"]["vocab"]
    going_on = next(text for text in vocab if text.startswith("##"))
    assert words.entries[vocab[going_on]].text == going_on.removeprefix("##")
    assert words.entries[vocab["the"]].text == "\u2581the"
    assert words.entries[vocab["[CLS]"]].text == "[CLS]"
    assert words.entries[vocab["[CLS]"]].kind is Kind.CONTROL
    assert words.own == {"normalizer.lowercase": True, "normalizer.strip_accents": True}


def test_a_cased_vocabulary_keeps_case_and_accents(tmp_path: Path) -> None:
    tokenizer = _json("words")
    tokenizer["normalizer"]["lowercase"] = False
    words, _ = _vocabulary(tmp_path, {"tokenizer.json": tokenizer}, 300)
    assert words.own == {"normalizer.lowercase": False, "normalizer.strip_accents": False}


def test_a_list_of_another_kind_under_sentencepieces_name_is_passed_over(tmp_path: Path) -> None:
    words, _ = _vocabulary(tmp_path, {"tokenizer.model": b"IQ== 0\nIg== 1\n", "tokenizer.json": _json("bytes")})
    assert words.model == "gpt2"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "unknown tokenizer format"),
        ({"tokenizer.model": b"IQ== 0\n"}, "unknown tokenizer format"),
        ({"tokenizer.json": {"model": {"type": "Unigram", "vocab": [["a", -1.0]]}}}, "unknown tokenizer format"),
        ({"tokenizer.json": {"model": {"type": "BPE", "vocab": {}}}}, "unknown tokenizer format"),
        ({"tokenizer.json": b"[" * 100_000}, "tokenizer.json cannot be read"),
        ({"tokenizer.json": {"model": {"type": "BPE", "vocab": {"a": -1}}}}, "tokenizer.json cannot be read"),
        ({"tokenizer.json": b"\xff"}, "tokenizer.json cannot be read"),
        ({"tokenizer.model": PIECES[:-1]}, "tokenizer.model cannot be read"),
        ({"tokenizer.model": b"\n\xff\xff\xff\xff\x0f"}, "tokenizer.model cannot be read: it is cut off"),
        ({"tokenizer.model": b"\n" + b"\xff" * 20}, "tokenizer.model cannot be read: a number has no end"),
        ({"tokenizer.model": b"\n\x02\x08\x05"}, "tokenizer.model cannot be read: a number is where a text should"),
        ({"tokenizer.model": b"\n\x05\n\x03\xff\xff\xff"}, "tokenizer.model cannot be read"),
        ({"tokenizer.model": b"\n\x03\n\x01a\x12\x02\x18\x01"}, "tokenizer.model is not of the kind BPE"),
    ],
)
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, files: Files, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        _vocabulary(tmp_path, files)


def test_more_tokens_than_any_vocabulary_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="the embedding has 4194305 rows"):
        _vocabulary(tmp_path, {"tokenizer.json": _json("bytes")}, (1 << 22) + 1)


def test_two_tokens_of_one_text_are_refused(tmp_path: Path) -> None:
    tokenizer = _json("bytes")
    tokenizer["added_tokens"].append({"id": 345, "content": "<tool>"})
    with pytest.raises(BadFile, match='the tokenizer has two tokens "<tool>"'):
        _vocabulary(tmp_path, {"tokenizer.json": tokenizer})


@pytest.mark.parametrize(
    ("change", "blank"),
    [
        ({}, True),
        ({"normalizer": None}, False),
        ({"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}}, False),
        ({"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "first"}}, True),
        ({"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "never"}}, False),
        ({"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "add_prefix_space": True}}, True),
        ({"normalizer": None, "pre_tokenizer": {"type": "Metaspace", "add_prefix_space": False}}, False),
        ({"normalizer": None, "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}}}, False),
    ],
)
def test_pieces_of_json_say_whether_a_blank_comes_first(tmp_path: Path, change: dict[str, Any], blank: bool) -> None:
    words, _ = _vocabulary(tmp_path, {"tokenizer.json": _json("pieces") | change})
    assert words.own == {"add_space_prefix": blank}


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": " +"}, "content": " "}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}},
        {"pre_tokenizer": {"type": "Digits", "individual_digits": True}},
    ],
)
def test_pieces_of_json_that_do_more_to_texts_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(BadFile, match="the tokenizer splits texts in a way"):
        _vocabulary(tmp_path, {"tokenizer.json": _json("pieces") | change})


def test_a_merge_of_more_than_two_is_refused(tmp_path: Path) -> None:
    tokenizer = _json("bytes")
    tokenizer["model"]["merges"].append("a b c")
    with pytest.raises(BadFile, match='a merge that is none: "a b c"'):
        _vocabulary(tmp_path, {"tokenizer.json": tokenizer})


@pytest.mark.parametrize("change", [{"handle_chinese_chars": False}, {"type": "NFKC"}])
def test_words_prepared_otherwise_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    tokenizer = _json("words")
    tokenizer["normalizer"] |= change
    with pytest.raises(BadFile, match="prepares texts in a way that llama"):
        _vocabulary(tmp_path, {"tokenizer.json": tokenizer})


def test_tokens_without_a_row_are_left_out_and_told_of(tmp_path: Path) -> None:
    words, notes = _vocabulary(tmp_path, {"tokenizer.json": _json("bytes")}, 340)
    assert len(words.entries) == 340
    assert notes == ['1 tokens have no row in the embedding and are left out, "<tool>" first']


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_a_bad_model(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    files: Files = {"tokenizer.model": b"\n" + content}
    with folder_of(tmp_path_factory.mktemp("any"), files) as folder, suppress(BadFile):
        assert len(vocabulary(folder, None, 3).entries) == 3


@given(st.integers(0, len(PIECES) - 1), st.integers(0, 255))
def test_no_changed_byte_is_more_than_a_bad_model(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    changed = PIECES[:place] + bytes([byte]) + PIECES[place + 1 :]
    with folder_of(tmp_path_factory.mktemp("any"), {"tokenizer.model": changed}) as folder, suppress(BadFile):
        assert len(vocabulary(folder, None, 400).entries) == 400


# What is said of special tokens, and the chat template.

PLAIN: Files = {"tokenizer.json": _json("bytes") | {"post_processor": None}}
WITH_BOS: Files = {"tokenizer.json": _json("bytes")}
NAMED: Files = {SETTINGS: {"bos_token": "<|begin|>", "eos_token": {"content": "<|end|>"}, "pad_token": None}}


@pytest.mark.parametrize(
    ("files", "config", "expected"),
    [
        (PLAIN, {}, {"add_bos_token": False}),
        (WITH_BOS | NAMED, {}, {"bos_token_id": 0, "eos_token_id": 1, "add_bos_token": True}),
        (PLAIN | NAMED, {"bos_token_id": 7, "eos_token_id": [9, 1, 8]}, {"bos_token_id": 0, "eos_token_id": 1}),
        (PLAIN | NAMED, {"eos_token_id": [9, 1, 8]}, {"eot_token_id": 9, "eom_token_id": 8}),
        (PLAIN | {"generation_config.json": {"eos_token_id": [5, 6]}}, {"eos_token_id": 7}, {"eos_token_id": 5}),
        (PLAIN | {"generation_config.json": {"eos_token_id": 5}}, {"eos_token_id": 7}, {"eot_token_id": 7}),
        (PLAIN, {"bos_token_id": 7, "pad_token_id": 8}, {"bos_token_id": 7, "padding_token_id": 8}),
        (PLAIN, {"pad_token_id": 8, "eos_token_id": 9}, {"bos_token_id": 8, "eos_token_id": 9}),
        (PLAIN, {"eos_token_id": 9}, {"bos_token_id": 9}),
        (PLAIN, {"bos_token_id": 350, "eos_token_id": [-1, True, "x", 3]}, {"bos_token_id": 3, "eos_token_id": 3}),
        (WITH_BOS | {SETTINGS: {"add_bos_token": False}}, {}, {"add_bos_token": False, "add_eos_token": False}),
        (PLAIN | {SETTINGS: {"add_bos_token": True, "add_eos_token": True}}, {}, {"add_eos_token": True}),
    ],
)
def test_special_tokens(tmp_path: Path, files: Files, config: dict[str, Any], expected: dict[str, Any]) -> None:
    values = _values(tmp_path, files, config)
    assert {key: values.get(key) for key in expected} == expected


def test_nothing_is_said_of_special_tokens_that_nobody_names(tmp_path: Path) -> None:
    values = _values(tmp_path, PLAIN)
    assert values == {"model": "gpt2", "pre": "dbrx", "add_bos_token": False, "add_eos_token": False}


def test_pieces_alone_begin_with_the_first_token(tmp_path: Path) -> None:
    assert _values(tmp_path, {"tokenizer.model": PIECES}, rows=400)["add_bos_token"] is True


def test_words_have_their_ends_named(tmp_path: Path) -> None:
    settings = json.loads((TOKENIZERS / "words" / SETTINGS).read_text())
    values = _values(tmp_path, {"tokenizer.json": _json("words"), SETTINGS: settings}, rows=300)
    vocab = _json("words")["model"]["vocab"]
    assert values == {
        "model": "bert",
        "pre": "default",
        "normalizer.lowercase": True,
        "normalizer.strip_accents": True,
        "bos_token_id": vocab["[CLS]"],
        "eos_token_id": vocab["[SEP]"],
        "seperator_token_id": vocab["[SEP]"],
        "unknown_token_id": vocab["[UNK]"],
        "padding_token_id": vocab["[PAD]"],
        "mask_token_id": vocab["[MASK]"],
    }


@pytest.mark.parametrize(
    ("files", "template"),
    [
        ({SETTINGS: {"chat_template": "one"}}, "one"),
        ({SETTINGS: {"chat_template": [{"name": "default", "template": "one"}]}}, "one"),
        ({SETTINGS: {"chat_template": [{"name": "tools", "template": "two"}]}}, None),
        ({SETTINGS: {"chat_template": "one"}, "chat_template.jinja": b"file"}, "file"),
        ({}, None),
    ],
)
def test_the_chat_template(tmp_path: Path, files: Files, template: str | None) -> None:
    assert _values(tmp_path, PLAIN | files).get("tokenizer.chat_template") == template


@pytest.mark.parametrize(
    ("files", "config", "note"),
    [
        ({SETTINGS: {"chat_template": [{"name": "t", "template": ""}]}}, {}, 'the chat template "t" is left out'),
        ({SETTINGS: {"auto_map": {"AutoTokenizer": ["x.Y", None]}}}, {}, "the tokenizer's own code is not run"),
        ({}, {"eos_token_id": [1, 2, 3, 4, 5]}, "2 of the tokens that end an answer have no room and are left out"),
    ],
)
def test_what_is_left_out_is_told(tmp_path: Path, files: Files, config: dict[str, Any], note: str) -> None:
    with folder_of(tmp_path, PLAIN | files) as folder:
        tokenizer = tokenizer_json(folder)
        key_values(vocabulary(folder, tokenizer, 350), folder, tokenizer, config)
        assert folder.notes == [note]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"chat_template.jinja": b"\xff"}, "chat_template.jinja is no UTF-8"),
        ({"chat_template.jinja": b"a" * (1 << 20) + b"b"}, "is larger than 1048576 bytes"),
        ({SETTINGS: {"chat_template": "a" * (1 << 20) + "b"}}, "the chat template is larger than 1048576 bytes"),
        ({SETTINGS: {"bos_token": 5}}, "tokenizer_config.json cannot be read"),
        ({"generation_config.json": [5]}, "generation_config.json cannot be read"),
        ({"added_tokens.json": {"x": "y"}}, "added_tokens.json cannot be read"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, files: Files, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        _values(tmp_path, PLAIN | files)


def test_added_tokens_are_found_wherever_they_are_named(tmp_path: Path) -> None:
    files: Files = {
        "tokenizer.model": PIECES,
        "added_tokens.json": {"<one>": 400, "<two>": 401},
        SETTINGS: {"added_tokens_decoder": {"401": {"content": "<two>", "special": True}, "x": {"content": "no"}}},
    }
    words, _ = _vocabulary(tmp_path, files, 402)
    assert [(entry.text, entry.kind) for entry in words.entries[400:]] == [
        ("<one>", Kind.USER_DEFINED),
        ("<two>", Kind.CONTROL),
    ]


def test_a_piece_keeps_its_score(tmp_path: Path) -> None:
    piece = b"\n\x03abc" + b"\x15" + struct.pack("<f", -1.5)
    model = b"\n" + bytes([len(piece)]) + piece + b"\x12\x02\x18\x02"
    words, _ = _vocabulary(tmp_path, {"tokenizer.model": model}, 1)
    assert [(entry.text, entry.score) for entry in words.entries] == [("abc", -1.5)]
