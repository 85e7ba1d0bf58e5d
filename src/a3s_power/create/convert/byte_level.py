"""Byte-level BPE, as GPT-2 began it: the vocabulary and its merges, from tokenizer.json."""

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.splitting import way
from a3s_power.create.convert.tokenizer_json import TOKENIZER, TokenizerJson, added_tokens
from a3s_power.create.convert.vocabulary import Entry, Vocabulary, complete
from a3s_power.gguf.layout import quoted


def is_byte_level(tokenizer: TokenizerJson) -> bool:
    """Whether the tokenizer is of this kind."""
    steps = tokenizer.pre_tokenizer.steps if tokenizer.pre_tokenizer else []
    return tokenizer.model.type == "BPE" and any(step.type == "ByteLevel" for step in steps)


def vocabulary(tokenizer: TokenizerJson, rows: int, folder: Folder) -> Vocabulary:
    """The vocabulary. Raises BadFile for a way of splitting that llama.cpp does not know, and for what cannot be."""
    vocab = tokenizer.model.vocab
    if not isinstance(vocab, dict):
        raise BadFile(f"{TOKENIZER} has no vocabulary by name")
    entries = {number: Entry(text) for text, number in vocab.items()}
    added = added_tokens(folder, tokenizer)
    return Vocabulary(
        model="gpt2",
        pre=way(tokenizer),
        entries=complete(entries, added, rows, folder),
        merges=tuple(_merge(merge) for merge in tokenizer.model.merges),
        strips=any(token.rstrip for token in added.values()),
    )


def _merge(merge: str | tuple[str, str]) -> str:
    """Both halves with a blank between them; in neither of them there can be one."""
    joined = merge if isinstance(merge, str) else " ".join(merge)
    if joined.count(" ") != 1:
        raise BadFile(f"{TOKENIZER} has a merge that is none: {quoted(joined)}")
    return joined
