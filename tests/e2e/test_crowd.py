"""Many clients at one model with two slots: all are answered, in turns, or told at once and in their dialect's form."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.served import DEADLINE, Served, served, until

SLOTS, QUEUE = 2, 40
MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that has its model at once and keeps it as it is, with two slots and little room to wait."""
    settings = {
        "OLLAMA_NUM_PARALLEL": f"{SLOTS}",
        "OLLAMA_MAX_QUEUE": f"{QUEUE}",
        "OLLAMA_CONTEXT_LENGTH": "512",
        "A3S_POWER_LOAD_OPTIONS": "fixed",
        "A3S_POWER_PINS": "power-tiny",
        "A3S_POWER_PRELOAD": "no-such-model,power-tiny",
    }
    home: Path = tmp_path_factory.mktemp("home")
    with served(home, **settings) as running:
        yield running


def asked(server: Served, path: str, body: object, **headers: str) -> Any:
    """The open answer to a POST of JSON."""
    said = {name.replace("_", "-"): text for name, text in headers.items()}
    request = urllib.request.Request(f"{server.url}{path}", json.dumps(body).encode(), said)
    return urllib.request.urlopen(request, timeout=2 * DEADLINE)


@pytest.fixture(scope="module", autouse=True)
def loaded_without_being_asked(server: Served) -> None:
    until(lambda: server.get("/api/ps")["models"])
    assert "no-such-model" in server.log()


def generated(server: Served, client: str, tokens: int, **options: Any) -> dict[str, Any]:
    """The answer to a prompt of this client, of so many tokens."""
    asking = {"num_predict": tokens, "ignore_eos": True, **options}
    body = {"model": "power-tiny", "prompt": "Once", "raw": True, "stream": False, "options": asking}
    with asked(server, "/api/generate", body, Authorization=f"Bearer {client}") as answer:
        return {**json.loads(answer.read()), "ignored": answer.headers["X-Power-Ignored"]}


def waiting(server: Served) -> int:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=DEADLINE) as answer:
        told = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
    return int(told["power_queue_depth"])


@contextmanager
def full_slots(server: Served) -> Iterator[None]:
    """Every slot is taken by an answer that nobody ends, until this is left."""
    body = {"model": "power-tiny", "prompt": "Once", "raw": True, "options": {"ignore_eos": True}}
    answers = [asked(server, "/api/generate", body, Authorization="Bearer plug") for _ in range(SLOTS)]
    try:
        for answer in answers:
            assert answer.readline()
        yield
    finally:
        for answer in answers:
            answer.close()


class Order:
    """Who was answered, in order: by the server's clock, since our own threads may hear of it late."""

    def __init__(self, server: Served) -> None:
        self._server = server
        self._ended: list[tuple[str, str, str]] = []

    def ask(self, client: str, tokens: int) -> int:
        """Wait for an answer; the tokens it has."""
        answer = generated(self._server, client, tokens)
        second, _, rest = answer["created_at"].rstrip("Z").partition(".")
        self._ended.append((second, rest.ljust(9, "0"), client))
        return int(answer["eval_count"])

    @property
    def clients(self) -> list[str]:
        """One for each answer."""
        return [client for *_, client in sorted(self._ended)]


def test_thirty_two_clients_are_all_answered_and_each_once_before_any_twice(server: Served) -> None:
    order, clients = Order(server), [f"c{number}" for number in range(32)]

    def twice(client: str) -> list[int]:
        return [order.ask(client, 64), order.ask(client, 1)]

    with ThreadPoolExecutor(32) as threads:
        with full_slots(server):
            answers = [threads.submit(twice, client) for client in clients]
            until(lambda: waiting(server) == len(clients))
        assert [answer.result() for answer in answers] == [[64, 1]] * len(clients)
    assert len(set(order.clients[: len(clients) - SLOTS])) == len(clients) - SLOTS


def test_a_client_with_a_long_queue_delays_another_by_one_request(server: Served) -> None:
    order = Order(server)
    with ThreadPoolExecutor(32) as threads:
        with full_slots(server):
            answers = [threads.submit(order.ask, "many", 16) for _ in range(30)]
            until(lambda: waiting(server) == len(answers))
            answers.append(threads.submit(order.ask, "other", 16))
            until(lambda: waiting(server) == len(answers))
        assert [answer.result() for answer in answers] == [16] * len(answers)
    assert order.clients.index("other") <= SLOTS


def test_a_full_queue_is_told_in_every_dialect_and_so_is_a_wait_that_was_too_long(server: Served) -> None:
    chat = {"model": "power-tiny", "messages": MESSAGES, "max_tokens": 4}
    asks: dict[str, dict[str, Any]] = {
        "/api/chat": chat,
        "/api/generate": {"model": "power-tiny", "prompt": "Hello"},
        "/v1/chat/completions": chat,
        "/v1/completions": {"model": "power-tiny", "prompt": "Hello"},
        "/v1/responses": {"model": "power-tiny", "input": "Hello"},
        "/v1/messages": chat,
        "/chat": chat,
    }
    with ThreadPoolExecutor(QUEUE) as threads:
        with full_slots(server):
            early = [
                refused(server, path, body, Authorization="Bearer hasty", X_Power_Deadline="10ms")
                for path, body in asks.items()
            ]
            answers = [threads.submit(generated, server, "many", 1) for _ in range(QUEUE)]
            until(lambda: waiting(server) == QUEUE)
            full = [refused(server, path, body, Authorization="Bearer many") for path, body in asks.items()]
        assert [answer.result()["eval_count"] for answer in answers] == [1] * QUEUE
    for status, retry_after, text in (*early, *full):
        assert (status, int(retry_after) > 0) == (503, True), text
    assert all("maximum pending requests exceeded" in text for *_, text in full)


def refused(server: Served, path: str, body: object, **headers: str) -> tuple[int, str, str]:
    """The status of a refusal, when to come again, and its text."""
    with pytest.raises(urllib.error.HTTPError) as error:
        asked(server, path, body, **headers)
    with error.value as answer:
        return answer.code, answer.headers["Retry-After"], answer.read().decode()


def test_who_streams_is_told_its_position(server: Served) -> None:
    body = {"model": "power-tiny", "prompt": "Hello", "progress": True, "options": {"num_predict": 1}}
    with full_slots(server), asked(server, "/api/generate", body, Authorization="Bearer patient") as answer:
        assert json.loads(answer.readline())["progress"] == {"phase": "queued", "position": 0}


@pytest.mark.parametrize(("context", "ignored"), [(256, None), (512, None), (1024, "num_ctx 1024 -> 512")])
def test_load_options_that_are_fixed_reload_nothing_and_are_told_in_the_head(
    context: int, ignored: str | None, server: Served
) -> None:
    generated(server, "c", 1)
    children = server.children()
    answer = generated(server, "c", 1, num_ctx=context)
    assert (answer["ignored"], server.children()) == (ignored, children)


@pytest.mark.parametrize(("context", "limit"), [(256, 256), (1024, 512)])
def test_what_does_not_fit_a_fixed_context_is_refused_with_both_numbers(
    context: int, limit: int, server: Served
) -> None:
    body = {
        "model": "power-tiny",
        "messages": [{"role": "user", "content": "one two three " * 400}],
        "options": {"num_ctx": context},
    }
    status, _, text = refused(server, "/v1/chat/completions", body)
    print(text)
    assert status == 400
    assert f"{limit} tokens" in text


def test_a_pinned_model_is_not_unloaded_by_a_client(server: Served) -> None:
    children = server.children()
    body = {"model": "power-tiny", "prompt": "Hi", "keep_alive": 0, "stream": False, "options": {"num_predict": 1}}
    with asked(server, "/api/generate", body) as answer:
        assert answer.headers["X-Power-Ignored"] == "keep_alive 0s -> for ever"
        assert json.loads(answer.read())["done"]
    status, _, text = refused(server, "/api/generate", {"model": "power-tiny", "keep_alive": 0})
    assert (status, "is pinned" in text) == (403, True)
    assert server.children() == children
    [model] = server.get("/api/ps")["models"]
    assert int(model["expires_at"][:4]) > 2100
