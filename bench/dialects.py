"""What a streamed token costs in each API family: to encode it, and in all, in a server that streams it to clients.

    python -m bench.dialects [--chunks 200000] [--clients 8] [--tokens 900]

Encoding is measured alone, the best of five rounds. The whole is the processor time of a real server process, from the
frame of the model's child to the bytes on the connection, while the built-in model answers all clients at once.
"""

import argparse
import http.client
import json
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from a3s_power.api.anthropic.events import Stream
from a3s_power.api.ollama.chat import Lines as ChatLines
from a3s_power.api.ollama.generate import Lines as GenerateLines
from a3s_power.api.openai.chat import Chunks as ChatChunks
from a3s_power.api.openai.completions import Chunks as CompletionChunks
from a3s_power.api.openai.responses_events import Told
from a3s_power.api.openai.responses_wire import ResponsesRequest
from a3s_power.api.openai.wire import StreamOptions
from a3s_power.core.events import Event, Text, Thinking
from bench.sides import processor_seconds
from tests.served import Served, served

Say = Callable[[Event], object]

_MODEL: Final = "power-tiny"
_PROMPT: Final = "Repeat ok forever."
_MESSAGES: Final = [{"role": "user", "content": _PROMPT}]
_EVENTS: Final[dict[str, list[Event]]] = {
    "ascii": [Text(f" token{number}") for number in range(100)],
    "other": [Text(f" слово{number}") for number in range(100)],
    "thoughts": [Thinking(f" token{number}") for number in range(100)],
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=900)
    asked = parser.parse_args()
    for path, fresh in _sayers().items():
        costs = [f"{kind} {_encoding(fresh(), events, asked.chunks):.2f}" for kind, events in _EVENTS.items()]
        print(f"{path}: to encode a chunk, us: {', '.join(costs)}")
    with tempfile.TemporaryDirectory() as folder:
        settings = {"OLLAMA_NUM_PARALLEL": str(asked.clients), "OLLAMA_CONTEXT_LENGTH": "1024"}
        with served(Path(folder), OLLAMA_KEEP_ALIVE="-1", **settings) as server:
            for path, body in _bodies(asked.tokens).items():
                print(f"{path}: {_whole(server, path, body, asked.clients):.1f} us of the server for a streamed token")


def _sayers() -> dict[str, Callable[[], Say]]:
    """What tells the events of a new stream, by path."""

    def told_to_one(tell: Callable[[int, Event], object]) -> Say:
        return lambda event: tell(0, event)

    return {
        "/api/chat": lambda: ChatLines(_MODEL).say,
        "/api/generate": lambda: GenerateLines(_MODEL).say,
        "/v1/chat/completions": lambda: told_to_one(ChatChunks(_MODEL, 1, StreamOptions()).tell),
        "/v1/completions": lambda: told_to_one(CompletionChunks(_MODEL, [""], 1, StreamOptions()).tell),
        "/v1/responses": lambda: Told(ResponsesRequest(model=_MODEL).begun("0"), "0").say,
        "/v1/messages": lambda: Stream(_MODEL, (), searches=False, estimate=lambda: 1).say,
    }


def _encoding(say: Say, events: Sequence[Event], chunks: int) -> float:
    """Microseconds of a chunk."""
    rounds = []
    for _ in range(5):
        began = time.process_time()
        for number in range(chunks):
            say(events[number % len(events)])
        rounds.append(time.process_time() - began)
    return min(rounds) / chunks * 1e6


def _bodies(tokens: int) -> dict[str, dict[str, Any]]:
    """Requests for a stream of so many tokens, by path."""
    asked = {"model": _MODEL, "stream": True, "temperature": 0}
    said = asked | {"messages": _MESSAGES, "max_tokens": tokens}
    native = {"model": _MODEL, "think": False, "options": {"temperature": 0, "num_predict": tokens}}
    return {
        "/api/chat": native | {"messages": _MESSAGES},
        "/api/generate": native | {"prompt": _PROMPT},
        "/v1/chat/completions": said | {"think": False},
        "/v1/completions": asked | {"prompt": _PROMPT, "max_tokens": tokens, "think": False},
        "/v1/responses": asked | {"input": _PROMPT, "max_output_tokens": tokens, "think": False},
        "/v1/messages": said | {"thinking": {"type": "disabled"}},
    }


def _whole(server: Served, path: str, body: dict[str, Any], clients: int) -> float:
    """Microseconds of the server's processor time for one of the chunks that all clients get."""
    chunks: list[int] = []

    def stream() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
        connection.request("POST", path, json.dumps(body))
        # An event names itself in a line of its own in some families.
        chunks.append(sum(line.startswith((b"data: ", b"{")) for line in connection.getresponse()))
        connection.close()

    stream()
    chunks.clear()
    before = processor_seconds(server.process.pid)
    workers = [threading.Thread(target=stream) for _ in range(clients)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return (processor_seconds(server.process.pid) - before) / sum(chunks) * 1e6


if __name__ == "__main__":
    main()
