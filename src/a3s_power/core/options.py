"""Options: every knob of a request or a load, its type, and how layers of them merge."""

import math
import struct
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Self, TypeGuard

import msgspec

from a3s_power.core.errors import InvalidOption

Kind = Literal["integer", "float32", "boolean", "array"]


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one layer says (defaults, settings, Modelfile, request); `None` where it says nothing."""

    # Those that belong to a load: another value reloads the model.
    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int | None = None
    draft_num_predict: int | None = None
    use_mlock: bool | None = None
    flash_attention: bool | None = None
    num_thread_batch: int | None = None
    # Those of one request.
    num_keep: int | None = None
    seed: int | None = None
    num_predict: int | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_last_n: int | None = None
    temperature: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: tuple[str, ...] | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    top_n_sigma: float | None = None
    dynatemp_range: float | None = None
    dynatemp_exponent: float | None = None
    adaptive_target: float | None = None
    adaptive_decay: float | None = None
    min_keep: int | None = None
    ignore_eos: bool | None = None
    samplers: tuple[str, ...] | None = None
    stop: tuple[str, ...] | None = None

    @classmethod
    def merged(cls, *layers: Self) -> Self:
        """One set of options; a later layer's word replaces an earlier one's, whole lists too."""
        said: dict[str, Any] = {}
        for layer in layers:
            said |= layer.said()
        return cls(**said)

    def said(self) -> dict[str, Any]:
        """Name and value of each option this layer says something about, in the order of the list above."""
        return {name: value for name in NAMES if (value := getattr(self, name)) is not None}


LOAD: Final = (
    *("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"),
    *("draft_num_predict", "use_mlock", "flash_attention", "num_thread_batch"),
)
"""The options that belong to a load."""

DEFAULTS: Final = Options(
    num_keep=4,
    seed=-1,
    num_predict=-1,
    top_k=40,
    top_p=0.9,
    min_p=0.0,
    typical_p=1.0,
    repeat_last_n=64,
    temperature=0.8,
    repeat_penalty=1.0,
    presence_penalty=0.0,
    frequency_penalty=0.0,
    stop=(),
)
"""What holds for a request when nobody says otherwise. Load options have no default here: unsaid means automatic."""

NAMES: Final = Options.__struct_fields__
_FLOATS: Final = frozenset(
    {
        *("top_p", "min_p", "typical_p", "temperature", "mirostat_tau", "mirostat_eta"),
        *("repeat_penalty", "presence_penalty", "frequency_penalty", "dry_multiplier", "dry_base"),
        *("xtc_probability", "xtc_threshold", "top_n_sigma", "dynatemp_range", "dynatemp_exponent"),
        *("adaptive_target", "adaptive_decay"),
    }
)
_BOOLEANS: Final = frozenset({"use_mmap", "use_mlock", "flash_attention", "ignore_eos"})
_ARRAYS: Final = frozenset({"stop", "dry_sequence_breakers", "samplers"})
KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(NAMES, "integer"),
    **dict.fromkeys(_FLOATS, "float32"),
    **dict.fromkeys(_BOOLEANS, "boolean"),
    **dict.fromkeys(_ARRAYS, "array"),
}
"""The type of each option, in Go's word for it."""
SAMPLERS: Final = (
    *("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "typical_p", "top_p", "min_p", "xtc", "temperature"),
    *("infill", "adaptive_p"),
)
"""What the option `samplers` may name, in any order: the steps by which a token is chosen."""

Bias = tuple[tuple[int, float], ...]
"""Token ids and what is added to their logits; minus infinity forbids a token."""

_BIASES: Final = "logit_bias"
_MOST_BIASES: Final = 1024
_LARGEST_BIAS: Final = 1e6
_MOST_BREAKERS: Final = 64
_LONGEST_BREAKER: Final = 256
_INT32: Final = 2**31 - 1
_INT64: Final = 2**63 - 1


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request's options as read: what they say, what is wrong with them, and the names nobody knows.

    Ollama finds a wrong type only after the model was found and can do what is asked, so the error waits in here until
    `checked` is called.
    """

    options: Options = Options()
    logit_bias: Bias = ()
    problem: str = ""
    unknown: tuple[str, ...] = ()

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Read a JSON object of options. Never raises: see `checked`."""
        known = {name: value for name, value in values.items() if name in KINDS and value is not None}
        unknown = tuple(name for name in values if name not in KINDS and name != _BIASES)
        try:
            return cls(
                options=Options(**{name: _value(name, value) for name, value in known.items()}),
                logit_bias=logit_bias(values.get(_BIASES)),
                unknown=unknown,
            )
        except InvalidOption as error:
            return cls(problem=error.message, unknown=unknown)

    def checked(self) -> Options:
        """The options. Raises InvalidOption when one was of a wrong type."""
        if self.problem:
            raise InvalidOption(self.problem)
        return self.options


def _value(name: str, value: object) -> Any:  # noqa: ANN401 -- of the type its option has
    match KINDS[name]:
        case "integer":
            return _integer(name, value)
        case "float32":
            return _float(name, value)
        case "boolean":
            if not isinstance(value, bool):
                raise InvalidOption(f'option "{name}" must be of type boolean')
            return value
        case "array":
            return _checked(name, _strings(name, value))


def _is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is one of JSON's numbers that a 64-bit float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _integer(name: str, value: object) -> int:
    if not _is_number(value):
        raise InvalidOption(f'option "{name}" must be of type integer')
    whole = math.trunc(value)
    limit = _INT64 if name == "seed" else _INT32
    return max(-limit, min(limit, whole))


def _float(name: str, value: object) -> float:
    """A 32-bit float, as Ollama keeps it."""
    if not _is_number(value):
        raise InvalidOption(f'option "{name}" must be of type float32')
    try:
        (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        raise InvalidOption(f'option "{name}" must be of type float32') from None
    return float(rounded)


def _strings(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidOption(f'option "{name}" must be of type array')
    if not all(isinstance(item, str) for item in value):
        raise InvalidOption(f'option "{name}" must be of an array of strings')
    return tuple(value)


def _checked(name: str, texts: tuple[str, ...]) -> tuple[str, ...]:
    """The texts, where the engine takes them all: it would drop what it does not know, or work for ever."""
    match name:
        case "samplers":
            if strange := [text for text in texts if text not in SAMPLERS]:
                raise InvalidOption(f'option "samplers" has no "{strange[0]}"; there are: {", ".join(SAMPLERS)}')
        case "dry_sequence_breakers":
            if not 0 < len(texts) <= _MOST_BREAKERS or any(len(text) > _LONGEST_BREAKER for text in texts):
                limits = f"1 to {_MOST_BREAKERS} strings of at most {_LONGEST_BREAKER} characters"
                raise InvalidOption(f'option "{name}" must be of {limits}')
    return texts


def logit_bias(value: object) -> Bias:
    """Biases from an object of token ids, or from a list of pairs; `false` forbids a token.

    Raises:
        InvalidOption: it is neither, or there are too many of them.
    """
    if value is None:
        return ()
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        raise InvalidOption('option "logit_bias" must be of type object')
    if len(pairs) > _MOST_BIASES:
        raise InvalidOption(f'option "logit_bias" has too many tokens: the limit is {_MOST_BIASES}')
    return tuple(map(_bias, pairs))


def _bias(pair: object) -> tuple[int, float]:
    match pair:
        case (str() as text, bias) if text.isdecimal() and text.isascii() and len(text) < len(str(_INT32)):
            token = int(text)
        case (int() as token, bias) if not isinstance(token, bool) and 0 <= token <= _INT32:
            pass
        case _:
            raise InvalidOption('option "logit_bias" must be of token ids and numbers')
    if bias is False:
        return token, -math.inf
    if not _is_number(bias):
        raise InvalidOption('option "logit_bias" must be of token ids and numbers')
    return token, max(-_LARGEST_BIAS, min(_LARGEST_BIAS, float(bias)))


def unknown_names(names: Iterable[str]) -> str:
    """The warning for options nobody knows, or an empty text when there are none."""
    listed = ", ".join(sorted(names))
    return f"options ignored: {listed}" if listed else ""
