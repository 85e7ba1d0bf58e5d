"""What the bodies of chats and completions share: sampling, the form of the answer, and how many are wanted."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

import msgspec

from a3s_power.api.asked import decoded, options, stays
from a3s_power.api.endpoint import Call
from a3s_power.api.openai.errors import WrongField
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Think
from a3s_power.core.options import Asked, Bias, logit_bias

T = TypeVar("T", bound=msgspec.Struct)

_SEEDS: Final = 2**63
_SAMPLERS: Final = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "num_ctx")
_FORBIDDEN: Final = -100.0
"""The bias that OpenAI defines as forbidding a token."""

_EFFORTS: Final[dict[str, Think]] = {
    "": None,
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "ultra": "max",
    "max": "max",
}
_EFFORT_WORDS: Final = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream shall tell beside the answer. `include_progress` is ours: what is waited for before it."""

    include_usage: bool | None = None
    include_progress: bool | None = None


class Samplers(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a request that OpenAI does not know, which many clients send beside its own fields."""

    num_keep: Any = None
    num_predict: Any = None
    top_k: Any = None
    min_p: Any = None
    typical_p: Any = None
    repeat_last_n: Any = None
    repeat_penalty: Any = None
    mirostat: Any = None
    mirostat_tau: Any = None
    mirostat_eta: Any = None
    dry_multiplier: Any = None
    dry_base: Any = None
    dry_allowed_length: Any = None
    dry_penalty_last_n: Any = None
    dry_sequence_breakers: Any = None
    xtc_probability: Any = None
    xtc_threshold: Any = None
    top_n_sigma: Any = None
    dynatemp_range: Any = None
    dynatemp_exponent: Any = None
    adaptive_target: Any = None
    adaptive_decay: Any = None
    min_keep: Any = None
    ignore_eos: Any = None
    samplers: Any = None


class Sampled(Samplers, frozen=True, kw_only=True):
    """The fields that both bodies have. Unknown fields are ignored, and `null` is as absent.

    `options`, `num_ctx`, `keep_alive`, `think`, `grammar` and those that begin with `guided` are not OpenAI's.
    """

    stated: ClassVar[dict[str, Any]] = {"temperature": 1.0, "top_p": 1.0}
    """Defaults that OpenAI states, so that those of the model do not hold."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: Any = None
    logit_bias: Any = None
    grammar: str | None = None
    guided_choice: tuple[str, ...] | None = None
    guided_regex: str | None = None
    options: dict[str, Any] | None = None
    num_ctx: int | None = None
    keep_alive: Any = None
    think: Any = None

    @property
    def most(self) -> int | None:
        """How many tokens an answer may have, in the first of the words for it that is said."""
        return self.num_predict if self.max_tokens is None else self.max_tokens

    @property
    def wanted(self) -> int:
        """How many answers to each prompt. Raises WrongField for none or too many."""
        wanted = 1 if self.n is None else self.n
        if not 1 <= wanted <= limits.CHOICES:
            raise WrongField(f"n must be between 1 and {limits.CHOICES}", "n")
        return wanted

    def shared(self, said: Mapping[str, Any], *, formed: bool = False) -> dict[str, Any]:
        """What the domain's requests share, all but the model's name.

        `said` is options that the two bodies say in different ways; `formed` tells that there is a format, too, or
        a call that must be.

        Raises:
            BadRequest: a field that cannot be what it is.
        """
        forms = (formed, self.grammar, self.guided_choice, self.guided_regex)
        if sum(map(bool, forms)) > 1:
            raise BadRequest(
                "only one of response_format, grammar, guided_choice, guided_regex and a required call can be followed"
            )
        return {
            "shown": self.model or "",
            "keep_alive": stays(self.keep_alive),
            "progress": bool(self.stream and self.stream_options and self.stream_options.include_progress),
            "asked": self._asked(said),
            "grammar": self.grammar or "",
            "choices": self.guided_choice or (),
            "pattern": self.guided_regex or "",
            "logit_bias": _bias(self.logit_bias),
        }

    def _asked(self, said: Mapping[str, Any]) -> Asked:
        names = (*Samplers.__struct_fields__, *_SAMPLERS)
        fields = {name: getattr(self, name) for name in names} | dict(said)
        return options(
            self.stated | (self.options or {}) | {name: each for name, each in fields.items() if each is not None}
        )


def other_seed(asked: Asked, choice: int) -> Asked:
    """The options of a further choice: one with a seed gets the next, so that choices differ and can be had again."""
    seed = asked.options.seed
    if seed is None or seed < 0:
        return asked
    return msgspec.structs.replace(asked, options=msgspec.structs.replace(asked.options, seed=(seed + choice) % _SEEDS))


def thinks(value: object) -> Think:
    """Our own `think`. Raises WrongField for what it cannot be."""
    match value:
        case None | bool() | "low" | "medium" | "high" | "max":
            return value
    raise WrongField('think must be true, false, "low", "medium", "high" or "max"', "think")


def effort(said: str) -> Think:
    """How hard the model shall think, in OpenAI's words; nothing said leaves it to the model. Raises BadRequest."""
    if said not in _EFFORTS:
        raise BadRequest(f'invalid reasoning value: "{said}" (must be {_EFFORT_WORDS})')
    return _EFFORTS[said]


def stops(stop: object) -> list[str] | None:
    """Stop texts; what is none is skipped."""
    match stop:
        case str():
            return [stop]
        case list():
            return [each for each in stop if isinstance(each, str)]
    return None


def top_logprobs(wanted: int) -> int:
    """How many alternatives of each token are wanted. Raises BadRequest for too many."""
    if not 0 <= wanted <= limits.TOP_LOGPROBS:
        raise BadRequest(f"top_logprobs must be between 0 and {limits.TOP_LOGPROBS}")
    return wanted


def _bias(sent: object) -> Bias:
    return tuple([(token, -math.inf if added == _FORBIDDEN else added) for token, added in logit_bias(sent)])


async def sent(call: Call, decoder: "msgspec.json.Decoder[T]", limit: int) -> T:
    """The body of a request.

    Raises:
        TooLarge: over `limit` bytes.
        BadRequest: over another limit, no JSON, or not of this kind.
    """
    return await decoded(call, partial(read, decoder), limit)


def read(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """A body that is there. Raises BadRequest for one that is no JSON, or not of this kind."""
    if not body:
        raise BadRequest("EOF")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(str(error)) from None
