"""Generation: one run's way through the engine, from a prompt to events, within the limits that the run sets."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from a3s_power.core.events import Done
from a3s_power.core.usage import Usage
from a3s_power.engines.engine import Engine, Job, Loaded, Outcome, Piece, prompt_too_long
from a3s_power.output.families import PARSERS, Prompted
from a3s_power.output.parser import OutputParser
from a3s_power.runner.frames import Run
from a3s_power.runner.known import Known
from a3s_power.runner.structure import Say, Structure

if TYPE_CHECKING:
    from a3s_power.prompt.render import Prompt

_LONGEST_ANSWER: Final = 10
"""An answer that nobody limits ends after so many contexts, as with Ollama."""


class Generation:
    """One run's way through the engine, tried with one prompt after another until one fits."""

    def __init__(
        self,
        engine: Engine,
        loaded: Loaded,
        request: Run,
        job: Job,
        say: Say,
        *,
        count: Callable[[str], Sequence[int]],
        known: Known,
    ) -> None:
        self._engine = engine
        self._count = count
        self._known = known if is_chat(request) else None
        self._limit = context_length(request, loaded)
        self._loaded = loaded
        self._request = request
        self._job = job
        self._structure = Structure(request)
        self._say = self._structure.watched(say)
        job.max_tokens = _max_tokens(request, self._limit)
        job.stop = request.options.stop or ()
        job.top_logprobs = request.top_logprobs
        job.logit_bias = request.logit_bias
        job.want_tokens = request.want_context or self._known is not None

    def go(self, prompt: "Prompt", tokens: Sequence[int] | None = None, *, dropped: int = 0, cut: int = 0) -> Done:
        """Generate from a prompt, or from `tokens` that were made from it."""
        job, answer = self._job, list[str]()
        job.prompt = tokens or prompt.tokens or self._as_known(prompt) or prompt.text
        job.visible, job.media, job.text = prompt.visible, prompt.media, "" if tokens else prompt.text
        self._keep_within()
        job.grammar = self._structure.grammar(prompt)
        parser, say = _parser(self._request, prompt), self._say
        keep = answer.append if job.want_tokens else None

        def emit(piece: Piece) -> None:
            if keep is not None:
                keep(piece.text)
            for event in parser.feed(piece.text, piece.logprobs):
                say(event)

        outcome = self._engine.generate(job, emit)
        for event in parser.close():
            say(event)
        if not job.cancelled:
            self._structure.check(outcome)
            if self._known is not None and not (job.media or tokens or prompt.tokens):
                self._known.learn(prompt.text, job.prompt, "".join(answer), outcome.tokens)
        context = (
            self._context(self._without_images(job.prompt), outcome.tokens, "".join(answer))
            if self._request.want_context and not job.cancelled
            else None
        )
        usage = _usage(outcome, dropped, cut, self._loaded.context_length)
        return Done(outcome.reason, usage, context, outcome.stop_text)

    def _as_known(self, prompt: "Prompt") -> Sequence[int] | None:
        return self._known.tokens(prompt.text) if self._known is not None and not prompt.media else None

    def _keep_within(self) -> None:
        """Hold a request to its own context where the engine has a longer one, or one that it would shift.

        Nobody but the engine knows what an image takes, so a prompt with images may use all there is.
        """
        job = self._job
        if not self._request.limit or job.media:
            return
        length = len(self._count(job.prompt) if isinstance(job.prompt, str) else job.prompt)
        if length >= self._limit:
            raise prompt_too_long(length, self._limit)
        if not self._request.shift:
            job.max_tokens = min(job.max_tokens, self._limit - length)

    def _without_images(self, prompt: str | Sequence[int]) -> str | Sequence[int]:
        """The prompt as it can be kept: token ids have no place for images."""
        marker = self._loaded.media_marker
        return prompt.replace(marker, "") if marker and isinstance(prompt, str) else prompt

    def _context(self, prompt: str | Sequence[int], tokens: Sequence[int] | None, answer: str) -> tuple[int, ...]:
        """The token ids of prompt and answer, to go on from: the engine's own where it told them."""
        first = self._loaded.bos if self._loaded.adds_bos else ""
        if not isinstance(prompt, str):
            return (*prompt, *(self._engine.tokenize(answer) if tokens is None else tokens))
        text = first + prompt.removeprefix(first)
        if tokens is None:
            return tuple(self._engine.tokenize(text + answer))
        return (*self._engine.tokenize(text), *tokens)


def is_chat(request: Run) -> bool:
    """Whether a client sent messages; a prompt that was made into some gives back its context."""
    return request.text is None and not request.want_context


def context_length(request: Run, loaded: Loaded) -> int:
    """The tokens this request may use, at most those that the model was loaded with."""
    return min(loaded.context_length, request.limit or loaded.context_length)


def _max_tokens(request: Run, context: int) -> int:
    """The limit of an answer. Nothing is a limit only where the engine renders, as with Ollama."""
    asked, most = request.options.num_predict, _LONGEST_ANSWER * context
    if asked is None or asked < 0 or asked > most:
        return most
    if asked == 0 and not (is_chat(request) and not request.template):
        return most
    return asked


def _parser(request: Run, prompt: "Prompt") -> OutputParser:
    if request.text is not None:
        return OutputParser()
    if prompt.parser:
        prompted = Prompted(
            tools=request.tools if request.parse_tools else (),
            names=prompt.names,
            opened=prompt.opened,
            begun=prompt.begun,
            think=prompt.think,
        )
        return OutputParser(family=PARSERS[prompt.parser](prompted))
    return OutputParser(
        thinking=prompt.thinking,
        opened=prompt.opened,
        tool_tag=prompt.tool_tag if request.parse_tools else "",
        tools=[tool.name for tool in request.tools],
    )


def _usage(outcome: Outcome, dropped: int, cut: int, context: int) -> Usage:
    return Usage(
        prompt_tokens=outcome.prompt_tokens,
        cached_tokens=outcome.cached_tokens,
        output_tokens=outcome.output_tokens,
        prompt_ns=outcome.prompt_ns,
        output_ns=outcome.output_ns,
        dropped_messages=dropped,
        cut_tokens=cut,
        shifted=outcome.prompt_tokens + outcome.output_tokens > context,
        draft_tokens=outcome.draft_tokens,
        accepted_tokens=outcome.accepted_tokens,
    )
