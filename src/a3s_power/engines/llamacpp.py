"""The engine llama.cpp, by the xllamacpp wheel: text and vectors by callbacks, the rest over a private socket."""

import base64
import math
import platform
import sys
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from a3s_power.core.errors import EngineFailed, EngineMissing, LoadFailed, PromptTooLong
from a3s_power.core.model import Facts, ModelFiles
from a3s_power.engines import llamacpp_wire as wire
from a3s_power.engines.engine import Job, Loaded, LoadOptions, Outcome, Piece, Vectors
from a3s_power.engines.llamacpp_params import (
    Machine,
    Settings,
    gpu_bytes,
    memory_bytes,
    refuse_too_large,
    settings,
)
from a3s_power.engines.llamacpp_socket import EngineSocket, Listener, listener
from a3s_power.gguf.facts import facts as read_facts
from a3s_power.gguf.reader import read_header

_NEEDED: Final = ("avx2", "f16c", "fma", "bmi2")
_X86: Final = frozenset({"x86_64", "AMD64", "i686"})
_HTTP_THREADS: Final = 2


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

    def load(self, files: ModelFiles, options: LoadOptions, report: Callable[[float], None]) -> Loaded:
        """Load the model. While it does, no other Python code runs in this process; the engine prints its progress."""
        library = _library()
        self._facts = _facts(files.weights)
        machine = _machine(library)
        chosen = settings(options, self._facts, machine)
        memory = memory_bytes(self._facts, chosen)
        refuse_too_large(memory, machine)
        _tell_of_unused(files)
        where = listener()
        try:
            self._server = library.Server(_parameters(library, chosen, files, where))
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
        )

    def _look_around(self) -> None:
        props = self._socket.ask("/props")
        self._context = props["default_generation_settings"]["n_ctx"]
        self._bos, self._eos = props["bos_token"], props["eos_token"]
        self._ends = _split(self._tokens("a", special=True, ends=True), self._tokens("a", special=True, ends=False))

    def generate(self, job: Job, emit: Callable[[Piece], None]) -> Outcome:
        """Answer a prompt, piece by piece."""
        stream = _Stream(job, emit)
        self._server.handle_completions(wire.completion(job, self._prompt(job.prompt), self._context), stream.take)
        return stream.outcome()

    def _prompt(self, prompt: str | Sequence[int]) -> str | list[int]:
        if not isinstance(prompt, str):
            self._check(prompt)
            return list(prompt)
        # The engine puts the first token there itself, whether or not the text has it.
        return prompt.removeprefix(self._bos) if self._bos and self._ends[0] else prompt

    def embed(self, texts: Sequence[str], *, truncate: bool, normalize: bool) -> Vectors:
        """Vectors of texts; they are counted only where the engine could not, or would not, take them whole."""
        # Its contexts have a least size, so a smaller one that was asked for is ours to keep.
        if self._limit == self._context:
            try:
                return self._embed(wire.embedding(list(texts), normalize=normalize))
            except EngineFailed:
                if all(len(self._tokens(text, special=True, ends=True)) <= self._limit for text in texts):
                    raise
        cut = [self._cut(text, truncate=truncate) for text in texts]
        return self._embed(wire.embedding(cut, normalize=normalize))

    def _embed(self, body: bytes) -> Vectors:
        answer = wire.decode_embeddings(self._server.handle_embeddings(body))
        if bytes(answer.error):
            raise wire.refusal(answer.error)
        rows = tuple(tuple(array("f", base64.b64decode(vector.embedding)).tolist()) for vector in answer.data)
        if not all(math.isfinite(value) for row in rows for value in row):
            raise EngineFailed("the model made a vector that has no numbers in it")
        return Vectors(rows=rows, prompt_tokens=answer.usage.prompt_tokens if answer.usage else 0)

    def _cut(self, text: str, *, truncate: bool) -> list[int]:
        """The text's tokens; of one that does not fit, those before the special ones at its end are left out."""
        tokens = self._tokens(text, special=True, ends=True)
        if len(tokens) <= self._limit:
            return tokens
        if not truncate:
            raise PromptTooLong("the input length exceeds the context length")
        last = self._ends[1]
        return tokens[: self._limit - len(last)] + last

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


class _Stream:
    """The callback of one generation: hands pieces on, and keeps what went wrong, which the library would swallow."""

    def __init__(self, job: Job, emit: Callable[[Piece], None]) -> None:
        self._job = job
        self._emit = emit
        self._last: wire.Chunk | None = None
        self._error: BaseException | None = None

    def take(self, data: bytes) -> bool:
        """Take a chunk. True ends the generation, and nothing else may ever be true here."""
        try:
            return self._take(wire.decode_chunk(data))
        except BaseException as error:  # noqa: BLE001 -- raised again by `outcome`, in the same thread
            self._error = error
            return True

    def _take(self, chunk: wire.Chunk) -> bool:
        if bytes(chunk.error):
            raise wire.refusal(chunk.error)
        if self._job.cancelled:
            return True
        piece = chunk.piece(top=self._job.top_logprobs)
        if piece is not None and self._job.max_tokens != 0:
            self._emit(piece)
        if chunk.reason is not None:
            self._last = chunk
        return False

    def outcome(self) -> Outcome:
        """How it ended. Raises what the engine, or whoever took the pieces, raised."""
        if self._error is not None:
            raise self._error
        if self._last is None and not self._job.cancelled:
            raise EngineFailed("llama.cpp ended a generation without a word")
        return wire.outcome(self._job, self._last or wire.Chunk())


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


def _facts(weights: str) -> Facts:
    try:
        return read_facts(read_header(weights))
    except OSError as error:
        raise LoadFailed(f"the model's file cannot be opened: {error.strerror}") from error


def _tell_of_unused(files: ModelFiles) -> None:
    unused = {"projector": files.projectors, "draft model": files.draft}
    for name, is_there in unused.items():
        if is_there:
            print(f"the model's {name} is not used by this version", file=sys.stderr, flush=True)  # noqa: T201 -- its log


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
