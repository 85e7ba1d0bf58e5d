"""Prompts: what a Run becomes before the engine sees it — text, or a conversation rendered within its time."""

import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from a3s_power.core.limits import RENDER_SECONDS
from a3s_power.core.messages import Message
from a3s_power.engines.engine import Engine, Loaded
from a3s_power.runner.frames import Run

if TYPE_CHECKING:
    from a3s_power.prompt.render import Prompt, Prompter

# The renderer counts its own time and gives up by itself; this is for what it cannot interrupt.
_OVERDUE_SECONDS: Final = 2 * RENDER_SECONDS


class Prompts:
    """Makes the prompts of one loaded model. Threads may share it."""

    def __init__(self, engine: Engine, loaded: Loaded) -> None:
        self._engine = engine
        self._loaded = loaded
        self._making = threading.Lock()
        self._prompter: Prompter | None = None

    def warm_up(self) -> None:
        """Compile the model's template ahead of the first conversation; what is odd about it goes to the log."""
        note = self._ready().prepare()
        if note:
            print(note, file=sys.stderr, flush=True)  # noqa: T201 -- a child's stderr is its log

    def of(self, request: Run, messages: Sequence[Message], overdue: Callable[[], None]) -> "Prompt":
        """The prompt of these messages, or of the request's text when it has one, behind its context.

        `overdue` is called when rendering does not end. Raises what the template raises.
        """
        prompt = self._rendered(request, messages, overdue)
        if not request.context:
            return prompt
        return msgspec.structs.replace(prompt, text=self._engine.detokenize(request.context) + prompt.text)

    def _rendered(self, request: Run, messages: Sequence[Message], overdue: Callable[[], None]) -> "Prompt":
        if request.text is not None:
            self._ready()
            from a3s_power.prompt.render import Prompt  # noqa: PLC0415 -- imported by `_ready`

            return Prompt(text=request.text)
        watch = threading.Timer(_OVERDUE_SECONDS, overdue)
        watch.daemon = True
        watch.start()
        try:
            return self._ready().render(
                messages,
                tools=request.tools,
                think=request.think,
                template=request.template,
                suffix=request.suffix,
                clean_thinking=request.clean_thinking,
            )
        finally:
            watch.cancel()

    def _ready(self) -> "Prompter":
        with self._making:
            if self._prompter is None:
                # 75 ms of imports that an embedding model never needs, and any other not before it is loaded.
                from a3s_power.prompt.render import Prompter  # noqa: PLC0415

                loaded = self._loaded
                self._prompter = Prompter(loaded.chat_template, bos=loaded.bos, eos=loaded.eos)
            return self._prompter
