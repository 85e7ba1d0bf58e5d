"""A flag of `run` for each option of a request or a load, with what its help page says of it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from a3s_power.cli.options import BOOLEAN, NUMBER, TEXT, WHOLE, Flag
from a3s_power.core.errors import BadRequest
from a3s_power.core.options import KINDS

TOLD: Final = {
    "num_ctx": "Tokens of context",
    "num_batch": "Tokens of a prompt that are computed at once",
    "num_gpu": "Layers on graphics processors, -1 for all that fit",
    "main_gpu": "The graphics processor for what is not split",
    "use_mmap": "Map the weights from the file rather than read them",
    "num_thread": "Threads that generate",
    "draft_num_predict": "Tokens that the draft model guesses ahead, where the model has one",
    "use_mlock": "Lock the weights in memory",
    "flash_attention": "Flash attention on or off",
    "num_thread_batch": "Threads that compute the prompt",
    "num_keep": "Tokens of the prompt's beginning that stay when the context is full",
    "seed": "Seed of chance: the same seed, the same answer",
    "num_predict": "Most tokens of the answer, -1 for no limit",
    "top_k": "Choose among this many likeliest tokens",
    "top_p": "Choose among the likeliest tokens that make up this probability",
    "min_p": "Leave out tokens below this share of the likeliest one's probability",
    "typical_p": "Choose among the tokens of about expected surprise, 1 for off",
    "repeat_last_n": "Tokens looked back at for repetitions, 0 for none, -1 for the context",
    "temperature": "How much is left to chance, 0 for nothing",
    "repeat_penalty": "How much repeating is made unlikely, 1 for not at all",
    "presence_penalty": "What a token costs that was there already, 0 for nothing",
    "frequency_penalty": "What a token costs for each time it was there, 0 for nothing",
    "mirostat": "Sampling that holds the surprise steady: 0 for off, or version 1 or 2",
    "mirostat_tau": "The surprise that mirostat aims at",
    "mirostat_eta": "How quickly mirostat learns",
    "dry_multiplier": "How much repeated sequences cost (DRY), 0 for off",
    "dry_base": "How quickly that grows with a sequence's length",
    "dry_allowed_length": "Tokens a repeated sequence may have for nothing",
    "dry_penalty_last_n": "Tokens looked back at for repeated sequences, -1 for the context",
    "dry_sequence_breakers": "A text that ends a repeated sequence, or a JSON list of them",
    "xtc_probability": "Probability that likely tokens are left out (XTC), 0 for off",
    "xtc_threshold": "Probability from which XTC leaves a token out",
    "top_n_sigma": "Choose among tokens this many deviations from the likeliest, -1 for all",
    "dynatemp_range": "How far the temperature moves with how sure the model is, 0 for not at all",
    "dynatemp_exponent": "How sharply it moves",
    "adaptive_target": "Probability of the tokens to prefer (adaptive sampling), negative for off",
    "adaptive_decay": "How long adaptive sampling remembers, 0 to 0.99",
    "min_keep": "Tokens that each step of the choice leaves at least",
    "ignore_eos": "Go on where the model would end",
    "samplers": "A step of the choice, or a JSON list of them in their order",
    "stop": "A text that ends the answer, or a JSON list of them",
    "logit_bias": "What is added to tokens' logits, as a JSON object by id; false forbids one",
}
"""What the help page says of an option."""

_TYPES: Final = {"integer": WHOLE, "float32": NUMBER, "boolean": BOOLEAN, "array": TEXT}
_BIASES: Final = "logit_bias"


def option_flags() -> Iterator[Flag]:
    """A flag for each option; one that was not given is `None`."""
    for name, kind in KINDS.items():
        yield Flag(_flag(name), TOLD[name], _TYPES[kind], unsaid=True)
    yield Flag(_flag(_BIASES), TOLD[_BIASES], unsaid=True)


def options_said(said: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a request, from the flags that were given. Raises BadRequest for a value that is no JSON."""
    return {name: _value(name, said[name]) for name in (*KINDS, _BIASES) if said.get(name) is not None}


def _value(name: str, value: Any) -> object:  # noqa: ANN401 -- of the type its flag has
    if name == _BIASES:
        return _json(name, value, dict, "object")
    if KINDS[name] != "array":
        return value
    return _json(name, value, list, "list") if value.startswith("[") else [value]


def _json(name: str, text: str, kind: type[list[Any] | dict[str, Any]], word: str) -> object:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"invalid value for {_flag(name)}: no JSON {word}: {error}") from None
    if not isinstance(value, kind):
        raise BadRequest(f"invalid value for {_flag(name)}: no JSON {word}")
    return value


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
