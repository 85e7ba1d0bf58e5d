"""Processor time of encoding one streamed chunk in OpenAI's dialect, without the connection around it.

python bench/encode.py [chunks]
"""

import sys
import time
from collections.abc import Callable

from a3s_power.api.openai.chat import Chunks as ChatChunks
from a3s_power.api.openai.completions import Chunks as CompletionChunks
from a3s_power.api.openai.responses_events import Told
from a3s_power.api.openai.responses_wire import ResponsesRequest
from a3s_power.api.openai.wire import StreamOptions
from a3s_power.core.events import Event, Text, Thinking


def measured(tell: Callable[[int, Event], object], events: list[Event], chunks: int) -> float:
    """Microseconds of a chunk, the best of five rounds."""
    rounds = []
    for _ in range(5):
        began = time.process_time()
        for number in range(chunks):
            tell(0, events[number % len(events)])
        rounds.append(time.process_time() - began)
    return min(rounds) / chunks * 1e6


def alone(say: Callable[[Event], object]) -> Callable[[int, Event], object]:
    """What tells the events of the only choice."""
    return lambda _, event: say(event)


def main() -> None:
    """Print the figures."""
    chunks = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    words: dict[str, list[Event]] = {
        "ascii": [Text(f" token{number}") for number in range(100)],
        "other": [Text(f" слово{number}") for number in range(100)],
        "thoughts": [Thinking(f" token{number}") for number in range(100)],
    }
    for kind, events in words.items():
        chat = measured(ChatChunks("power-tiny", 1, StreamOptions()).tell, events, chunks)
        completion = measured(CompletionChunks("power-tiny", [""], 1, StreamOptions()).tell, events, chunks)
        told = Told(ResponsesRequest(model="power-tiny").begun("0"), "0")
        response = measured(alone(told.say), events, chunks)
        print(f"{kind}: a chat {chat:.2f} us a chunk, a completion {completion:.2f}, a response {response:.2f}")


if __name__ == "__main__":
    main()
