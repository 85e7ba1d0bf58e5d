"""An agent's log over a real server: how many prompt tokens of each turn are read, against how many are new.

    python -m bench.agent [MODEL.gguf] [--turns 20] [--words 20] [--tokens 24] [--context 0] [--slots 1]

The log is one conversation that grows by an answer and what a tool told each turn. It runs alone; with another chat
before each turn, of a beginning of its own and of the same long beginning; and with a switch of models before each
turn, which nothing but prompts kept on disk outlives. New is what the prompt has beyond the last turn's prompt and
answer. A model with random weights comes from `bench/random_model.py`; without one it is the built-in model.
"""

import argparse
import hashlib
import http.client
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.models import tiny_llama
from tests.served import Served, served

_OTHER: Final = "other"
_WORDS: Final = "file line error test path name value token cache slot model batch queue server reads writes".split()  # noqa: SIM905 -- shorter so

Message = dict[str, str]


class Turn(NamedTuple):
    """What a turn took, in tokens: the whole prompt, what of it was not read again, and the answer."""

    prompt: int
    cached: int
    answer: int


class Chat:
    """A conversation that goes on, turn by turn."""

    def __init__(self, server: Served, model: str, options: dict[str, Any], beginning: str, seed: int) -> None:
        self._server = server
        self.model = model
        self._options = options
        self._random = random.Random(seed)
        self._messages: list[Message] = [{"role": "system", "content": beginning}]
        self.turns: list[Turn] = []

    def turn(self, words: int) -> None:
        """Say so many words and be answered."""
        said = " ".join(self._random.choice(_WORDS) for _ in range(words))
        self._messages.append({"role": "user", "content": f"Step {len(self.turns) + 1}: {said}."})
        # What was thought is no part of the next prompt, so it would be read again from there on.
        body = {"model": self.model, "messages": self._messages, "stream": False, "think": False}
        body["options"] = self._options
        answered = self._server.post("/api/chat", body, timeout=600)
        self._messages.append({"role": "assistant", "content": answered["message"]["content"]})
        self.turns.append(Turn(answered["prompt_eval_count"], answered.get("cached_tokens", 0), answered["eval_count"]))

    def counts(self) -> Iterator[tuple[int, int]]:
        """New and evaluated tokens of each turn."""
        known = 0
        for turn in self.turns:
            yield turn.prompt - known, turn.prompt - turn.cached
            # The last token of an answer was said but never read.
            known = turn.prompt + turn.answer - 1


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    print(f"{'':<46} {'new':>6} {'read':>6} {'ratio':>6} {'worst turn':>11}")
    for name, between in _BETWEEN.items():
        for disk in (False, True) if name == _SWITCH else (False,):
            with _server(asked, disk=disk) as server:
                options = {"num_predict": asked.tokens, "temperature": 0} | _context(asked)
                model = "bench" if asked.model else "power-tiny"
                chat = Chat(server, model, options, _beginning(asked.beginning, 1), 1)
                other = Chat(server, model, options, _beginning(asked.beginning, between[0]), 2)
                for _ in range(asked.turns):
                    between[1](server, other, asked.words)
                    chat.turn(asked.words)
            _tell(name + (", prompts kept on disk" if disk else ""), chat)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--words", type=int, default=20, help="of a turn")
    parser.add_argument("--tokens", type=int, default=24, help="of an answer")
    parser.add_argument("--beginning", type=int, default=100, help="words of the system message")
    parser.add_argument("--context", type=int, default=0)
    parser.add_argument("--slots", type=int, default=1)
    return parser.parse_args()


@contextmanager
def _server(asked: argparse.Namespace, *, disk: bool) -> Iterator[Served]:
    settings = {"OLLAMA_NUM_PARALLEL": str(asked.slots), "OLLAMA_MAX_LOADED_MODELS": "1", "OLLAMA_KEEP_ALIVE": "-1"}
    settings |= {"A3S_POWER_PROMPT_CACHE_DISK": "4000000000"} if disk else {}
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), **settings) as server:
        if asked.model:
            _install(server, "bench", asked.model)
        tiny_llama(other := Path(folder) / "other.gguf")
        _install(server, _OTHER, other)
        yield server


def _install(server: Served, name: str, model: Path) -> None:
    """Make a model of a GGUF."""
    with model.open("rb") as content:
        digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    with model.open("rb") as content:
        connection.request("POST", f"/api/blobs/{digest}", content, {"Content-Length": str(model.stat().st_size)})
        assert connection.getresponse().status in (200, 201)
    connection.close()
    server.post("/api/create", {"model": name, "files": {model.name: digest}, "stream": False}, timeout=600)


def _context(asked: argparse.Namespace) -> dict[str, int]:
    return {"num_ctx": asked.context} if asked.context else {}


def _beginning(words: int, seed: int) -> str:
    chosen = random.Random(seed)
    return " ".join(chosen.choice(_WORDS) for _ in range(words))


def _nothing(_server: Served, _other: Chat, _words: int) -> None:
    """The log is alone."""


def _chat(_server: Served, other: Chat, words: int) -> None:
    other.turn(words)


def _switch(server: Served, _other: Chat, _words: int) -> None:
    """Another model takes the only place."""
    server.post("/api/generate", {"model": _OTHER, "prompt": "Hi", "stream": False, "options": {"num_predict": 1}})


def _tell(name: str, chat: Chat) -> None:
    counts = list(chat.counts())
    new, read = (sum(each) for each in zip(*counts, strict=True))
    worst = max(read_now / new_now for new_now, read_now in counts)
    print(f"{name:<46} {new:>6} {read:>6} {read / new:>6.3f} {worst:>11.3f}")


_SWITCH: Final = "a switch of models before each turn"
_BETWEEN: Final[dict[str, tuple[int, Callable[[Served, Chat, int], None]]]] = {
    "alone": (2, _nothing),
    "another chat before each turn": (2, _chat),
    "another chat with the same beginning": (1, _chat),
    _SWITCH: (2, _switch),
}
"""What happens before each turn, and what the other chat begins with."""


if __name__ == "__main__":
    main()
