"""The engine llama.cpp, by the xllamacpp wheel: text and vectors by callbacks, the rest over a private socket."""

import base64
import math
import sys
import threading
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from a3s_power.core.errors import EngineFailed, LoadFailed, PromptTooLong
from a3s_power.core.model import Facts, ModelFiles
from a3s_power.engines import (
    llamacpp_draft,
    llamacpp_dry,
    llamacpp_library,
    llamacpp_media,
    llamacpp_memory,
    llamacpp_pages,
)
from a3s_power.engines import llamacpp_wire as wire
from a3s_power.engines.barriers import Barriers
from a3s_power.engines.engine import Forecast, Job, Loaded, LoadOptions, Outcome, Piece, Scores, Vectors
from a3s_power.engines.llamacpp_draft import Guessing
from a3s_power.engines.llamacpp_judge import judged
from a3s_power.engines.llamacpp_kept import KeptPrompts
from a3s_power.engines.llamacpp_library import Native
from a3s_power.engines.llamacpp_logprobs import Ask
from a3s_power.engines.llamacpp_memory import cache_bytes_a_token, gpu_bytes, memory_bytes
from a3s_power.engines.llamacpp_params import Machine, Settings, refuse_too_large, settings
from a3s_power.engines.llamacpp_ranking import Ranker
from a3s_power.engines.llamacpp_slots import ANY, Slots
from a3s_power.engines.llamacpp_socket import EngineSocket, listener
from a3s_power.engines.llamacpp_stream import Stream
from a3s_power.engines.llamacpp_tokens import Tokens
from a3s_power.gguf.facts import facts as read_facts
from a3s_power.gguf.layout import Header
from a3s_power.gguf.reader import read_header
from a3s_power.gguf.vocabulary import Vocabulary

_READERS: Final = 4
"""Of so many lists of texts at once the engine takes a piece in turn, whatever slots it has: nothing stays in those."""
_LIKELIEST: Final = 100
"""Among so many tokens one that was said is looked for."""


class LlamaCpp:
    """One GGUF in this process. It is never unloaded: the process ends instead."""

    def __init__(self) -> None:
        """All else there is from the load on."""
        self._server: Native
        self._socket: EngineSocket
        self._tokens: Tokens
        self._barriers: Barriers
        self._slots: Slots
        self._kept: KeptPrompts | None = None
        self._ranker: Ranker | None
        self._facts: Facts
        self._weights: str
        self._context: int
        self._limit: int
        self._bos: str
        self._reading = threading.Lock()
        self._pieces: tuple[Vocabulary | None] | None = None

    def load(self, files: ModelFiles, options: LoadOptions, report: Callable[[float], None]) -> Loaded:
        """Load the model. While it does, no other Python code runs in this process; the engine prints its progress."""
        machine = self._look(options)
        header, self._weights = _header(files.weights), files.weights
        self._facts = read_facts(header)
        chosen = settings(options, self._facts, machine)
        projector = files.projectors[0] if files.projectors and not chosen.embedding else ""
        chosen, draft, note = llamacpp_draft.fitted(chosen, files, projector)
        memory = memory_bytes(self._facts, chosen, _size(projector), sum(_size(path) for path, _ in files.adapters))
        memory += llamacpp_draft.memory_bytes(draft, chosen, self._facts.vocabulary)
        refuse_too_large(memory, machine)
        _tell_of_unused(files, chosen, projector)
        self._start(chosen, files, projector)
        if chosen.gives_back:
            _give_back(chosen, files)
        self._barriers = Barriers(options.least_threads)
        props = self._socket.ask("/props")
        self._bos, self._context = props["bos_token"], props["default_generation_settings"]["n_ctx"]
        self._limit = min(self._context, options.context_length or self._context)
        self._tokens = Tokens(self._socket, self._facts.vocabulary)
        self._slots = Slots(chosen.parallel)
        self._restore(files, chosen)
        guessing = self._guessing(chosen, draft, note)
        template = header.text("tokenizer.chat_template.rerank")
        self._ranker = Ranker(self._server, self._tokens, self._facts, template) if self._facts.ranks else None
        report(1.0)
        return Loaded(
            context_length=self._context,
            parallel=max(chosen.parallel, _READERS) if chosen.embedding else chosen.parallel,
            memory_bytes=memory,
            gpu_bytes=gpu_bytes(memory, self._facts, chosen, machine),
            bos=self._bos,
            eos=props["eos_token"],
            adds_bos=bool(self._tokens.first),
            chat_template=self._facts.chat_template,
            media_marker=props["media_marker"] if any(props["modalities"].values()) else "",
            draft=guessing.draft,
            draft_cost=guessing.cost,
            note=guessing.note,
        )

    def foretell(self, files: ModelFiles, options: LoadOptions) -> Forecast:
        """What a load would take, by the library's dry run."""
        if options.program:
            raise EngineFailed("an engine that is a program of its own has no dry run")
        facts = read_facts(_header(files.weights))
        chosen = settings(options, facts, self._look(options))
        projector = files.projectors[0] if files.projectors and not chosen.embedding else ""
        chosen, draft, _ = llamacpp_draft.fitted(chosen, files, projector)
        beside = sum(_size(path) for path, _ in files.adapters)
        beside += llamacpp_draft.memory_bytes(draft, chosen, facts.vocabulary)
        return llamacpp_dry.forecast(facts, chosen, files, _size(projector), beside)

    def _guessing(self, chosen: Settings, draft: Facts | None, note: str) -> Guessing:
        """Whether text is guessed ahead now, and what a guess costs."""
        if not chosen.draft:
            return Guessing(note=note)
        if llamacpp_draft.refused(self._socket.ask("/slots")):
            return Guessing(note="llama.cpp cannot guess ahead with this model")
        size = draft.weights_bytes / max(1, self._facts.weights_bytes) if draft is not None else 0.0
        return Guessing(chosen.draft, llamacpp_draft.cost(self._timed, chosen.draft_tokens, size=size))

    def _timed(self, ids: Sequence[int], say: int) -> wire.Timings:
        """Have the first slot read a prompt and say so many tokens, for no more than the times."""
        last = wire.Chunk()

        def take(data: bytes) -> bool:
            nonlocal last
            last = wire.decode_chunk(data)
            return False

        self._complete(wire.trial([token % self._facts.vocabulary for token in ids], say), take, _never)
        return last.timings or wire.Timings()

    def _look(self, options: LoadOptions) -> Machine:  # noqa: ARG002 -- another engine's needs them
        """The machine as the engine sees it. Raises EngineMissing where the engine cannot be used."""
        return llamacpp_library.machine(llamacpp_library.library())

    def _start(self, chosen: Settings, files: ModelFiles, projector: str) -> None:
        """Load the model into the engine, which answers from then on. Raises LoadFailed."""
        where, library = listener(), llamacpp_library.library()
        try:
            parameters = llamacpp_library.parameters(library, chosen, files, where)
            parameters.n_ctx_checkpoints = llamacpp_memory.checkpoints(self._facts, chosen)
            if projector:
                llamacpp_library.add_projector(parameters, projector, chosen, self._facts.architecture)
            self._server = library.Server(parameters)
        except (RuntimeError, ValueError, TypeError) as error:
            # It never says why; what it printed does, and the parent has that.
            raise LoadFailed("llama.cpp could not load the model") from error
        self._socket = EngineSocket(where, self._server.listening_address)

    def generate(self, job: Job, emit: Callable[[Piece], None]) -> Outcome:
        """Answer a prompt, piece by piece."""
        if not self._tokens.has([token for token, _ in job.logit_bias]):
            raise wire.refused("logit_bias names a token that the vocabulary does not have")
        if job.media:
            return self._generate_with_media(job, emit)
        prompt = self._prompt(job.prompt)
        # By its text: what was said in other tokens than that becomes goes on from the same slot.
        with self._slots.taken(self._prompt(job.text) if job.text else prompt) as slot:
            stream = Stream(job, slot.hearing(emit), vocabulary=self._vocabulary(job))
            body = wire.completion(job, prompt, self._context, slot.number)
            self._complete(body, stream.take, lambda: job.cancelled)
            return stream.outcome(self._asker(prompt, job, slot.number))

    def _restore(self, files: ModelFiles, chosen: Settings) -> None:
        """Go on with the prompts that were kept of an earlier load, if any are to be kept."""
        # What was kept has no cache of a draft model, which would have to have read it, too.
        if not files.prompts or chosen.embedding or chosen.draft == "model":
            return
        made_with = f"{chosen.cache_type} cache, flash attention {chosen.flash_attention}, {self._context} tokens"
        token_bytes = cache_bytes_a_token(self._facts, chosen.cache_type)
        self._kept = KeptPrompts(files.prompts, self._socket, made_with, token_bytes)
        self._slots.hold(self._kept.restore(chosen.parallel))

    def keep_prompts(self, limit: int) -> int:
        """Write what the slots hold, unless nothing was asked since they were read."""
        return self._kept.keep(self._slots.held, limit) if self._kept is not None and self._slots.used else 0

    def _complete(self, body: bytes, take: Callable[[bytes], bool], cancelled: Callable[[], bool]) -> None:  # noqa: ARG002
        """Hand on the chunks of an answer until `take` returns True; it does so for a job that is cancelled."""
        self._server.handle_completions(body, take)

    def _generate_with_media(self, job: Job, emit: Callable[[Piece], None]) -> Outcome:
        with self._slots.taken(self._prompt(job.prompt)) as slot:
            stream = Stream(job, slot.hearing(emit), llamacpp_media.decode_chunk, self._vocabulary(job))
            self._ask_with_media(job, stream.take, slot.number)
            return stream.outcome()

    def _ask_with_media(self, job: Job, take: Callable[[bytes], bool], slot: int = ANY) -> None:
        text = self._prompt(job.prompt)
        if not isinstance(text, str):
            raise wire.refused("Prompts of token ids have no place for images")
        body = wire.completion(job, llamacpp_media.prompt(text, job.media), self._context, slot)
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

    def _asker(self, prompt: str | list[int], job: Job, slot: int) -> Ask | None:
        """What tells the likeliest tokens behind a prompt and the beginning of its answer, which are in this slot."""
        vocabulary, before = self._vocabulary(job), list[int]()
        if vocabulary is None:
            return None

        def ask(ids: Sequence[int]) -> Sequence[wire.Likely]:
            if not before:
                before.extend(self._tokens.whole(prompt) if isinstance(prompt, str) else prompt)
            if job.cancelled or len(before) + len(ids) >= self._context:
                return ()
            return self._likeliest([*before, *ids], vocabulary.letter, max(_LIKELIEST, job.top_logprobs or 0), slot)

        return ask

    def _prompt(self, prompt: str | Sequence[int]) -> str | list[int]:
        if not isinstance(prompt, str):
            self._tokens.check(prompt)
            return list(prompt)
        # The engine puts the first token there itself, whether or not the text has it.
        return prompt.removeprefix(self._bos) if self._bos and self._tokens.first else prompt

    def embed(self, texts: Sequence[str], *, truncate: bool, normalize: bool) -> Vectors:
        """Vectors of texts; they are counted only where the engine could not, or would not, take them whole."""
        if self._facts.ranks:
            # The engine would take what lies in memory behind the one score for a vector.
            raise wire.refused("the model ranks texts and makes no vectors")
        # A model that could go on with a text has to have room for that.
        limit = min(self._limit, self._context - self._facts.causal)
        # Its contexts have a least size, so a smaller one that was asked for is ours to keep.
        if self._limit == self._context:
            try:
                return self._embed(wire.embedding(list(texts), normalize=normalize))
            except (EngineFailed, PromptTooLong):
                if all(len(self._tokens.whole(text)) <= limit for text in texts):
                    raise
        whole = [self._tokens.whole(text) for text in texts]
        cut = tuple(index for index, tokens in enumerate(whole) if len(tokens) > limit)
        if cut and not truncate:
            raise PromptTooLong("the input length exceeds the context length", max(map(len, whole)), limit)
        fitting = [self._tokens.cut(tokens, limit) for tokens in whole]
        vectors = self._embed(wire.embedding(fitting, normalize=normalize))
        return msgspec.structs.replace(vectors, cut=cut)

    def _embed(self, body: bytes) -> Vectors:
        answer = wire.decode_embeddings(self._server.handle_embeddings(body))
        if bytes(answer.error):
            raise wire.refusal(answer.error)
        rows = tuple(array("f", base64.b64decode(vector.embedding)) for vector in answer.data)
        if not all(math.isfinite(sum(row)) for row in rows):
            raise EngineFailed("the model made a vector that has no numbers in it")
        return Vectors(rows=rows, prompt_tokens=answer.usage.prompt_tokens if answer.usage else 0)

    def rerank(self, query: str, documents: Sequence[str], *, truncate: bool) -> Scores:
        """How well documents answer a query: by a head of the model's own, or by whether it would say yes."""
        if self._ranker is not None:
            return self._ranker.scores(query, documents, context=self._context, limit=self._limit, truncate=truncate)
        return judged(
            query,
            documents,
            tokens=lambda text, special: self._tokens.of(text, special=special),
            ask=self._likeliest,
            limit=self._limit - 1,
            truncate=truncate,
        )

    def _likeliest(
        self, ids: Sequence[int], letter: int, count: int = _LIKELIEST, slot: int = -1
    ) -> Sequence[wire.Likely]:
        """The likeliest tokens behind these, best first. The engine says `letter` to it, a token that is a text."""
        chunks: list[bytes] = []

        def take(data: bytes) -> bool:
            chunks.append(data)
            return False

        self._complete(wire.next_token(ids, count, letter, slot), take, _never)
        return wire.likeliest(chunks)

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids of a text, nothing added."""
        return self._tokens.of(text, special=special)

    def pieces(self, text: str) -> list[tuple[int, bytes]]:
        """Token ids of a text with their texts, nothing added but the blanks that the vocabulary puts before words."""
        return self._tokens.pieces(text)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids. Raises EngineRefused for one that the vocabulary does not have."""
        return self._tokens.text(tokens)

    def crowded(self, *, others: bool) -> None:
        """Give way at barriers while others compute, too."""
        self._barriers.crowded(others=others)

    def close(self) -> None:
        """Only the end of the process gives everything back; unloading would leak, and would wait for stdin."""


def _never() -> bool:
    return False


def _header(weights: str) -> Header:
    try:
        return read_header(weights)
    except OSError as error:
        raise LoadFailed(f"the model's file cannot be opened: {error.strerror}") from error


def _give_back(chosen: Settings, files: ModelFiles) -> None:
    """The pages of what was rearranged leave memory, of the model's file and of its draft's."""
    for file in (files.weights, files.draft) if chosen.draft == "model" else (files.weights,):
        llamacpp_pages.give_back(file, _header(file))


def _tell_of_unused(files: ModelFiles, chosen: Settings, projector: str) -> None:
    """What the log says of files and wishes that nothing comes of."""
    if files.projectors[1:]:
        _log("the model's second projector is not used by this version")
    if projector and chosen.shift:
        _log("with a projector the context cannot be shifted: an answer ends where it is full")


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 -- a child's stderr is its log


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size if path else 0
    except OSError as error:
        raise LoadFailed(f"a file of the model cannot be opened: {error.strerror}") from error
