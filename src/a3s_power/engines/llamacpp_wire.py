"""What goes to llama.cpp for one request and what comes back: bodies, chunks, errors.

Fields it does not know are ignored without a word, so only those are sent that this build is known to read. It enforces
no schema on every vocabulary, so none is ever sent.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from a3s_power.core.errors import EngineFailed, EngineRefused, PowerError, PromptTooLong
from a3s_power.core.events import Logprob, TokenLogprob
from a3s_power.engines.engine import Job, Outcome, Piece

_LEAST_LOGPROB: Final = -9999.0
_SEEDS: Final = 2**32


class _Likely(msgspec.Struct):
    token: str = ""
    bytes: list[int] = []
    logprob: float | None = None
    top_logprobs: list["_Likely"] = []


class _Logprobs(msgspec.Struct):
    content: list[_Likely] = []


class _Choice(msgspec.Struct):
    text: str = ""
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Timings(msgspec.Struct):
    cache_n: int = 0
    prompt_n: int = 0
    prompt_ms: float = 0.0
    predicted_n: int = 0
    predicted_ms: float = 0.0


class Chunk(msgspec.Struct):
    """One call of the engine's callback: a piece, the last word, progress of the prompt, or an error."""

    choices: list[_Choice] = []
    timings: _Timings | None = None
    error: msgspec.Raw = msgspec.Raw()

    @property
    def reason(self) -> str | None:
        """Why the generation ended; `None` while it goes on."""
        return self.choices[0].finish_reason if self.choices else None

    def piece(self, *, top: int | None) -> Piece | None:
        """The piece of text in it; `None` when it has none and no log-probabilities either."""
        if not self.choices:
            return None
        choice = self.choices[0]
        if choice.logprobs is None or top is None:
            return Piece(choice.text) if choice.text else None
        return Piece(choice.text, tuple(_said(token, top) for token in choice.logprobs.content))


class _Error(msgspec.Struct):
    code: int = 500
    message: str = ""
    type: str = ""


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


decode_chunk: Final = msgspec.json.Decoder(Chunk).decode
decode_embeddings: Final = msgspec.json.Decoder(Embeddings).decode
encode: Final = msgspec.json.Encoder().encode


def completion(job: Job, prompt: str | list[int], context: int) -> bytes:
    """The body of a generation. `context` is that of a slot, in tokens."""
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
    if job.visible:
        body["preserved_tokens"] = list(job.visible)
    if job.top_logprobs is not None:
        body["n_probs"] = max(job.top_logprobs, 1)
    return encode(body)


_AS_THEY_ARE: Final = (
    *("top_k", "top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty"),
    *("frequency_penalty", "mirostat", "mirostat_tau", "mirostat_eta"),
)


def _sampling(said: Mapping[str, Any], context: int) -> dict[str, Any]:
    """The options under the engine's names, within what it takes."""
    body = {name: said[name] for name in _AS_THEY_ARE if name in said}
    if "repeat_last_n" in said:
        # -1 is the whole context to Ollama and an error here.
        last = said["repeat_last_n"]
        body["repeat_last_n"] = context if last < 0 else min(last, context)
    if "num_keep" in said:
        body["n_keep"] = max(said["num_keep"], -1)
    if "seed" in said:
        body["seed"] = said["seed"] % _SEEDS
    return body


def embedding(texts: list[str] | list[list[int]], *, normalize: bool) -> bytes:
    """The body of an embedding request, for texts or for their tokens."""
    return encode({"input": texts, "encoding_format": "base64", "embd_normalize": 2 if normalize else -1})


def _said(token: _Likely, top: int) -> TokenLogprob:
    return TokenLogprob(_logprob(token), tuple(_logprob(other) for other in token.top_logprobs[:top]))


def _logprob(token: _Likely) -> Logprob:
    logprob = _LEAST_LOGPROB if token.logprob is None else max(token.logprob, _LEAST_LOGPROB)
    return Logprob(token.token, bytes(token.bytes), min(logprob, 0.0))


def outcome(job: Job, last: Chunk) -> Outcome:
    """How a generation ended, from its last chunk."""
    timings = last.timings or _Timings()
    return Outcome(
        reason="length" if last.reason == "length" or job.max_tokens == 0 else "stop",
        prompt_tokens=timings.prompt_n + timings.cache_n,
        cached_tokens=timings.cache_n,
        output_tokens=0 if job.max_tokens == 0 else timings.predicted_n,
        prompt_ns=int(timings.prompt_ms * 1e6),
        output_ns=int(timings.predicted_ms * 1e6),
    )


def refusal(error: bytes | msgspec.Raw) -> PowerError:
    """The engine's error as one of ours; about a bad request it keeps the engine's JSON, which clients know."""
    detail = msgspec.json.decode(error, type=_Error)
    if detail.type == "exceed_context_size_error":
        return PromptTooLong(_as_text(error))
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
