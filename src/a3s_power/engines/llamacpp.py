"""The engine llama.cpp, by the xllamacpp wheel: text and vectors by callbacks, the rest over a private socket."""

import base64
import math
import platform
import sys
import threading
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from a3s_power.core.errors import EngineFailed, EngineMissing, LoadFailed, PromptTooLong
from a3s_power.core.model import Facts, ModelFiles
from a3s_power.engines import llamacpp_media
from a3s_power.engines import llamacpp_wire as wire
from a3s_power.engines.engine import Job, Loaded, LoadOptions, Outcome, Piece, Scores, Vectors
from a3s_power.engines.llamacpp_judge import judged
from a3s_power.engines.llamacpp_logprobs import Ask
from a3s_power.engines.llamacpp_params import (
    Machine,
    Settings,
    gpu_bytes,
    memory_bytes,
    refuse_too_large,
    settings,
)
from a3s_power.engines.llamacpp_socket import EngineSocket, Listener, listener
from a3s_power.engines.llamacpp_stream import Stream
from a3s_power.gguf.facts import facts as read_facts
from a3s_power.gguf.layout import Header
from a3s_power.gguf.reader import read_header
from a3s_power.gguf.vocabulary import Vocabulary

_NEEDED: Final = ("avx2", "f16c", "fma", "bmi2")
_X86: Final = frozenset({"x86_64", "AMD64", "i686"})
_LIKELIEST: Final = 100
"""Among so many tokens one that was said is looked for."""
_HTTP_THREADS: Final = 2
_CHANCES: Final = frozenset({"qwen3", "qwen3vl"})
_RANK_SPECIALS: Final = 4
"""Tokens at most between and around a query and a document that no template joins."""


class LlamaCpp:
    """One GGUF in this process. It is never unloaded: the process ends instead."""

    def __init__(self) -> None:
        self._server: Any = None
        self._socket: EngineSocket
        self._facts: Facts
        self._context = 0
        self._limit = 0
        self._bos = ""
        self._eos = ""
        self._ends: tuple[list[int], list[int]] = ([], [])
        self._ranking = ""
        self._weights = ""
        self._reading = threading.Lock()
        self._pieces: tuple[Vocabulary | None] | None = None
        self._marker = ""

    def load(self, files: ModelFiles, options: LoadOptions, report: Callable[[float], None]) -> Loaded:
        """Load the model. While it does, no other Python code runs in this process; the engine prints its progress."""
        library = _library()
        header, self._weights = _header(files.weights), files.weights
        self._facts, self._ranking = read_facts(header), header.text("tokenizer.chat_template.rerank")
        machine = _machine(library)
        chosen = settings(options, self._facts, machine)
        projector = "" if chosen.embedding else _projector(files)
        memory = memory_bytes(self._facts, chosen, _size(projector))
        refuse_too_large(memory, machine)
        _tell_of_unused(files)
        where = listener()
        try:
            parameters = _parameters(library, chosen, files, where)
            if projector:
                _add_projector(parameters, projector, chosen, self._facts.architecture)
            self._server = library.Server(parameters)
        except (RuntimeError, ValueError, TypeError) as error:
            # It never says why; what it printed does, and the parent has that.
            raise LoadFailed("llama.cpp could not load the model") from error
        self._socket = EngineSocket(where, self._server.listening_address)
        self._look_around()
        self._limit = min(self._context, options.context_length or self._context)
        report(1.0)
        return Loaded(
            context_length=self._context,
            parallel=chosen.parallel,
            memory_bytes=memory,
            gpu_bytes=gpu_bytes(memory, self._facts, chosen, machine),
            bos=self._bos,
            eos=self._eos,
            adds_bos=bool(self._ends[0]),
            chat_template=self._facts.chat_template,
            media_marker=self._marker,
        )

    def _look_around(self) -> None:
        props = self._socket.ask("/props")
        self._context = props["default_generation_settings"]["n_ctx"]
        self._bos, self._eos = props["bos_token"], props["eos_token"]
        self._marker = props["media_marker"] if any(props["modalities"].values()) else ""
        self._ends = _split(self._tokens("a", special=True, ends=True), self._tokens("a", special=True, ends=False))

    def generate(self, job: Job, emit: Callable[[Piece], None]) -> Outcome:
        """Answer a prompt, piece by piece."""
        if any(not 0 <= token < self._facts.vocabulary for token, _ in job.logit_bias):
            raise wire.refused("logit_bias names a token that the vocabulary does not have")
        if job.media:
            return self._generate_with_media(job, emit)
        stream = Stream(job, emit, vocabulary=self._vocabulary(job))
        prompt = self._prompt(job.prompt)
        self._server.handle_completions(wire.completion(job, prompt, self._context), stream.take)
        return stream.outcome(self._asker(prompt, job))

    def _generate_with_media(self, job: Job, emit: Callable[[Piece], None]) -> Outcome:
        stream = Stream(job, emit, llamacpp_media.decode_chunk, self._vocabulary(job))
        self._ask_with_media(job, stream.take)
        return stream.outcome()

    def _ask_with_media(self, job: Job, take: Callable[[bytes], bool]) -> None:
        text = self._prompt(job.prompt)
        if not isinstance(text, str):
            raise wire.refused("Prompts of token ids have no place for images")
        body = wire.completion(job, llamacpp_media.prompt(text, job.media), self._context)
        self._socket.stream(llamacpp_media.ROUTE, body, take, lambda: job.cancelled)

    def count(self, job: Job) -> int:
        """How many tokens a prompt with media is: what the engine tells before it reads any of them."""
        counter = llamacpp_media.Counter()
        self._ask_with_media(job, counter.take)
        return counter.tokens

    def _vocabulary(self, job: Job) -> Vocabulary | None:
        """The bytes of all tokens, read when log-probabilities are asked for the first time."""
        if job.top_logprobs is None:
            return None
        with self._reading:
            if self._pieces is None:
                self._pieces = (Vocabulary.of(read_header(self._weights, arrays=True)),)
            return self._pieces[0]

    def _asker(self, prompt: str | list[int], job: Job) -> Ask | None:
        """What tells the likeliest tokens behind a prompt and the beginning of its answer."""
        vocabulary, before = self._vocabulary(job), list[int]()
        if vocabulary is None:
            return None

        def ask(ids: Sequence[int]) -> Sequence[wire.Likely]:
            if not before:
                before.extend(self._tokens(prompt, special=True, ends=True) if isinstance(prompt, str) else prompt)
            if job.cancelled or len(before) + len(ids) >= self._context:
                return ()
            return self._likeliest([*before, *ids], vocabulary.letter, max(_LIKELIEST, job.top_logprobs or 0))

        return ask

    def _prompt(self, prompt: str | Sequence[int]) -> str | list[int]:
        if not isinstance(prompt, str):
            self._check(prompt)
            return list(prompt)
        # The engine puts the first token there itself, whether or not the text has it.
        return prompt.removeprefix(self._bos) if self._bos and self._ends[0] else prompt

    def embed(self, texts: Sequence[str], *, truncate: bool, normalize: bool) -> Vectors:
        """Vectors of texts; they are counted only where the engine could not, or would not, take them whole."""
        if self._facts.ranks:
            # The engine would take what lies in memory behind the one score for a vector.
            raise wire.refused("the model ranks texts and makes no vectors")
        # Its contexts have a least size, so a smaller one that was asked for is ours to keep.
        if self._limit == self._context:
            try:
                return self._embed(wire.embedding(list(texts), normalize=normalize))
            except EngineFailed:
                if all(len(self._tokens(text, special=True, ends=True)) <= self._limit for text in texts):
                    raise
        whole = [self._tokens(text, special=True, ends=True) for text in texts]
        cut = tuple(index for index, tokens in enumerate(whole) if len(tokens) > self._limit)
        if cut and not truncate:
            raise PromptTooLong("the input length exceeds the context length")
        vectors = self._embed(wire.embedding([self._cut(tokens) for tokens in whole], normalize=normalize))
        return msgspec.structs.replace(vectors, cut=cut)

    def _embed(self, body: bytes) -> Vectors:
        answer = wire.decode_embeddings(self._server.handle_embeddings(body))
        if bytes(answer.error):
            raise wire.refusal(answer.error)
        rows = tuple(tuple(array("f", base64.b64decode(vector.embedding)).tolist()) for vector in answer.data)
        if not all(math.isfinite(value) for row in rows for value in row):
            raise EngineFailed("the model made a vector that has no numbers in it")
        return Vectors(rows=rows, prompt_tokens=answer.usage.prompt_tokens if answer.usage else 0)

    def _cut(self, tokens: list[int]) -> list[int]:
        """A text's tokens; of one that does not fit, those before the special ones at its end are left out."""
        if len(tokens) <= self._limit:
            return tokens
        last = self._ends[1]
        return tokens[: self._limit - len(last)] + last

    def rerank(self, query: str, documents: Sequence[str], *, truncate: bool) -> Scores:
        """How well documents answer a query; they are counted only where the engine could not take them whole."""
        if not self._facts.ranks:
            return judged(
                query, documents, tokens=self._judged, ask=self._likeliest, limit=self._limit - 1, truncate=truncate
            )
        if self._limit == self._context:
            try:
                return self._rank(query, documents, documents)
            except EngineFailed:
                if all(len(self._tokens(text, special=False, ends=False)) <= self._room(query) for text in documents):
                    raise
        return self._rank(query, documents, [self._shortened(query, text, truncate=truncate) for text in documents])

    def _judged(self, text: str, special: bool) -> list[int]:  # noqa: FBT001 -- as `judged` wants it
        return self._tokens(text, special=special, ends=False)

    def _likeliest(self, ids: Sequence[int], letter: int, count: int = _LIKELIEST) -> Sequence[wire.Likely]:
        """The likeliest tokens behind these, best first. The engine says `letter` to it, a token that is a text."""
        chunks: list[bytes] = []

        def take(data: bytes) -> bool:
            chunks.append(data)
            return False

        self._server.handle_completions(wire.next_token(ids, count, letter), take)
        return wire.likeliest(chunks)

    def _rank(self, query: str, documents: Sequence[str], cut: Sequence[str]) -> Scores:
        """The scores of the documents as they were cut."""
        answer = wire.decode_ranking(self._server.handle_rerank(wire.rerank(query, cut)))
        if bytes(answer.error):
            raise wire.refusal(answer.error)
        said = {result.index: result.relevance_score for result in answer.results}
        scores = [score for at in range(len(documents)) if (score := said.get(at)) is not None]
        if len(scores) != len(documents):
            raise EngineFailed("the model made a score that is no number")
        # Of these families the engine gives the chance of a yes.
        as_logit = wire.logit if self._facts.architecture in _CHANCES else float
        return Scores(
            logits=tuple(as_logit(score) for score in scores),
            truncated=tuple(text is not whole for text, whole in zip(cut, documents, strict=True)),
            prompt_tokens=answer.usage.prompt_tokens if answer.usage else 0,
        )

    def _shortened(self, query: str, document: str, *, truncate: bool) -> str:
        """As much of a document as fits beside the query."""
        room = self._room(query)
        tokens = self._tokens(document, special=False, ends=False)
        if len(tokens) <= room:
            return document
        if not truncate or room <= 0:
            raise PromptTooLong("the input length exceeds the context length")
        # What was cut between two tokens may be read as more of them.
        for end in range(room, 0, -1):
            text = self.detokenize(tokens[:end])
            if len(self._tokens(text, special=False, ends=False)) <= room:
                return text
        return ""

    def _room(self, query: str) -> int:
        """How many tokens of a document fit beside the query and what the engine puts around them."""
        around = self._tokens(self._ranking, special=True, ends=True) if self._ranking else ()
        return self._limit - len(self._tokens(query, special=False, ends=False)) - len(around) - _RANK_SPECIALS

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of a text, nothing added."""
        return self._tokens(text, special=special, ends=False)

    def _tokens(self, text: str, *, special: bool, ends: bool) -> list[int]:
        asked = {"content": text, "add_special": ends, "parse_special": special}
        tokens: list[int] = self._socket.ask("/tokenize", asked)["tokens"]
        return tokens

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids. Raises EngineRefused for one that the vocabulary does not have."""
        self._check(tokens)
        text: str = self._socket.ask("/detokenize", {"tokens": list(tokens)})["content"]
        return text

    def _check(self, tokens: Sequence[int]) -> None:
        if any(not 0 <= token < self._facts.vocabulary for token in tokens):
            raise wire.refused("Prompt contains invalid tokens")

    def close(self) -> None:
        """Only the end of the process gives everything back; unloading would leak, and would wait for stdin."""


def _library() -> Any:  # noqa: ANN401 -- has no types
    """The library, on a processor that can run it: on any other, importing it or its first sum kills the process."""
    missing = missing_features(_cpuinfo()) if platform.machine() in _X86 else ()
    if missing:
        needs = ", ".join(missing)
        raise EngineMissing(f"llama.cpp's prebuilt library needs a processor with {needs}; build xllamacpp from source")
    try:
        # In a child only, and only when a model is loaded: 100 MB of native code.
        import xllamacpp  # noqa: PLC0415
    except ImportError as error:
        raise EngineMissing(f"llama.cpp's library (xllamacpp) cannot be imported: {error}") from error
    return xllamacpp


def missing_features(cpuinfo: str) -> tuple[str, ...]:
    """Which instructions of the library this processor lacks, by `/proc/cpuinfo`; none where that says nothing."""
    flags = next((line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags")), None)
    return () if flags is None else tuple(name for name in _NEEDED if name not in flags)


def _cpuinfo() -> str:
    return Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""


def _header(weights: str) -> Header:
    try:
        return read_header(weights)
    except OSError as error:
        raise LoadFailed(f"the model's file cannot be opened: {error.strerror}") from error


def _tell_of_unused(files: ModelFiles) -> None:
    unused = {"second projector": files.projectors[1:], "draft model": files.draft}
    for name, is_there in unused.items():
        if is_there:
            _log(f"the model's {name} is not used by this version")


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 -- a child's stderr is its log


def _projector(files: ModelFiles) -> str:
    return files.projectors[0] if files.projectors else ""


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size if path else 0
    except OSError as error:
        raise LoadFailed(f"the model's projector cannot be opened: {error.strerror}") from error


def _add_projector(parameters: Any, projector: str, chosen: Settings, architecture: str) -> None:  # noqa: ANN401
    parameters.mmproj.path = projector
    parameters.mmproj_use_gpu = chosen.gpu_layers != 0
    parameters.image_min_tokens = llamacpp_media.least_tokens(architecture)
    # Each generation with an image holds one of them from its beginning to its end.
    parameters.n_threads_http = _HTTP_THREADS + chosen.parallel
    if chosen.shift:
        parameters.ctx_shift = False
        _log("with a projector the context cannot be shifted: an answer ends where it is full")


def _machine(library: Any) -> Machine:  # noqa: ANN401
    """Asked before the load only: afterwards it would silence the engine's log."""
    devices = library.get_device_info()
    gpus = [device for device in devices if device["type"].name.endswith("_GPU")]
    return Machine(
        x86=platform.machine() in _X86,
        memory_bytes=sum(device["memory_total"] for device in devices),
        gpu_free_bytes=sum(gpu["memory_free"] for gpu in gpus),
    )


def _parameters(library: Any, chosen: Settings, files: ModelFiles, where: Listener) -> Any:  # noqa: ANN401
    x, p = library, library.CommonParams()
    p.model.path = files.weights
    p.model_alias = {"model"}
    p.n_ctx, p.n_parallel = chosen.context * chosen.parallel, chosen.parallel
    p.n_batch, p.n_ubatch = chosen.batch, chosen.micro_batch
    p.cpuparams.n_threads, p.cpuparams_batch.n_threads = chosen.threads, chosen.threads_batch
    p.n_gpu_layers, p.fit_params, p.warmup = chosen.gpu_layers, chosen.fit, chosen.warm_up
    p.load_mode = x.llama_load_mode[f"LLAMA_LOAD_MODE_{chosen.load_mode}"]
    p.no_extra_bufts = not chosen.repack
    p.flash_attn_type = x.llama_flash_attn_type[f"LLAMA_FLASH_ATTN_TYPE_{chosen.flash_attention}"]
    p.cache_type_k = p.cache_type_v = x.ggml_type[f"GGML_TYPE_{chosen.cache_type.upper()}"]
    p.cache_ram_mib, p.ctx_shift, p.embedding = chosen.prompt_cache_mib, chosen.shift, chosen.embedding
    if chosen.ranks:
        # It would rank without this, too, but refuses to be asked.
        p.pooling_type = x.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    if chosen.last_token_pooling:
        p.pooling_type = x.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    if chosen.main_gpu is not None:
        p.main_gpu, p.split_mode = chosen.main_gpu, x.llama_split_mode.LLAMA_SPLIT_MODE_NONE
    if chosen.tensor_split:
        p.tensor_split = [*chosen.tensor_split, *[0.0] * (len(p.tensor_split) - len(chosen.tensor_split))]
    p.lora_adapters = [x.CommonAdapterLoraInfo(path, scale) for path, scale in files.adapters]
    # 0 would silence errors, too.
    p.verbosity = 1
    p.ui, p.endpoint_props, p.n_threads_http = False, False, _HTTP_THREADS
    if where.path:
        p.hostnames = [where.path]
    else:
        p.hostnames, p.port, p.api_keys = ["127.0.0.1"], 0, [where.key]
    return p


def _split(whole: list[int], inner: list[int]) -> tuple[list[int], list[int]]:
    """The special tokens that the vocabulary puts before and behind a text."""
    for at in range(len(whole) - len(inner) + 1):
        if whole[at : at + len(inner)] == inner:
            return whole[:at], whole[at + len(inner) :]
    raise LoadFailed("the model's vocabulary changes a text between its first and last token")
