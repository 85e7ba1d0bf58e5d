"""A model's tokenizer, of whatever kind, as key-values: its tokens, which of them are special, the chat template."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from a3s_power.core import limits
from a3s_power.core.errors import BadFile
from a3s_power.create.convert import byte_level, sentencepiece, word_piece
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.tokenizer_json import (
    Content,
    Token,
    TokenizerConfig,
    TokenizerJson,
    tokenizer_config,
)
from a3s_power.create.convert.vocabulary import Vocabulary
from a3s_power.gguf.layout import quoted
from a3s_power.gguf.writer import Writable

_TEMPLATE: Final = "chat_template.jinja"
_GENERATION: Final = "generation_config.json"
_MOST_TOKENS: Final = 1 << 22
_ENDS: Final = ("eos", "eot", "eom")
"""The keys of tokens that end an answer: there is room for three beside those that llama.cpp knows by their texts."""


def vocabulary(folder: Folder, tokenizer: TokenizerJson | None, rows: int) -> Vocabulary:
    """The vocabulary, with as many tokens as the embedding has rows. Raises BadFile."""
    if rows > _MOST_TOKENS:
        raise BadFile(f"the embedding has {rows} rows: a vocabulary has at most {_MOST_TOKENS} tokens")
    found = sentencepiece.content(folder)
    if found is not None:
        return sentencepiece.from_model(found, tokenizer, rows, folder)
    if tokenizer is None:
        raise BadFile("unknown tokenizer format")
    if word_piece.is_word_piece(tokenizer):
        return word_piece.vocabulary(tokenizer, rows, folder)
    if byte_level.is_byte_level(tokenizer):
        return byte_level.vocabulary(tokenizer, rows, folder)
    if sentencepiece.is_of_pieces(tokenizer):
        return sentencepiece.from_json(tokenizer, rows, folder)
    raise BadFile("unknown tokenizer format")


def key_values(
    words: Vocabulary, folder: Folder, tokenizer: TokenizerJson | None, said: Mapping[str, Any]
) -> dict[str, Writable]:
    """All that a GGUF says of the tokenizer; `said` is config.json. Raises BadFile."""
    config = tokenizer_config(folder)
    if config.auto_map:
        folder.note("the tokenizer's own code is not run")
    values = words.key_values()
    special = [*_special(words, config, folder, said), *_added(words, config, tokenizer)]
    values |= {f"tokenizer.ggml.{key}": value for key, value in special}
    template = _chat_template(config, folder)
    return values | {"tokenizer.chat_template": template} if template else values


def _special(
    words: Vocabulary, config: TokenizerConfig, folder: Folder, said: Mapping[str, Any]
) -> Iterator[tuple[str, Writable]]:
    numbers, count = words.numbers(), len(words.entries)
    bert = words.model == "bert"
    ends = _ends(numbers.get(_text(config.sep_token if bert else config.eos_token)), folder, said, count)
    named = {
        "bos": (config.cls_token if bert else config.bos_token, said.get("bos_token_id")),
        "unknown": (config.unk_token, None),
        "seperator": (config.sep_token, None),
        "padding": (config.pad_token, said.get("pad_token_id")),
        "mask": (config.mask_token, None),
    }
    found = {key: _number(numbers.get(_text(token), else_), count) for key, (token, else_) in named.items()}
    if found["bos"] is None:
        # Where nothing is said, llama.cpp takes token 11 or 1, whatever that is.
        found["bos"] = next((number for number in (found["padding"], *ends) if number is not None), None)
    for key, number in found.items():
        if number is not None:
            yield f"{key}_token_id", number
    if len(ends) > len(_ENDS):
        folder.note(f"{len(ends) - len(_ENDS)} of the tokens that end an answer have no room and are left out")
    yield from ((f"{key}_token_id", number) for key, number in zip(_ENDS, ends, strict=False))


def _text(token: Token) -> str:
    return token.content if isinstance(token, Content) else token or ""


def _number(value: object, count: int) -> int | None:
    """A token's number, `None` for what is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < count else None


def _ends(first: int | None, folder: Folder, said: Mapping[str, Any], count: int) -> list[int]:
    """The tokens that end an answer, each once: the tokenizer's own, those of the generation, those of the model."""
    found: list[object] = [first]
    for source in (folder.json(_GENERATION, dict[str, Any]) or {}, said):
        value = source.get("eos_token_id")
        found += value if isinstance(value, list) else [value]
    numbers = (_number(one, count) for one in found)
    return list(dict.fromkeys(number for number in numbers if number is not None))


def _added(
    words: Vocabulary, config: TokenizerConfig, tokenizer: TokenizerJson | None
) -> Iterator[tuple[str, Writable]]:
    """Whether the first and the last token are put around every text. Around words llama.cpp puts them always."""
    if words.model == "bert":
        return
    before, behind = _around(tokenizer)
    pieces = words.model == "llama" and (tokenizer is None or tokenizer.post_processor is None)
    bos = bool(before) or pieces if config.add_bos_token is None else config.add_bos_token
    eos = bool(behind) if config.add_eos_token is None else config.add_eos_token
    yield "add_bos_token", bos
    yield "add_eos_token", eos


def _around(tokenizer: TokenizerJson | None) -> tuple[list[Any], list[Any]]:
    """What the tokenizer puts before a text, and behind it."""
    part = tokenizer.post_processor if tokenizer else None
    for step in part.steps if part else ():
        if step.type == "TemplateProcessing":
            at = next((at for at, piece in enumerate(step.single) if "Sequence" in piece), len(step.single))
            return step.single[:at], step.single[at + 1 :]
    return [], []


def _chat_template(config: TokenizerConfig, folder: Folder) -> str:
    """The file's, else the one among the tokenizer's settings that is for all purposes."""
    content = folder.content(_TEMPLATE, limits.TEMPLATE_BYTES)
    if content is not None:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise BadFile(f"{_TEMPLATE} is no UTF-8") from error
    named = config.chat_template if isinstance(config.chat_template, list) else []
    for one in named:
        if one.name != "default":
            folder.note(f"the chat template {quoted(one.name)} is left out")
    whole = config.chat_template if isinstance(config.chat_template, str) else ""
    template = next((one.template for one in named if one.name == "default"), whole)
    if len(template.encode()) > limits.TEMPLATE_BYTES:
        raise BadFile(f"the chat template is larger than {limits.TEMPLATE_BYTES} bytes")
    return template
