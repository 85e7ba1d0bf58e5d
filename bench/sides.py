"""The two sides of a comparison, the server and the bare engine, with one model and the very same settings.

The server plans the load; the bare engine is given what came of that, and the same file, so that nothing else differs.
"""

import hashlib
import http.client
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bench.bare import Bare
from bench.clients import relay
from tests.served import Served, environment, served

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_NAME: Final = "bench"


Client = Sequence[tuple[str, int]]
"""Prompts that a client sends one after the other, and how many tokens each shall be answered with."""


class Round(msgspec.Struct):
    """All clients of a round: tokens, seconds, processor seconds, and of each answer two waits in seconds.

    `first` is the time to the first piece, `prompt` the part of it that the engine says it read the prompt for. The
    first of several answers of a client is left out of both: all clients begin at once, and the engine takes some late.
    """

    tokens: int
    seconds: float
    first: list[float]
    prompt: list[float]
    processor: float = 0.0

    @classmethod
    def of(cls, answers: Sequence[Sequence[tuple[int, float, float]]], seconds: float) -> "Round":
        """Of each client's answers: tokens, and the two waits."""
        waits = [answer for client in answers for answer in (client[1:] if len(client) > 1 else client)]
        tokens = sum(answer[0] for client in answers for answer in client)
        return cls(tokens, seconds, [first for _, first, _ in waits], [prompt for _, _, prompt in waits])


class Side(NamedTuple):
    """Who answers, and the processes whose time that takes."""

    run: Callable[[Sequence[Client]], Round]
    processes: Sequence[int]

    def timed(self, clients: Sequence[Client]) -> Round:
        """All clients at once."""
        before = sum(map(processor_seconds, self.processes))
        found = self.run(clients)
        found.processor = sum(map(processor_seconds, self.processes)) - before
        return found


@contextmanager
def both(
    home: Path, model: Path, *, streams: int, context: int, threads: int = 0
) -> Iterator[tuple[dict[str, Side], dict[str, Any]]]:
    """The sides, `server` and `bare`, each loaded with so many slots, and the options of the load.

    `threads` of 0 are as many as the server chooses.
    """
    settings = {"OLLAMA_NUM_PARALLEL": str(streams), "OLLAMA_CONTEXT_LENGTH": str(context), "OLLAMA_KEEP_ALIVE": "-1"}
    # A server that nobody asks for a while measures its engine, and that would be in the bare one's turns.
    settings["A3S_POWER_CALIBRATE"] = "false"
    (home / "power").mkdir(exist_ok=True)
    (home / "power" / "config.toml").write_text(f"num_thread = {threads}\n", encoding="utf-8")
    with served(home, **settings) as server:
        weights = installed(server, model)
        _of_server(server, [[("Begin", 1)]])
        (loaded,) = server.get("/status")["loaded_models"]
        options = loaded["load_options"]
        if options["parallel"] != streams:
            raise SystemExit(f"the server gave {options['parallel']} slots and not {streams}")
        with Bare(weights, options, environment(home, {})) as bare:
            ours = [server.process.pid, *server.children()]
            sides = {
                "server": Side(lambda clients: _of_server(server, clients), ours),
                "bare": Side(lambda clients: Round.of(**bare.round(clients)), [bare.pid]),
            }
            yield sides, options


def _of_server(server: Served, clients: Sequence[Client]) -> Round:
    answers = relay(server.port, "/api/generate", [[_body(*asked) for asked in client] for client in clients])
    taken = [
        [(one.last["eval_count"], one.first, one.last["prompt_eval_duration"] / 1e9) for one in client]
        for client in answers.of
    ]
    return Round.of(taken, answers.seconds)


def _body(prompt: str, tokens: int) -> dict[str, Any]:
    return {"model": _NAME, "prompt": prompt, "raw": True, "options": {"num_predict": tokens, "temperature": 0}}


def installed(server: Served, model: Path) -> Path:
    """Give the server the model; where its weights lie then."""
    with model.open("rb") as content:
        digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    connection.request("HEAD", f"/api/blobs/{digest}")
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        with model.open("rb") as content:
            connection.request("POST", f"/api/blobs/{digest}", content, {"Content-Length": str(model.stat().st_size)})
            if connection.getresponse().status not in (200, 201):
                raise SystemExit("the server does not take the model")
    connection.close()
    server.post("/api/create", {"model": _NAME, "files": {"bench.gguf": digest}, "stream": False}, timeout=600)
    return next(server.home.rglob(digest.replace(":", "-")))


def processor_seconds(pid: int) -> float:
    """The processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
