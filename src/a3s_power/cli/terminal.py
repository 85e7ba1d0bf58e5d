"""Text for a terminal: what could drive it made harmless, widths as it shows them, lines broken between words."""

import os
from typing import Final, TextIO

_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_LINE_ENDS: Final = {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): None}
_ANSWER: Final = _CONTROL | _LINE_ENDS
_CELL: Final = _CONTROL | {
    code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)
}
_DEFAULT_SIZE: Final = os.terminal_size((80, 24))
_NARROWEST: Final = 10
_MARGIN: Final = 5


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads, or types, here."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def size(stream: TextIO) -> os.terminal_size:
    """The terminal's columns and lines, 80 and 24 when they are not known."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return _DEFAULT_SIZE
    return os.terminal_size((found.columns or _DEFAULT_SIZE.columns, found.lines or _DEFAULT_SIZE.lines))


def harmless(text: str) -> str:
    """A model's text for a terminal: control characters but line ends and tabs become visible, however it was cut.

    Every sequence that drives a terminal begins with one of them, so that none is left whole.
    """
    return text.translate(_ANSWER)


def one_line(text: str) -> str:
    """A name or another value for a terminal: as `harmless`, on one line, and nothing in it changes direction."""
    return text.translate(_CELL)


def width(text: str) -> int:
    """Columns a text takes: two for East Asian wide characters, none for those that combine."""
    return len(text) if text.isascii() else sum(map(char_width, text))


def char_width(char: str) -> int:
    """Columns a character takes."""
    if char.isascii():
        return 1
    import unicodedata  # noqa: PLC0415 -- most texts of most commands do without

    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """As much of the text's beginning as so many columns hold."""
    if text.isascii():
        return text[: max(0, columns)]
    taken = 0
    for at, char in enumerate(text):
        taken += char_width(char)
        if taken > columns:
            return text[:at]
    return text


class Wrapper:
    """Breaks lines between words as text comes, on a terminal of so many columns.

    Characters are shown at once; a word that turns out too long for its line is taken back and begins the next one.
    """

    def __init__(self, columns: int) -> None:
        self._columns = 0
        self._line = 0
        self._word = ""
        self.resize(columns)

    def resize(self, columns: int) -> None:
        """The terminal has so many columns from here on. The word that was begun stays where it is."""
        if columns == self._columns:
            return
        self._columns, self._word = columns, ""
        self._limit = columns - _MARGIN
        self._longest = columns - 2 * _MARGIN
        self._off = columns < _NARROWEST

    def feed(self, text: str) -> str:
        """What to write for the next piece of text."""
        return text if self._off else "".join(map(self._next, text))

    def _next(self, char: str) -> str:
        if char == "\n":
            self._line, self._word = 0, ""
            return char
        wide = char_width(char)
        if self._line + wide <= self._limit:
            self._line += wide
            self._word = "" if char in " \t" or wide > 1 else self._word + char
            return char
        return self._broken(char, wide)

    def _broken(self, char: str, wide: int) -> str:
        """The character that does not fit, on a new line; its word goes with it unless it would fill a line itself."""
        word, taken = self._word, width(self._word)
        if char in " \t":
            self._line, self._word = 0, ""
            return "\n"
        if wide > 1 or taken > self._longest:
            self._line, self._word = wide, "" if wide > 1 else char
            return f"\n{char}"
        self._line, self._word = taken + wide, word + char
        back = f"\x1b[{taken}D" if taken else ""
        return f"{back}\x1b[K\n{word}{char}"
