"""Run → prompt → engine → events: what one generation goes through inside the child."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from a3s_power.core.errors import PromptTooLong
from a3s_power.core.events import Done, Event, Rendered
from a3s_power.core.usage import Usage
from a3s_power.engines.engine import Engine, Job, Loaded, Outcome, Piece
from a3s_power.output.parser import OutputParser
from a3s_power.runner.frames import Run
from a3s_power.runner.prompts import Prompts

if TYPE_CHECKING:
    from a3s_power.prompt.render import Prompt

_LONGEST_ANSWER: Final = 10
"""An answer that nobody limits ends after so many contexts, as with Ollama."""

Say = Callable[[Event], None]


class Pipeline:
    """Runs generations on one loaded engine, from many threads."""

    def __init__(self, engine: Engine, loaded: Loaded) -> None:
        self._engine = engine
        self._loaded = loaded
        self.prompts: Final = Prompts(engine, loaded)

    def run(self, request: Run, job: Job, say: Say, overdue: Callable[[], None]) -> Done | Rendered:
        """Say what the model answers; the last word is returned.

        `overdue` is called when the prompt's template does not end; the run then never returns.

        Raises:
            PromptTooLong: the prompt does not fit and may not be cut.
            BadTemplate: the template cannot be used, or refuses the conversation.
        """
        prompt = self.prompts.of(request, request.messages, overdue)
        if request.render_only:
            return Rendered(prompt.text, sum(len(message.images) for message in request.messages))
        generation = _Generation(self._engine, self._loaded, request, job, say)
        # The engine counts a prompt faster than anybody else, so it is asked before anything is cut.
        try:
            return generation.go(prompt)
        except PromptTooLong:
            if not request.truncate or job.cancelled:
                raise
        prompt, dropped = self._without_oldest(request, overdue)
        if dropped:
            try:
                return generation.go(prompt, dropped=dropped)
            except PromptTooLong:
                if job.cancelled:
                    raise
        return self._cut(generation, request, prompt, dropped)

    def _without_oldest(self, request: Run, overdue: Callable[[], None]) -> tuple["Prompt", int]:
        """The prompt without the messages that must go, and how many those are."""
        if not request.messages:
            return self.prompts.of(request, (), overdue), 0
        from a3s_power.prompt.fit import fit  # noqa: PLC0415 -- as `prompts` says

        fitted = fit(
            request.messages,
            self._loaded.context_length,
            lambda messages: self.prompts.of(request, messages, overdue),
            lambda text: len(self._tokens(text)),
        )
        return fitted.prompt, fitted.dropped

    def _cut(self, generation: "_Generation", request: Run, prompt: "Prompt", dropped: int) -> Done:
        """Run a prompt that is still too long, without its middle, where that may be left out."""
        from a3s_power.prompt.fit import cut_middle, refuse_too_long  # noqa: PLC0415 -- as `prompts` says

        if _is_chat(request) and not request.template:
            # The last message alone is too long: such a chat is the engine's to refuse.
            return generation.go(prompt, dropped=dropped)
        tokens, context = self._tokens(prompt.text), self._loaded.context_length
        if not request.shift:
            refuse_too_long(len(tokens), context)
        kept = cut_middle(tokens, context, request.options.num_keep or 0, adds_bos=self._loaded.adds_bos)
        return generation.go(prompt, kept, dropped=dropped, cut=len(tokens) - len(kept))

    def _tokens(self, text: str) -> list[int]:
        """The tokens of a prompt as the engine makes them of its text."""
        first = self._loaded.bos if self._loaded.adds_bos else ""
        return self._engine.tokenize(first + text.removeprefix(first))


class _Generation:
    """One run's way through the engine, tried with one prompt after another until one fits."""

    def __init__(self, engine: Engine, loaded: Loaded, request: Run, job: Job, say: Say) -> None:
        self._engine = engine
        self._loaded = loaded
        self._request = request
        self._job = job
        self._say = say
        job.max_tokens = _max_tokens(request, loaded.context_length)
        job.stop = request.options.stop or ()
        job.top_logprobs = request.top_logprobs

    def go(self, prompt: "Prompt", tokens: Sequence[int] | None = None, *, dropped: int = 0, cut: int = 0) -> Done:
        """Generate from a prompt, or from `tokens` that were made from it."""
        job, answer = self._job, list[str]()
        job.prompt = prompt.text if tokens is None else tokens
        job.visible = prompt.visible
        parser, say = _parser(self._request, prompt), self._say
        keep = answer.append if self._request.want_context else None

        def emit(piece: Piece) -> None:
            if keep is not None:
                keep(piece.text)
            for event in parser.feed(piece.text, piece.logprobs):
                say(event)

        outcome = self._engine.generate(job, emit)
        for event in parser.close():
            say(event)
        context = self._context(job.prompt, "".join(answer)) if keep is not None and not job.cancelled else None
        return Done(outcome.reason, _usage(outcome, dropped, cut), context)

    def _context(self, prompt: str | Sequence[int], answer: str) -> tuple[int, ...]:
        """The token ids of prompt and answer, to go on from."""
        if isinstance(prompt, str):
            first = self._loaded.bos if self._loaded.adds_bos else ""
            return tuple(self._engine.tokenize(first + prompt.removeprefix(first) + answer))
        return (*prompt, *self._engine.tokenize(answer))


def _is_chat(request: Run) -> bool:
    """Whether a client sent messages; a prompt that was made into some gives back its context."""
    return request.text is None and not request.want_context


def _max_tokens(request: Run, context: int) -> int:
    """The limit of an answer. Nothing is a limit only where the engine renders, as with Ollama."""
    asked, most = request.options.num_predict, _LONGEST_ANSWER * context
    if asked is None or asked < 0 or asked > most:
        return most
    if asked == 0 and not (_is_chat(request) and not request.template):
        return most
    return asked


def _parser(request: Run, prompt: "Prompt") -> OutputParser:
    if request.text is not None:
        return OutputParser()
    return OutputParser(
        thinking=prompt.thinking,
        opened=prompt.opened,
        tool_tag=prompt.tool_tag if request.parse_tools else "",
        tools=[tool.name for tool in request.tools],
    )


def _usage(outcome: Outcome, dropped: int, cut: int) -> Usage:
    return Usage(
        prompt_tokens=outcome.prompt_tokens,
        cached_tokens=outcome.cached_tokens,
        output_tokens=outcome.output_tokens,
        prompt_ns=outcome.prompt_ns,
        output_ns=outcome.output_ns,
        dropped_messages=dropped,
        cut_tokens=cut,
    )
