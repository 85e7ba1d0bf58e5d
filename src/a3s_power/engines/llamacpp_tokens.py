"""Tokens: texts as token ids and back, by the vocabulary of the model that llama.cpp has loaded."""

from collections.abc import Sequence

from a3s_power.core.errors import LoadFailed
from a3s_power.engines.llamacpp_socket import EngineSocket
from a3s_power.engines.llamacpp_wire import refused


class Tokens:
    """A loaded model's tokenizer. `first` and `last` are what it puts before and behind every text."""

    def __init__(self, socket: EngineSocket, vocabulary: int) -> None:
        """`vocabulary` is how many tokens there are. Raises LoadFailed for a vocabulary that cannot be told apart."""
        self._socket = socket
        self._vocabulary = vocabulary
        self.first, self.last = _around(self.whole("a"), self.of("a"))

    def of(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of a text, nothing added; `special` reads special tokens' texts as those tokens."""
        return self._ask(text, special=special, whole=False)

    def whole(self, text: str) -> list[int]:
        """The ids of a text between those that the vocabulary puts around one."""
        return self._ask(text, special=True, whole=True)

    def pieces(self, text: str) -> list[tuple[int, bytes]]:
        """The ids of a text as `of` tells them, each with its own text; a blank that the vocabulary adds is in it."""
        asked = {"content": text, "add_special": False, "parse_special": True, "with_pieces": True}
        told = self._socket.ask("/tokenize", asked)["tokens"]
        # What is no text by itself comes as its bytes.
        return [
            (each["id"], each["piece"].encode() if isinstance(each["piece"], str) else bytes(each["piece"]))
            for each in told
        ]

    def _ask(self, text: str, *, special: bool, whole: bool) -> list[int]:
        asked = {"content": text, "add_special": whole, "parse_special": special}
        ids: list[int] = self._socket.ask("/tokenize", asked)["tokens"]
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids. Raises EngineRefused for one that the vocabulary does not have."""
        self.check(ids)
        text: str = self._socket.ask("/detokenize", {"tokens": list(ids)})["content"]
        return text

    def check(self, ids: Sequence[int]) -> None:
        """Raise EngineRefused for an id that the vocabulary does not have: llama.cpp would abort."""
        if not self.has(ids):
            raise refused("Prompt contains invalid tokens")

    def has(self, ids: Sequence[int]) -> bool:
        """Whether the vocabulary has all of these."""
        return all(0 <= token < self._vocabulary for token in ids)

    def cut(self, ids: list[int], limit: int) -> list[int]:
        """A whole text's ids, at most `limit` of them: what is too much goes from before the `last` ones."""
        return ids if len(ids) <= limit else ids[: limit - len(self.last)] + self.last


def _around(whole: list[int], inner: list[int]) -> tuple[list[int], list[int]]:
    """What stands before and behind `inner` in `whole`."""
    for at in range(len(whole) - len(inner) + 1):
        if whole[at : at + len(inner)] == inner:
            return whole[:at], whole[at + len(inner) :]
    raise LoadFailed("the model's vocabulary changes a text between its first and last token")
