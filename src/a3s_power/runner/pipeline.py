"""Run → prompt → engine → events: prompts are tried until one fits, with less of the conversation each time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from a3s_power.core.errors import PromptTooLong
from a3s_power.core.events import Done, Rendered
from a3s_power.engines.engine import Engine, Job, Loaded
from a3s_power.runner.frames import Run
from a3s_power.runner.generation import Generation, context_length, is_chat
from a3s_power.runner.images import with_images
from a3s_power.runner.known import Known
from a3s_power.runner.prompts import Prompts
from a3s_power.runner.structure import Say

if TYPE_CHECKING:
    from a3s_power.prompt.render import Prompt


class Pipeline:
    """Runs generations on one loaded engine, from many threads."""

    def __init__(self, engine: Engine, loaded: Loaded) -> None:
        self._engine = engine
        self._loaded = loaded
        self.known: Final = Known(engine, loaded)
        self.prompts: Final = Prompts(engine, loaded)

    def run(self, request: Run, job: Job, say: Say, overdue: Callable[[], None]) -> Done | Rendered:
        """Say what the model answers; the last word is returned.

        `overdue` is called when the prompt's template does not end; the run then never returns.

        Raises:
            PromptTooLong: the prompt does not fit and may not be cut.
            BadTemplate: the template cannot be used, or refuses the conversation.
        """
        if request.render_only:
            return self._shown(request, job, overdue)
        request = with_images(request)
        prompt = self.prompts.of(request, request.messages, overdue)
        generation = Generation(self._engine, self._loaded, request, job, say, count=self.tokens, known=self.known)
        # The engine counts a prompt faster than anybody else, so it is asked before anything is cut.
        try:
            return generation.go(prompt)
        except PromptTooLong as error:
            if not request.truncate or job.cancelled:
                raise
            image_tokens = self._image_tokens(prompt, error.tokens)
        prompt, dropped = self._without_oldest(request, image_tokens, overdue)
        if dropped:
            try:
                return generation.go(prompt, dropped=dropped)
            except PromptTooLong:
                if job.cancelled:
                    raise
        return self._cut(generation, request, prompt, dropped)

    def _shown(self, request: Run, job: Job, overdue: Callable[[], None]) -> Rendered:
        """The prompt as people read it, and how many tokens the engine would read."""
        run = with_images(msgspec.structs.replace(request, render_only=False))
        prompt = self.prompts.of(run, run.messages, overdue)
        if not prompt.media:
            return Rendered(prompt.text, 0, len(prompt.tokens or self.tokens(prompt.text)))
        job.prompt, job.media, job.max_tokens = prompt.text, prompt.media, 1
        try:
            tokens = self._engine.count(job)
        except PromptTooLong as error:
            tokens = error.tokens
        return Rendered(self.prompts.of(request, request.messages, overdue).text, len(prompt.media), tokens)

    def _image_tokens(self, prompt: "Prompt", tokens: int) -> int:
        """What an image counts for where a prompt has so many tokens: their average, or Ollama's figure."""
        if not prompt.media:
            return 0
        from a3s_power.prompt.fit import IMAGE_TOKENS  # noqa: PLC0415 -- as `prompts` says

        of_images = tokens - self._text_tokens(prompt.text)
        return -(-of_images // len(prompt.media)) if of_images > 0 else IMAGE_TOKENS

    def _text_tokens(self, text: str) -> int:
        """How many tokens a prompt has beside its images."""
        marker = self._loaded.media_marker
        return len(self.tokens(text.replace(marker, "") if marker else text))

    def _without_oldest(self, request: Run, image_tokens: int, overdue: Callable[[], None]) -> tuple["Prompt", int]:
        """The prompt without the messages that must go, and how many those are."""
        if not request.messages:
            return self.prompts.of(request, (), overdue), 0
        from a3s_power.prompt.fit import fit  # noqa: PLC0415 -- as `prompts` says

        fitted = fit(
            request.messages,
            context_length(request, self._loaded),
            lambda messages: self.prompts.of(request, messages, overdue),
            self._text_tokens,
            image_tokens=image_tokens,
        )
        return fitted.prompt, fitted.dropped

    def _cut(self, generation: Generation, request: Run, prompt: "Prompt", dropped: int) -> Done:
        """Run a prompt that is still too long, without its middle, where that may be left out."""
        from a3s_power.prompt.fit import cut_middle, refuse_too_long  # noqa: PLC0415 -- as `prompts` says

        if prompt.media or (is_chat(request) and not request.template):
            # The last message alone is too long: such a chat is the engine's to refuse, and so is one with images.
            return generation.go(prompt, dropped=dropped)
        tokens, context = list(prompt.tokens) or self.tokens(prompt.text), context_length(request, self._loaded)
        if not request.shift:
            refuse_too_long(len(tokens), context)
        kept = cut_middle(tokens, context, request.options.num_keep or 0, adds_bos=self._loaded.adds_bos)
        return generation.go(prompt, kept, dropped=dropped, cut=len(tokens) - len(kept))

    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        """The tokens of a prompt as the engine makes them of its text."""
        first = self._loaded.bos if self._loaded.adds_bos else ""
        if special:
            return self._engine.tokenize(first + text.removeprefix(first))
        return [*(self._engine.tokenize(first) if first else ()), *self._engine.tokenize(text, special=False)]
