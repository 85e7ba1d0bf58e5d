"""The Engine port: what a library that runs models has to offer, and the values it is asked with."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from a3s_power.core.errors import PromptTooLong
from a3s_power.core.events import TokenLogprob
from a3s_power.core.model import ModelFiles
from a3s_power.core.options import Bias, Options
from a3s_power.engines.tuning import Prefer, Rates

Draft = Literal["", "model", "ngram"]


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is loaded. Numbers are final here: whoever plans the load has resolved what was automatic.

    `context_length` is in tokens for each of the `parallel` slots; `batch` in tokens; `gpu_layers` -1 means as many
    as fit, with `gpu_reserve` bytes left free on each card; `None` leaves a choice to the engine. `shift` lets a full
    context drop its oldest half and go on. `program` is the path of an engine that is a program of its own, `arguments`
    what its operator adds to its command line.
    `draft` is who guesses ahead, `draft_tokens` at a time: nobody, the files' draft model, or what was said before.
    `tuning` is what was measured of settings here, among which the engine chooses for `prefer`; `repack` settles
    whether the weights are rearranged in memory.
    """

    context_length: int
    parallel: int = 1
    batch: int | None = None
    threads: int = 1
    threads_batch: int = 1
    gpu_layers: int = -1
    main_gpu: int | None = None
    tensor_split: tuple[float, ...] = ()
    gpu_reserve: int | None = None
    use_mmap: bool | None = None
    use_mlock: bool = False
    flash_attention: bool | None = None
    kv_cache_type: str = "f16"
    prompt_cache_mib: int = 0
    shift: bool = True
    embedding: bool = False
    program: str = ""
    arguments: tuple[str, ...] = ()
    draft: Draft = ""
    draft_tokens: int = 0
    repack: bool | None = None
    tuning: tuple[Rates, ...] = ()
    prefer: Prefer = "speed"

    @property
    def least_threads(self) -> int:
        """Those that compute in every step, of prompts and of answers."""
        return min(self.threads, self.threads_batch)


class Forecast(msgspec.Struct, frozen=True):
    """What a load would take in main memory, all in all, and the part of it that only answers touch; in bytes."""

    memory_bytes: int
    untouched_bytes: int


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a load: the context the engine really gives a slot, and the bytes the model takes.

    `bos` and `eos` are those tokens as text, empty for a vocabulary that has none; with `adds_bos` the engine puts the
    first of them before every text. `chat_template` is the model's own, in Jinja, empty when it has none.
    `media_marker` is what stands in a prompt's text for an image or sound: random, so that no user can write it; empty
    for a model that takes none. `draft` is who guesses ahead after all, `draft_cost` what a guessed token costs beside
    an ordinary one, 0 where nobody knows; `note` says what of a wish came to nothing, and why.
    """

    context_length: int
    parallel: int
    memory_bytes: int
    gpu_bytes: int = 0
    bos: str = ""
    eos: str = ""
    adds_bos: bool = False
    chat_template: str = ""
    media_marker: str = ""
    draft: Draft = ""
    draft_cost: float = 0.0
    note: str = ""


class Piece(msgspec.Struct, frozen=True):
    """A piece of text as soon as the engine has it: whole characters, perhaps empty."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a generation ended. Times in nanoseconds; `prompt_tokens` counts cached ones too.

    `stop_text` is the one of the job's stop texts that ended it, empty when none did. `tokens` are the answer's ids,
    without the one that ended it, `None` where they were not asked for or the engine did not tell them all.
    `draft_tokens` were guessed ahead, `accepted_tokens` of them were right.
    """

    reason: Literal["stop", "length"]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    prompt_ns: int = 0
    output_ns: int = 0
    stop_text: str = ""
    tokens: tuple[int, ...] | None = None
    draft_tokens: int = 0
    accepted_tokens: int = 0


class Vectors(msgspec.Struct, frozen=True, kw_only=True):
    """Embeddings: one row of floats per text, the tokens of all texts together, and which texts were cut to fit."""

    rows: tuple[Sequence[float], ...]
    prompt_tokens: int
    cut: tuple[int, ...] = ()


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """How well documents answer a query: a logit for each, which of them were cut to fit, and the tokens of all."""

    logits: tuple[float, ...]
    truncated: tuple[bool, ...]
    prompt_tokens: int


class Job:
    """One generation. `cancelled` is set from another thread, once, and looked at between pieces.

    `options` are complete: every request option has its value. `max_tokens` is -1 for no limit but the context.
    `stop` texts end the answer and are not part of it. `visible` are special tokens that must appear as text.
    `top_logprobs` is `None` for no log-probabilities. `logit_bias` is token ids and what is added to their logits.
    With `want_tokens` the outcome has the answer's token ids. `grammar` is what the answer must follow, in GBNF; empty
    for none. `media` are files, one for each marker in the prompt, in their order: PNGs, or sound. `step` is to be
    called whenever the engine has gone forward, with a piece or with the prompt. `text` is that of a prompt of token
    ids, where it is known.
    """

    __slots__ = (
        *("cancelled", "logit_bias", "max_tokens", "options", "prompt", "stop", "top_logprobs", "visible"),
        *("grammar", "media", "step", "text", "want_tokens"),
    )

    def __init__(
        self,
        prompt: str | Sequence[int],
        options: Options,
        *,
        max_tokens: int = -1,
        stop: Sequence[str] = (),
        visible: Sequence[str] = (),
        top_logprobs: int | None = None,
        logit_bias: Bias = (),
        want_tokens: bool = False,
        grammar: str = "",
        media: Sequence[bytes] = (),
    ) -> None:
        self.prompt = prompt
        self.options = options
        self.max_tokens = max_tokens
        self.stop = stop
        self.visible = visible
        self.top_logprobs = top_logprobs
        self.logit_bias = logit_bias
        self.want_tokens = want_tokens
        self.media = media
        self.grammar = grammar
        self.text = ""
        self.cancelled = False
        self.step: Callable[[], None] = _nothing


def _nothing() -> None:
    """For a job that nobody watches."""


def prompt_too_long(tokens: int, limit: int) -> PromptTooLong:
    """What an engine raises for a prompt over its context, in the JSON text that clients of Ollama know."""
    message = f"request ({tokens} tokens) exceeds the available context size ({limit} tokens), try increasing it"
    detail = {"code": 400, "message": message, "type": "exceed_context_size_error"}
    counts = {"n_prompt_tokens": tokens, "n_ctx": limit}
    return PromptTooLong(msgspec.json.encode({"error": detail | counts}).decode(), tokens)


class Engine(Protocol):
    """A library that runs one model, in a child process of its own.

    Every method runs in a thread of the child and may block. `generate` is called from up to `parallel` threads at
    once: it hands each piece to `emit` as soon as it has it and looks at `job.cancelled` between pieces. Failures are
    members of `core.errors`: LoadFailed and its children from `load`, PromptTooLong and EngineRefused for a bad
    request, EngineFailed for the rest.
    """

    def load(self, files: ModelFiles, options: LoadOptions, report: Callable[[float], None]) -> Loaded:
        """Load the model; `report` takes the fraction done, 0 to 1."""
        ...

    def foretell(self, files: ModelFiles, options: LoadOptions) -> Forecast:
        """What a load would take; asked instead of a load. Raises EngineFailed where the engine cannot tell."""
        ...

    def generate(self, job: Job, emit: Callable[[Piece], None]) -> Outcome:
        """Answer a prompt. Raises PromptTooLong before anything is evaluated when it does not fit."""
        ...

    def count(self, job: Job) -> int:
        """How many tokens a prompt with media is; nothing is answered. Raises PromptTooLong as `generate`."""
        ...

    def embed(self, texts: Sequence[str], *, truncate: bool, normalize: bool) -> Vectors:
        """Vectors of texts, cut to the context when `truncate`, else PromptTooLong."""
        ...

    def rerank(self, query: str, documents: Sequence[str], *, truncate: bool) -> Scores:
        """How well documents answer a query, each cut to the context when `truncate`, else PromptTooLong."""
        ...

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of a text, without BOS; `special` reads special tokens' texts as those tokens."""
        ...

    def pieces(self, text: str) -> list[tuple[int, bytes]]:
        """Token ids of a text as `tokenize` tells them, each with its text, to which a vocabulary may add a blank."""
        ...

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        ...

    def keep_prompts(self, limit: int) -> int:
        """Write what the slots hold where the load said, at most about `limit` bytes; how many tokens that is.

        The next load of the same files goes on from there. Raises OSError, and EngineFailed.
        """
        ...

    def crowded(self, *, others: bool) -> None:
        """Other engines compute on the same processors from now on, or no more. Told by one thread only."""
        ...

    def close(self) -> None:
        """Give back what `load` took, as far as the engine can."""
        ...
