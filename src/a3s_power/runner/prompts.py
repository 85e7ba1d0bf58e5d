"""Prompts: what a Run becomes before the engine sees it — text, or a conversation rendered within its time."""

import secrets
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from a3s_power.core.errors import NotCapable
from a3s_power.core.limits import RENDER_SECONDS
from a3s_power.core.messages import Message
from a3s_power.engines.engine import Engine, Loaded
from a3s_power.runner.frames import Run

if TYPE_CHECKING:
    from a3s_power.prompt.media import Style
    from a3s_power.prompt.render import Prompt, Prompter

# The renderer counts its own time and gives up by itself; this is for what it cannot interrupt.
_OVERDUE_SECONDS: Final = 2 * RENDER_SECONDS

_TEXTS_KNOWN: Final = 1024


class Prompts:
    """Makes the prompts of one loaded model. Threads may share it."""

    def __init__(self, engine: Engine, loaded: Loaded) -> None:
        self._engine = engine
        self._loaded = loaded
        self._making = threading.Lock()
        self._prompter: Prompter | None = None
        self._secret = secrets.token_hex(16)
        self._knowing = threading.Lock()
        self._control: dict[int, bool] = {}

    def warm_up(self) -> None:
        """Compile the model's template ahead of the first conversation; what is odd about it goes to the log."""
        note = self._ready().prepare()
        if note:
            print(note, file=sys.stderr, flush=True)  # noqa: T201 -- a child's stderr is its log

    def of(self, request: Run, messages: Sequence[Message], overdue: Callable[[], None]) -> "Prompt":
        """The prompt of these messages, or of the request's text when it has one, behind its context.

        `overdue` is called when rendering does not end. Raises what the template raises.
        """
        prompt = self._with_media(request, messages, overdue)
        if not request.context:
            return prompt
        return msgspec.structs.replace(prompt, text=self._engine.detokenize(request.context) + prompt.text)

    def _with_media(self, request: Run, messages: Sequence[Message], overdue: Callable[[], None]) -> "Prompt":
        """The prompt with the engine's marker where an image stands, or with `[img-N]` when it is only to be shown."""
        if request.text is not None:
            messages = (Message(content=request.text, images=request.images),)
        media = tuple(image for message in messages for image in message.images)
        if not media:
            return self._with_fences(request, messages, overdue)
        marker = self._loaded.media_marker
        if not marker and not request.render_only:
            raise NotCapable("the model's engine takes no images")
        from a3s_power.prompt.media import Marks, shown  # noqa: PLC0415 -- few requests have images

        marks = Marks(self._secret)
        prompt = self._rendered(request, marks.put(messages, _style(request)), overdue)
        pieces, order = marks.find(prompt.text, len(media))
        text = shown(pieces, order) if request.render_only else marker.join(pieces)
        return msgspec.structs.replace(prompt, text=text, media=tuple(media[number] for number in order))

    def _with_fences(self, request: Run, messages: Sequence[Message], overdue: Callable[[], None]) -> "Prompt":
        """The prompt of a chat, as tokens where somebody in it writes what only the template may say.

        A text to go on with is its writer's to mark up.
        """
        if request.text is not None or request.want_context or request.render_only:
            return self._rendered(request, messages, overdue)
        self._ready()
        from a3s_power.prompt.fences import Fences  # noqa: PLC0415 -- imports nothing that `_ready` has not

        fences = Fences(self._secret)
        fenced = fences.put(messages, self._holds_control)
        prompt = self._rendered(request, fenced, overdue)
        if fenced is messages:
            return prompt
        pieces = fences.split(prompt.text)
        if not pieces:
            return self._rendered(request, messages, overdue)
        first = self._loaded.bos if self._loaded.adds_bos else ""
        tokens = self._engine.tokenize(first + pieces[0].removeprefix(first))
        for place, piece in enumerate(pieces[1:], 1):
            tokens += self._engine.tokenize(piece, special=place % 2 == 0) if piece else ()
        return msgspec.structs.replace(prompt, text="".join(pieces), tokens=tuple(tokens))

    def _holds_control(self, text: str) -> bool:
        """Whether the engine reads control tokens in a text; the answers of late are kept, for turns come again."""
        key = hash(text)
        with self._knowing:
            held = self._control.pop(key, None)
        if held is None:
            held = self._engine.tokenize(text) != self._engine.tokenize(text, special=False)
        with self._knowing:
            self._control[key] = held
            if len(self._control) > _TEXTS_KNOWN:
                del self._control[next(iter(self._control))]
        return held

    def _rendered(self, request: Run, messages: Sequence[Message], overdue: Callable[[], None]) -> "Prompt":
        if request.text is not None:
            self._ready()
            from a3s_power.prompt.render import Prompt  # noqa: PLC0415 -- imported by `_ready`

            return Prompt(text=messages[0].content)
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
                renderer=request.renderer,
                parser=request.parser,
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


def _style(request: Run) -> "Style":
    """Where images go: behind the texts of a chat that the model's Jinja renders, else before them (Ollama's way)."""
    if request.renderer:
        return "renderer"
    if request.text is not None:
        return "raw"
    return "tags" if request.template or request.want_context else "parts"
