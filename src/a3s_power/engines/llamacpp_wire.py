"""What goes to llama.cpp for one request and what comes back: bodies, chunks, errors.

Fields it does not know are ignored without a word, so only those are sent that this build is known to read. It enforces
no schema on every vocabulary, so none is ever sent.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from a3s_power.core.errors import EngineFailed, EngineRefused, PowerError, PromptTooLong
from a3s_power.core.events import Logprob, TokenLogprob
from a3s_power.engines.engine import Job, Outcome, Piece

_LEAST_LOGPROB: Final = -9999.0
_SEEDS: Final = 2**32
_SURE: Final = 1e6
_LEAST_CHANCE: Final = 2.0**-24


class Likely(msgspec.Struct):
    """A token, and what else could have stood there. `id` is -1 where the engine tells none."""

    id: int = -1
    token: str = ""
    bytes: list[int] = []
    logprob: float | None = None
    top_logprobs: list["Likely"] = []


class Logprobs(msgspec.Struct):
    """The tokens of one piece."""

    content: list[Likely] = []


class Choice(msgspec.Struct):
    """A piece of text, or the reason why no more comes."""

    text: str = ""
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Timings(msgspec.Struct):
    """Tokens, and milliseconds; `cache_n` were not read again, `draft_n` guessed ahead."""

    cache_n: int = 0
    prompt_n: int = 0
    prompt_ms: float = 0.0
    predicted_n: int = 0
    predicted_ms: float = 0.0
    draft_n: int = 0
    draft_n_accepted: int = 0


class Verbose(msgspec.Struct):
    """What a chunk says of tokens when it was asked to; `tokens_predicted` counts those of the whole answer so far."""

    tokens: list[int] = []
    tokens_predicted: int = 0
    stop_type: str = ""
    stopping_word: str = ""


class Chunk(msgspec.Struct):
    """One call of the engine's callback: a piece, the last word, progress of the prompt, or an error."""

    choices: list[Choice] = []
    verbose: Verbose | None = msgspec.field(default=None, name="__verbose")
    timings: Timings | None = None
    error: msgspec.Raw = msgspec.Raw()

    @property
    def reason(self) -> str | None:
        """Why the generation ended; `None` while it goes on."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def piece(self) -> Piece | None:
        """The piece of text in it; `None` when it has none."""
        return Piece(self.choices[0].text) if self.choices and self.choices[0].text else None


class _Error(msgspec.Struct):
    code: int = 500
    message: str = ""
    type: str = ""
    n_prompt_tokens: int = 0


class _ErrorBody(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()


class _Vector(msgspec.Struct):
    embedding: str


class _EmbeddingUsage(msgspec.Struct):
    prompt_tokens: int = 0


class Embeddings(msgspec.Struct):
    """The engine's answer to an embedding request: vectors in base64, of 32-bit floats."""

    data: list[_Vector] = []
    usage: _EmbeddingUsage | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Result(msgspec.Struct):
    index: int
    relevance_score: float | None = None


class Ranking(msgspec.Struct):
    """The engine's answer to a re-ranking request, best first."""

    results: list[_Result] = []
    usage: _EmbeddingUsage | None = None
    error: msgspec.Raw = msgspec.Raw()


decode_chunk: Final = msgspec.json.Decoder(Chunk).decode
decode_embeddings: Final = msgspec.json.Decoder(Embeddings).decode
decode_ranking: Final = msgspec.json.Decoder(Ranking).decode
encode: Final = msgspec.json.Encoder().encode


def is_watched(job: Job) -> bool:
    """Whether more must be known of each token than its text; it makes the chunks longer."""
    return bool(job.stop) or job.want_tokens or job.top_logprobs is not None


def completion(job: Job, prompt: str | list[int] | dict[str, Any], context: int, slot: int = -1) -> bytes:
    """The body of a generation. `context` is that of a slot, in tokens; a dict is a prompt with images.

    `slot` is the number of the one that shall answer, -1 for any.
    """
    body: dict[str, Any] = {
        "prompt": prompt,
        "stream": True,
        # Without it, a prompt that is being read could not be cancelled.
        "return_progress": True,
        # It makes one token of 0, and refuses all below -1.
        "n_predict": 1 if job.max_tokens == 0 else max(job.max_tokens, -1),
        # An empty text would end every answer at once.
        "stop": [text for text in job.stop if text],
        **_sampling(job.options.said(), context),
    }
    if slot >= 0:
        body["id_slot"] = slot
    if is_watched(job):
        body["verbose"] = True
    if job.logit_bias:
        body["logit_bias"] = [[token, False if bias == -math.inf else bias] for token, bias in job.logit_bias]
    if job.grammar:
        body["grammar"] = job.grammar
    if job.visible:
        body["preserved_tokens"] = list(job.visible)
    if job.top_logprobs is not None:
        body["n_probs"] = max(job.top_logprobs, 1)
    return encode(body)


_AS_THEY_ARE: Final = (
    *("top_k", "top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty"),
    *("frequency_penalty", "mirostat", "mirostat_tau", "mirostat_eta", "dry_multiplier", "dry_base"),
    *("dry_sequence_breakers", "xtc_probability", "xtc_threshold", "top_n_sigma", "dynatemp_range"),
    *("dynatemp_exponent", "adaptive_target", "adaptive_decay", "ignore_eos", "samplers"),
)
_NOT_NEGATIVE: Final = ("dry_allowed_length", "min_keep")
_LAST: Final = ("repeat_last_n", "dry_penalty_last_n")


def _sampling(said: Mapping[str, Any], context: int) -> dict[str, Any]:
    """The options under the engine's names, within what it takes."""
    body = {name: said[name] for name in _AS_THEY_ARE if name in said}
    body |= {name: max(said[name], 0) for name in _NOT_NEGATIVE if name in said}
    # -1 is the whole context to Ollama and an error here.
    body |= {name: context if said[name] < 0 else min(said[name], context) for name in _LAST if name in said}
    if "num_keep" in said:
        body["n_keep"] = max(said["num_keep"], -1)
    if "seed" in said:
        body["seed"] = said["seed"] % _SEEDS
    return body


def embedding(texts: list[str] | list[list[int]], *, normalize: bool) -> bytes:
    """The body of an embedding request, for texts or for their tokens."""
    return encode({"input": texts, "encoding_format": "base64", "embd_normalize": 2 if normalize else -1})


def rerank(query: str, documents: Sequence[str]) -> bytes:
    """The body of a re-ranking request."""
    return encode({"query": query, "documents": documents})


def logit(chance: float) -> float:
    """The logit whose sigmoid is this chance; of a sure thing, the largest that 32-bit floats tell apart."""
    inside = min(max(chance, _LEAST_CHANCE), 1 - _LEAST_CHANCE)
    return math.log(inside / (1 - inside))


def trial(ids: Sequence[int], tokens: int) -> bytes:
    """The body of a prompt that the first slot answers with so many tokens, for no more than the times that takes."""
    fixed = {"stream": True, "temperature": 0.0, "ignore_eos": True, "id_slot": 0}
    return encode({"prompt": list(ids), "n_predict": tokens, **fixed})


def next_token(ids: Sequence[int], count: int, letter: int, slot: int = -1) -> bytes:
    """The body of a question for the `count` likeliest tokens behind these; the answer is one token, the `letter`.

    An answer that were half a character would tell nothing; probabilities are those before the bias.
    """
    fixed = {"stream": True, "n_predict": 1, "temperature": 0.0, "logit_bias": [[letter, _SURE]], "n_probs": count}
    return encode({"prompt": list(ids), **fixed, **({"id_slot": slot} if slot >= 0 else {})})


def likeliest(chunks: Iterable[bytes]) -> Sequence[Likely]:
    """What the answer to such a question tells: tokens, the likeliest first. Raises what the engine's error means."""
    for chunk in map(decode_chunk, chunks):
        if bytes(chunk.error):
            raise refusal(chunk.error)
        logprobs = chunk.choices[0].logprobs if chunk.choices else None
        if logprobs is not None and logprobs.content:
            return logprobs.content[0].top_logprobs
    raise EngineFailed("llama.cpp told no probabilities")


def is_greedy(job: Job) -> bool:
    """Whether the likeliest token is always the one that is said."""
    said = job.options
    neutral = said.repeat_penalty in (None, 1.0) and not said.presence_penalty and not said.frequency_penalty
    bent = said.dry_multiplier or said.xtc_probability or said.ignore_eos or job.logit_bias or job.grammar
    return said.temperature == 0.0 and neutral and not bent


def said(token: Likely, top: int) -> TokenLogprob:
    """A token that was said, and as many of its alternatives."""
    return TokenLogprob(logprob(token), tuple(logprob(other) for other in token.top_logprobs[:top]))


def logprob(token: Likely) -> Logprob:
    """A token's log-probability: never above 0, and a number for an impossible one, too."""
    value = _LEAST_LOGPROB if token.logprob is None else max(token.logprob, _LEAST_LOGPROB)
    return Logprob(token.token, bytes(token.bytes), min(value, 0.0))


def outcome(job: Job, last: Chunk, tokens: Sequence[int] | None = None) -> Outcome:
    """How a generation ended, from its last chunk. `tokens` are those that were told, all in all."""
    timings = last.timings or Timings()
    told = last.verbose or Verbose()
    # The one that ended it has no text and is no part of it.
    ids = None if tokens is None or told.stopping_word else tuple(tokens[:-1] if told.stop_type == "eos" else tokens)
    return Outcome(
        reason="length" if last.reason == "length" or job.max_tokens == 0 else "stop",
        prompt_tokens=timings.prompt_n + timings.cache_n,
        cached_tokens=timings.cache_n,
        output_tokens=0 if job.max_tokens == 0 else timings.predicted_n,
        prompt_ns=int(timings.prompt_ms * 1e6),
        output_ns=int(timings.predicted_ms * 1e6),
        stop_text=told.stopping_word,
        tokens=ids,
        draft_tokens=timings.draft_n,
        accepted_tokens=timings.draft_n_accepted,
    )


def refusal(error: bytes | msgspec.Raw) -> PowerError:
    """The engine's error as one of ours; about a bad request it keeps the engine's JSON, which clients know."""
    detail = msgspec.json.decode(error, type=_Error)
    if detail.type == "exceed_context_size_error":
        return PromptTooLong(_as_text(error), detail.n_prompt_tokens)
    if detail.code < 500 or detail.type == "not_supported_error":
        return EngineRefused(_as_text(error))
    return EngineFailed(detail.message)


def refusal_in(body: bytes) -> PowerError:
    """The error in the body of an HTTP answer."""
    try:
        return refusal(msgspec.json.decode(body, type=_ErrorBody).error)
    except msgspec.MsgspecError:
        return EngineFailed(f"llama.cpp answered {body[:200]!r}")


def refused(message: str) -> EngineRefused:
    """What the engine would answer to a bad request, said before it is asked."""
    return EngineRefused(_as_text(encode({"code": 400, "message": message, "type": "invalid_request_error"})))


def _as_text(error: bytes | msgspec.Raw) -> str:
    return '{"error":' + bytes(error).decode(errors="replace") + "}"
