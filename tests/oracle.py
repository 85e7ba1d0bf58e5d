"""What Transformers itself makes of a model's folder: for recordings, and for tests where it is installed."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from tests.conversions import Recorded

CLASS_OF_VECTORS: Final = "BertModel"
_DIGITS: Final = 4
_ENDINGS: Final = ("", " The", " server", " says", " what", " it", " is", " and", " then", " one", " word", " comes")

# None of them is among the packages that the tests need: they are imported when they are asked, and have no types.


def answered(folder: Path, model: Recorded) -> Recorded:
    """The model with its tokens and what it makes of them, its text lengthened until a whole word comes next."""
    if CLASS_OF_VECTORS in model.config["architectures"]:
        said = tokens(folder, model)
        return replace(model, tokens=said, vector=_rounded(_vector(folder, said)))
    for ending in _ENDINGS:
        model = replace(model, text=model.text + ending)
        said = tokens(folder, model)
        logprobs = _next_token(folder, said)
        # Of half a sign, or a special token, the engine says nothing.
        if _is_word(folder, logprobs.index(max(logprobs))):
            return replace(model, tokens=said, logprobs=_rounded(logprobs))
    raise AssertionError("no ending leads to a word")


def _is_word(folder: Path, token: int) -> bool:
    if (folder / "tokenizer.json").exists():
        text = _tokenizer(folder).id_to_token(token)
    else:
        text = _pieces(folder).id_to_piece(token)
    letters = (text or "").lstrip("\u0120\u2581")
    return letters.isascii() and letters.isalnum()


def _next_token(folder: Path, tokens: Sequence[int]) -> list[float]:
    """The log-probability of every token after these."""
    logits = _answer("AutoModelForCausalLM", folder, tokens).logits[0, -1]
    return [float(logprob) for logprob in _torch().log_softmax(logits.double(), -1)]


def _vector(folder: Path, tokens: Sequence[int]) -> list[float]:
    """The mean of all tokens' vectors, of length one."""
    mean = _answer(CLASS_OF_VECTORS, folder, tokens).last_hidden_state[0].mean(0)
    return [float(number) for number in _torch().nn.functional.normalize(mean, dim=0)]


def tokens(folder: Path, model: Recorded) -> list[int]:
    """The text as the tokenizer's own library splits it."""
    if (folder / "tokenizer.json").exists():
        return list(_tokenizer(folder).encode(model.text).ids)
    pieces = _pieces(folder)
    return [pieces.bos_id(), *pieces.encode(model.text)]


def _tokenizer(folder: Path) -> Any:
    return import_module("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))


def _pieces(folder: Path) -> Any:
    return import_module("sentencepiece").SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def _rounded(numbers: Sequence[float]) -> list[float]:
    return [round(number, _DIGITS) for number in numbers]


def _torch() -> Any:
    return import_module("torch")


def _answer(kind: str, folder: Path, tokens: Sequence[int]) -> Any:
    loaded, told = getattr(import_module("transformers"), kind).from_pretrained(
        folder, dtype=_torch().float32, attn_implementation="eager", output_loading_info=True
    )
    assert not told["missing_keys"], told
    assert not told["unexpected_keys"], told
    with _torch().no_grad():
        return loaded.eval()(_torch().tensor([list(tokens)]))
