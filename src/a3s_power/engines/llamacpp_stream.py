"""Stream: the callback of one generation on llama.cpp, and what is known of it when it has ended."""

from collections.abc import Callable

from a3s_power.core.errors import EngineFailed
from a3s_power.engines import llamacpp_wire as wire
from a3s_power.engines.engine import Job, Outcome, Piece
from a3s_power.engines.llamacpp_logprobs import Ask, Ledger
from a3s_power.gguf.vocabulary import Vocabulary


class Stream:
    """The callback of one generation: hands pieces on, and keeps what went wrong, which the library would swallow."""

    def __init__(
        self,
        job: Job,
        emit: Callable[[Piece], None],
        decode: Callable[[bytes], wire.Chunk] = wire.decode_chunk,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        """`vocabulary` is needed for log-probabilities only."""
        self._job = job
        top = job.top_logprobs
        self._ledger = (
            None if top is None else Ledger(vocabulary, top=top, visible=job.visible, greedy=wire.is_greedy(job))
        )
        self._decode = decode
        self._emit = emit
        self._last: wire.Chunk | None = None
        self._tokens: list[int] | None = [] if job.want_tokens else None
        self._error: BaseException | None = None

    def take(self, data: bytes) -> bool:
        """Take a chunk. True ends the generation, and nothing else may ever be true here."""
        try:
            return self._take(self._decode(data))
        except BaseException as error:  # noqa: BLE001 -- raised again by `outcome`, in the same thread
            self._error = error
            return True

    def _take(self, chunk: wire.Chunk) -> bool:
        if bytes(chunk.error):
            raise wire.refusal(chunk.error)
        if self._job.cancelled:
            return True
        self._job.step()
        piece = self._ledger.piece(chunk) if self._ledger is not None else chunk.piece
        if piece is not None and self._job.max_tokens != 0:
            self._emit(piece)
        if self._tokens is not None:
            self._count(self._tokens, chunk)
        if chunk.reason is not None:
            self._last = chunk
        return False

    def _count(self, tokens: list[int], chunk: wire.Chunk) -> None:
        """Keep the id of a token; of a character that takes several the engine tells the last one only."""
        told = chunk.verbose
        if told is None or told.tokens_predicted == len(tokens):
            return
        if told.tokens_predicted != len(tokens) + len(told.tokens):
            self._tokens = None
            return
        tokens += told.tokens

    def outcome(self, ask: Ask | None = None) -> Outcome:
        """How it ended; log-probabilities that waited for it are emitted, those never told asked for.

        Raises what the engine, or whoever took the pieces, raised.
        """
        if self._error is not None:
            raise self._error
        if self._last is None and not self._job.cancelled:
            raise EngineFailed("llama.cpp ended a generation without a word")
        outcome = wire.outcome(self._job, self._last or wire.Chunk(), self._tokens)
        if self._ledger is not None and not self._job.cancelled and self._job.max_tokens != 0:
            rest = self._ledger.rest(ask, stopped=bool(outcome.stop_text))
            if rest:
                self._emit(Piece("", rest))
        return outcome
