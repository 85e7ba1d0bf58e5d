"""The line that people type on: keys, history, completion, and the editor of their choice, by prompt_toolkit."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, get_common_complete_suffix
from prompt_toolkit.document import Document
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.output import Output

from a3s_power import paths
from a3s_power.cli.terminal import one_line

PROMPT: Final = ">>> "
CONTINUED: Final = "... "
QUOTES: Final = '"""'
_GREY: Final = "fg:#8a8a8a"
_PLACEHOLDER: Final = "Send a message (/? for help)"
_CONTINUED_PLACEHOLDER: Final = "Press Enter to send"
_TAB: Final = " " * 8
_KEPT: Final = 100


class FileHistory(History):
    """What was typed before, in a file that Ollama's reads alike: a line each, the last hundred, for this user only."""

    def __init__(self, file: Path, *, write: bool) -> None:
        super().__init__()
        self._file = file
        self.write = write
        self._lines: list[str] = []

    def load_history_strings(self) -> Iterable[str]:
        """The entries, newest first."""
        try:
            lines = [line.strip() for line in self._file.read_text("utf-8", "replace").splitlines()]
        except OSError:
            lines = []
        self._lines = [line for line in lines if line][-_KEPT:]
        return reversed(self._lines)

    def store_string(self, string: str) -> None:
        """Keep an entry. A file that cannot be written costs its lines and not the chat."""
        self._lines = [*self._lines, string][-_KEPT:]
        if not self.write:
            return
        temporary = self._file.with_name(f"{self._file.name}.tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            file_descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(file_descriptor, "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in self._lines)
            temporary.replace(self._file)
        except OSError:
            temporary.unlink(missing_ok=True)


class Words(Completer):
    """Completes what begins with a slash: commands, and what `more` knows for their words; and paths."""

    def __init__(self, commands: Sequence[str], more: Callable[[str], Iterable[str]]) -> None:
        self._commands = commands
        self._more = more

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        """What the text before the cursor may become."""
        text = document.text_before_cursor
        if not text.startswith("/"):
            return
        word = text.rpartition(" ")[2]
        known = self._commands if word == text else self._more(text)
        yield from (Completion(one, -len(word)) for one in known if one.startswith(word))
        yield from _files(word)


def _files(word: str) -> Iterable[Completion]:
    folder, _, begun = word.rpartition("/")
    if not word.startswith(("./", "/", "~")) or (word.startswith("/") and not folder):
        return
    try:
        names = sorted(Path(folder or "/").expanduser().iterdir())
    except OSError:
        return
    yield from (
        Completion(f"{path.name}{'/' if path.is_dir() else ''}", -len(begun))
        for path in names
        if path.name.startswith(begun)
    )


def _placeholder() -> FormattedText:
    """What stands on the empty line, as far as the window goes: it must not take a second one."""
    room = get_app().output.get_size().columns - len(PROMPT) - 1
    return FormattedText([(_GREY, _PLACEHOLDER[: max(0, room)])])


def _continued(_width: int, _line: int, folds: int) -> str:
    """What stands before a further line; nothing where the window is too narrow and the same line goes on."""
    return "" if folds else CONTINUED


class _Hint(Processor):
    """Says on an empty last line of several how the message is sent."""

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """The line, and on that one the hint."""
        document, fragments = transformation_input.document, transformation_input.fragments
        last = 0 < transformation_input.lineno == document.line_count - 1
        if last and not document.lines[-1] and document.is_cursor_at_the_end and not is_open(document.text):
            fragments = [*fragments, (_GREY, _CONTINUED_PLACEHOLDER)]
        return Transformation(fragments)


class Line:
    """Reads what people type, one input after another."""

    def __init__(
        self, history: FileHistory, completer: Completer, *, source: Input | None = None, sink: Output | None = None
    ) -> None:
        self.history = history
        self._session: PromptSession[str] = PromptSession(
            history=history,
            completer=completer,
            complete_while_typing=False,
            editing_mode=EditingMode.EMACS,
            multiline=True,
            prompt_continuation=_continued,
            placeholder=_placeholder,
            input_processors=[_Hint()],
            key_bindings=_keys(),
            enable_suspend=True,
            input=source,
            output=sink,
        )

    def read(self, begun: str = "") -> str:
        """One input, with `begun` in it already. Raises EOFError and KeyboardInterrupt."""
        return self._session.prompt(PROMPT, default=begun)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        """Send, unless a message of several lines is still open."""
        buffer = event.current_buffer
        if is_open(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("c-j")
    def line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("tab")
    def complete(event: KeyPressEvent) -> None:
        """Complete what begins with a slash; elsewhere, blanks."""
        buffer = event.current_buffer
        if not buffer.text.startswith("/"):
            buffer.insert_text(_TAB)
            return
        found = list(buffer.completer.get_completions(buffer.document, CompleteEvent()))
        if common := get_common_complete_suffix(buffer.document, found):
            buffer.insert_text(common)
        elif len(found) > 1:
            buffer.start_completion()

    @keys.add("c-g")
    def edit(event: KeyPressEvent) -> None:
        buffer = event.current_buffer

        def edited() -> None:
            if text := in_editor(buffer.text):
                buffer.document = Document(text)

        run_in_terminal(edited)

    return keys


@contextmanager
def typed_ahead() -> Iterator[None]:
    """Keep what is typed while nothing is read as it was typed, and off the screen, until the context is left.

    A terminal would otherwise write it into the answer, and turn its line ends into those that Ctrl-J types.
    """
    try:
        import termios  # noqa: PLC0415 -- not there on Windows

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, OSError):
        yield
        return
    quiet = termios.tcgetattr(sys.stdin)
    quiet[0] &= ~termios.ICRNL
    quiet[3] &= ~termios.ECHO
    quiet[6][termios.VEOF] = b"\0"  # or an end typed meanwhile would be taken as that of nobody's reading
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def is_open(text: str) -> bool:
    """Whether a text begins a message of several lines that has not come to its end."""
    begins = text.startswith((QUOTES, f"/set system {QUOTES}", f"/set template {QUOTES}"))
    return begins and not (text.rstrip().endswith(QUOTES) and text.count(QUOTES) > 1)


def in_editor(text: str) -> str:
    """The text as the person left it in an editor; empty when that failed, which is told."""
    editor = next((one for name in ("OLLAMA_EDITOR", "VISUAL", "EDITOR") if (one := paths.variable(name))), "vi")
    with tempfile.NamedTemporaryFile("w+", prefix="ollama-prompt-", suffix=".txt", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        try:
            subprocess.run([*editor.split(), file.name], check=True)  # noqa: S603 -- the person's own
        except (FileNotFoundError, PermissionError):
            _tell(f'error: editor "{editor}" not found, set OLLAMA_EDITOR to the path of your preferred editor')
            return ""
        except subprocess.CalledProcessError as error:
            _tell(f"error: {one_line(editor)} ended with {error.returncode}")
            return ""
        return Path(file.name).read_text("utf-8", "replace").rstrip("\n")


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
