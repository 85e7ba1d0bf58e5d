"""Eight clients at once on one model: each gets the answer to its own question."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.served import Served


def _ask(server: Served, question: str) -> str:
    body: dict[str, Any] = {
        "model": "power-tiny",
        "messages": [{"role": "user", "content": question}],
        "think": False,
        "options": {"temperature": 0},
    }
    lines = server.post("/api/chat", body)
    assert lines[-1]["done_reason"] == "stop"
    return "".join(line["message"]["content"] for line in lines)


def test_eight_streams_at_once_do_not_mix(server: Served) -> None:
    sums = [(left, right) for left in range(8) for right in range(8)]
    questions = [f"What is {left} + {right}?" for left, right in sums]
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda question: _ask(server, question), questions))
    assert answers == [str(left + right) for left, right in sums]
    (loaded,) = server.get("/api/ps")["models"]
    assert loaded["name"] == "power-tiny:latest"
    assert len(server.children()) == 1
