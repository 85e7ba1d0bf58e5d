"""WordPiece, BERT's tokenizer, from tokenizer.json: beginnings of words are marked in a GGUF, and not what goes on."""

from typing import Final

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.tokenizer_json import TOKENIZER, Part, TokenizerJson, added_tokens
from a3s_power.create.convert.vocabulary import BLANK, Entry, Kind, Vocabulary, complete

_GOING_ON: Final = "##"


def is_word_piece(tokenizer: TokenizerJson) -> bool:
    """Whether the tokenizer is of this kind."""
    return tokenizer.model.type == "WordPiece"


def vocabulary(tokenizer: TokenizerJson, rows: int, folder: Folder) -> Vocabulary:
    """The vocabulary. Raises BadFile for one that llama.cpp would read otherwise."""
    model, vocab = tokenizer.model, tokenizer.model.vocab
    if not isinstance(vocab, dict) or model.continuing_subword_prefix not in (None, _GOING_ON):
        raise BadFile(f"{TOKENIZER} has a WordPiece vocabulary of a form that llama.cpp does not know")
    normalizer = next((step for step in _normalizers(tokenizer) if step.type == "BertNormalizer"), None)
    if normalizer is None or not normalizer.handle_chinese_chars:
        raise BadFile(f"{TOKENIZER} prepares texts in a way that llama.cpp does not know")
    added = added_tokens(folder, tokenizer)
    entries = {
        number: Entry(text, Kind.CONTROL) if number in added else Entry(_marked(text)) for text, number in vocab.items()
    }
    strip = normalizer.lowercase if normalizer.strip_accents is None else normalizer.strip_accents
    own = {"normalizer.lowercase": normalizer.lowercase, "normalizer.strip_accents": strip}
    return Vocabulary(model="bert", entries=complete(entries, added, rows, folder), own={**own})


def _normalizers(tokenizer: TokenizerJson) -> list[Part]:
    return tokenizer.normalizer.steps if tokenizer.normalizer else []


def _marked(text: str) -> str:
    return text.removeprefix(_GOING_ON) if text.startswith(_GOING_ON) else f"{BLANK}{text}"
