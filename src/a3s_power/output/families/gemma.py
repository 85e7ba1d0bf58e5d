"""FunctionGemma and Gemma 4: `call:NAME{key:value,…}` with bare keys, and texts between marks instead of quotes."""

from typing import Any, Final

from a3s_power.output.families.blocks import Block, Form
from a3s_power.output.families.reading import Called, Read, Tools

_DEEPEST: Final = 64
_WORDS: Final = {"true": True, "false": False, "null": None}


def _reader(quote: str) -> Read:
    def read(body: str, tools: Tools) -> list[Called] | None:  # noqa: ARG001 -- as all readers
        head, brace, rest = body.strip().partition("{")
        name = head.strip().removeprefix("call:").strip()
        if not head.strip().startswith("call:") or not name or not brace:
            return None
        try:
            arguments = _Values(quote, rest).pairs(0)
        except ValueError:
            return None
        return [(name, arguments)]

    return read


class _Values:
    """Reads values from a text; what is missing at its very end is taken as closed."""

    def __init__(self, quote: str, text: str) -> None:
        self._quote = quote
        self._text = text
        self._at = 0

    def pairs(self, depth: int) -> dict[str, Any]:
        """What stands behind an opening brace. Raises ValueError for what is none."""
        found: dict[str, Any] = {}
        while not self._takes("}") and self._more():
            key = self._key()
            found[key] = self._value(depth + 1)
            self._takes(",")
        if depth == 0 and self._more():
            raise ValueError("something behind the arguments")
        return found

    def _items(self, depth: int) -> list[Any]:
        found: list[Any] = []
        while not self._takes("]") and self._more():
            found.append(self._value(depth + 1))
            self._takes(",")
        return found

    def _value(self, depth: int) -> Any:  # noqa: ANN401 -- JSON
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if self._takes("{"):
            return self.pairs(depth)
        if self._takes("["):
            return self._items(depth)
        quoted = self._quoted()
        return _plain(self._until(",}]").strip()) if quoted is None else quoted

    def _quoted(self) -> str | None:
        for quote in (self._quote, '"', "'"):
            if self._takes(quote):
                end = self._text.find(quote, self._at)
                # The last text of a call may lack its closing mark.
                text = self._text[self._at : end] if end >= 0 else self._text[self._at :].rstrip("}]")
                self._at = end + len(quote) if end >= 0 else len(self._text)
                return text
        return None

    def _key(self) -> str:
        key = self._quoted()
        if key is None:
            key = self._until(":,}]{[").strip()
        if not key or not self._takes(":"):
            raise ValueError("a value without a key")
        return key

    def _until(self, signs: str) -> str:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in signs:
            self._at += 1
        return self._text[start : self._at]

    def _takes(self, sign: str) -> bool:
        self._more()
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _more(self) -> bool:
        """Whether anything but blanks is left, which are passed over."""
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at < len(self._text)


def _plain(word: str) -> Any:  # noqa: ANN401 -- JSON
    if word in _WORDS:
        return _WORDS[word]
    for kind in (int, float):
        try:
            number = kind(word)
        except ValueError:
            continue
        if "_" not in word and (isinstance(number, int) or number - number == 0):
            return number
    return word


FUNCTIONGEMMA: Final = Form(blocks=(Block("<start_function_call>", "<end_function_call>", _reader("<escape>")),))
GEMMA4: Final = Form(
    blocks=(Block("<|tool_call>", "<tool_call|>", _reader('<|"|>')),),
    thinking=("<|channel>thought\n", "<channel|>"),
    anywhere=True,
    unwanted=True,
    silent=("<tool_call|>", "<|tool_response>"),
)
