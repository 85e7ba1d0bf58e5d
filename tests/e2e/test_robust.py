"""Children that are killed and clients that leave, a hundred times each: nothing is lost, nothing is left behind."""

import http.client
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.served import Served, served, until

_ENDLESS = {
    "model": "power-tiny",
    "messages": [{"role": "user", "content": "Repeat ok forever."}],
    "think": False,
    "options": {"temperature": 0, "num_predict": -1},
}
_SUM = {
    "model": "power-tiny",
    "messages": [{"role": "user", "content": "What is 3 + 4?"}],
    "think": False,
    "stream": False,
    "options": {"temperature": 0},
}
_LONG = _ENDLESS | {"messages": [{"role": "user", "content": "one two three four five six seven " * 60}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose model has two slots and stays loaded."""
    home: Path = tmp_path_factory.mktemp("home")
    with served(home, OLLAMA_NUM_PARALLEL="2", OLLAMA_CONTEXT_LENGTH="1024", OLLAMA_KEEP_ALIVE="1h") as running:
        yield running


@contextmanager
def stream(server: Served, body: object) -> Iterator[http.client.HTTPResponse]:
    """A chat whose answer is read line by line, and left at the end of the block."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("POST", "/api/chat", json.dumps(body))
        yield connection.getresponse()
    finally:
        connection.close()


def answers(server: Served) -> bool:
    """Whether the model can still add."""
    return "7" in server.post("/api/chat", _SUM)["message"]["content"]


def cpu_ticks(pid: int) -> int:
    """Processor time a process has used, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def rests(pid: int) -> bool:
    """Whether a process uses (nearly) no processor time for a tenth of a second."""
    before = cpu_ticks(pid)
    time.sleep(0.1)
    return cpu_ticks(pid) - before <= 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_child_fails_only_its_own_stream_a_hundred_times(server: Served) -> None:
    assert answers(server)
    descriptors = server.descriptors()
    for _ in range(100):
        (child,) = server.children()
        with stream(server, _ENDLESS) as answer:
            assert json.loads(answer.readline())["done"] is False
            os.kill(child, signal.SIGKILL)
            lines = [json.loads(line) for line in answer]
        assert "unexpectedly stopped" in lines[-1]["error"]
        assert not any(line.get("done") for line in lines)
        assert answers(server)
    assert len(server.children()) == 1
    until(lambda: server.descriptors() <= descriptors)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_clients_that_leave_in_any_phase_leave_nothing_behind(server: Served) -> None:
    chance = random.Random(260)
    assert answers(server)
    descriptors, memory = server.descriptors(), server.memory_mib()
    for _ in range(100):
        if chance.random() < 0.1:
            server.post("/api/generate", {"model": "power-tiny", "keep_alive": 0})
        leave_somewhere(server, chance)
    assert answers(server)
    (child,) = server.children()
    until(lambda: rests(child))
    assert server.post("/api/generate", {"model": "power-tiny", "keep_alive": 0})["done_reason"] == "unload"
    until(lambda: not server.children(), 2)
    assert server.get("/api/ps") == {"models": []}
    until(lambda: server.descriptors() <= descriptors)
    assert server.memory_mib() < memory + 64


def leave_somewhere(server: Served, chance: random.Random) -> None:
    """Begin a chat and leave: at once (queue, load or prompt), a little later, or after some lines."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", "/api/chat", json.dumps(chance.choice([_ENDLESS, _LONG])))
    match chance.randrange(3):
        case 0:
            time.sleep(chance.random() * 0.05)
        case 1:
            connection.getresponse()
        case _:
            answer = connection.getresponse()
            for _ in range(chance.randrange(1, 20)):
                answer.readline()
    connection.close()


def test_slots_of_clients_who_left_are_free_again(server: Served) -> None:
    assert answers(server)
    with stream(server, _ENDLESS) as first, stream(server, _ENDLESS) as second:
        first.readline()
        second.readline()
    # Both slots were taken: an answer at once means that one was given back.
    assert answers(server)
    (child,) = server.children()
    until(lambda: rests(child))


def test_the_server_takes_its_children_with_it_when_it_is_killed(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        assert answers(running)
        (child,) = running.children()
        running.process.kill()
        until(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child), 5)


def _is_zombie(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return True
