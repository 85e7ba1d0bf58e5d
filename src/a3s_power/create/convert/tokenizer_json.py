"""The tokenizer's own files, as far as a GGUF can hold what they say: tokenizer.json and those beside it."""

from typing import Annotated, Any, Final

import msgspec

from a3s_power.core import limits
from a3s_power.create.convert.folder import Folder

TOKENIZER: Final = "tokenizer.json"
_BYTES: Final = 64 * limits.MIB

Id = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class AddedToken(msgspec.Struct, frozen=True):
    """A token that stands as it is in a text; `special` ones are no text themselves."""

    id: Id
    content: str
    special: bool = False
    rstrip: bool = False


class Model(msgspec.Struct, frozen=True):
    """The part of tokenizer.json that has the vocabulary; which fields mean something depends on the type."""

    type: str = "BPE"
    vocab: dict[str, Id] | list[Any] = {}
    merges: list[str | tuple[str, str]] = []
    unk_token: str | None = None
    byte_fallback: bool = False
    ignore_merges: bool = False
    continuing_subword_prefix: str | None = None


class Part(msgspec.Struct, frozen=True):
    """One step before or after the vocabulary: those of a sequence are in it."""

    type: str
    pattern: dict[str, str] | None = None
    behavior: str = ""
    invert: bool = False
    individual_digits: bool = False
    use_regex: bool = True
    prepend: str = ""
    prepend_scheme: str | None = None
    add_prefix_space: bool | None = None
    lowercase: bool = True
    strip_accents: bool | None = None
    handle_chinese_chars: bool = True
    single: list[dict[str, Any]] = []
    normalizers: list["Part"] = []
    pretokenizers: list["Part"] = []
    processors: list["Part"] = []

    @property
    def steps(self) -> list["Part"]:
        """The part itself, or those of the sequence it is."""
        return [*self.normalizers, *self.pretokenizers, *self.processors] if self.type == "Sequence" else [self]


class TokenizerJson(msgspec.Struct, frozen=True):
    """tokenizer.json."""

    model: Model
    added_tokens: list[AddedToken] = []
    normalizer: Part | None = None
    pre_tokenizer: Part | None = None
    post_processor: Part | None = None


class Content(msgspec.Struct, frozen=True):
    """A token, where it is not simply its text."""

    content: str


class _Described(msgspec.Struct, frozen=True):
    content: str
    special: bool = False
    rstrip: bool = False


class NamedTemplate(msgspec.Struct, frozen=True):
    """One of several chat templates."""

    name: str
    template: str


Token = str | Content | None


class TokenizerConfig(msgspec.Struct, frozen=True):
    """tokenizer_config.json."""

    bos_token: Token = None
    eos_token: Token = None
    unk_token: Token = None
    sep_token: Token = None
    pad_token: Token = None
    cls_token: Token = None
    mask_token: Token = None
    add_bos_token: bool | None = None
    add_eos_token: bool | None = None
    add_prefix_space: bool | None = None
    chat_template: str | list[NamedTemplate] | None = None
    added_tokens_decoder: dict[str, _Described] = {}
    auto_map: Any = None


def tokenizer_json(folder: Folder) -> TokenizerJson | None:
    """tokenizer.json, `None` when it is not there. Raises BadFile."""
    return folder.json(TOKENIZER, TokenizerJson, _BYTES)


def tokenizer_config(folder: Folder) -> TokenizerConfig:
    """tokenizer_config.json, empty when it is not there. Raises BadFile."""
    return folder.json("tokenizer_config.json", TokenizerConfig, 8 * limits.MIB) or TokenizerConfig()


def added_tokens(folder: Folder, whole: TokenizerJson | None) -> dict[int, AddedToken]:
    """All tokens that were added to the vocabulary, by their ids; tokenizer.json has the last word. Raises BadFile."""
    added = folder.json("added_tokens.json", dict[str, Id], 8 * limits.MIB) or {}
    found = {number: AddedToken(number, text) for text, number in added.items()}
    for key, token in tokenizer_config(folder).added_tokens_decoder.items():
        if key.isdecimal() and len(key) < 10:
            found[int(key)] = AddedToken(int(key), token.content, token.special, token.rstrip)
    return found | {token.id: token for token in (whole.added_tokens if whole else ())}
