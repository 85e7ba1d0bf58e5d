"""How a byte-level tokenizer splits texts before it looks up words, by llama.cpp's name for the way.

The expressions stand in the tokenizer.json of the models named beside them; llama.cpp has them compiled in.
"""

from typing import Final

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.tokenizer_json import Part, TokenizerJson
from a3s_power.gguf.layout import quoted

_ENDINGS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST: Final = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_REST_WITH_SLASH: Final = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER: Final = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_AHEAD: Final = r"[^\r\n\p{L}\p{N}]?"

_LLAMA3: Final = rf"{_ENDINGS}|{_AHEAD}\p{{L}}+|\p{{N}}{{1,3}}|{_REST}"
_QWEN2: Final = rf"{_ENDINGS}|{_AHEAD}\p{{L}}+|\p{{N}}|{_REST}"
_TEKKEN: Final = rf"{_AHEAD}{_UPPER}*{_LOWER}+|{_AHEAD}{_UPPER}+{_LOWER}*|\p{{N}}|{_REST_WITH_SLASH}"
_GPT_4O: Final = (
    rf"{_AHEAD}{_UPPER}*{_LOWER}+{_ENDINGS}?|{_AHEAD}{_UPPER}+{_LOWER}*{_ENDINGS}?|\p{{N}}{{1,3}}|{_REST_WITH_SLASH}"
)

_BY_EXPRESSION: Final = {
    (_LLAMA3, True): "llama-bpe",  # Llama 3
    (_LLAMA3, False): "dbrx",  # Phi 4
    (_QWEN2, False): "qwen2",  # Qwen 2, 2.5 and 3
    (_TEKKEN, True): "tekken",  # Mistral Nemo
    (_GPT_4O, False): "gpt-4o",  # Phi 4 mini
}
"""The way of an expression; beside it whether a whole word that is a token is taken before any merge."""

_PLAIN: Final = {
    ("ByteLevel",): "gpt-2",
    ("Digits", "ByteLevel"): "smollm",  # SmolLM, Granite 3, StarCoder 2
}
"""The ways of those that have no expression but the one built into ByteLevel."""

_HARMLESS: Final = "NFC"
"""What Qwen does to texts before: llama.cpp does not, and few texts are changed by it."""


def way(tokenizer: TokenizerJson) -> str:
    """llama.cpp's name. Raises BadFile for a way that it does not know."""
    for step in tokenizer.normalizer.steps if tokenizer.normalizer else ():
        if step.type != _HARMLESS:
            raise unknown_way(step.type)
    steps = tokenizer.pre_tokenizer.steps if tokenizer.pre_tokenizer else []
    expressions = [_expression(step) for step in steps if step.type == "Split"]
    if len(expressions) == 1 and [step.type for step in steps] == ["Split", "ByteLevel"] and not steps[1].use_regex:
        found = _BY_EXPRESSION.get((expressions[0], tokenizer.model.ignore_merges))
    else:
        plain = all(step.use_regex for step in steps) and not tokenizer.model.ignore_merges
        digits = all(step.individual_digits for step in steps if step.type == "Digits")
        found = _PLAIN.get(tuple(step.type for step in steps)) if plain and digits else None
    if found is None:
        shown = expressions[0] if expressions else ", ".join(step.type for step in steps)
        raise unknown_way(shown)
    return found


def unknown_way(shown: str) -> BadFile:
    """The error for a tokenizer that does something else to texts."""
    return BadFile(f"the tokenizer splits texts in a way that llama.cpp does not know: {quoted(shown)}")


def _expression(step: Part) -> str:
    """The expression whose matches are kept, whichever of two ways it is written."""
    kept = step.behavior == "Isolated" or (step.behavior == "Removed" and step.invert)
    return (step.pattern or {}).get("Regex", "") if kept else ""
