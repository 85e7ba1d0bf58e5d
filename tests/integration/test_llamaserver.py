"""The engine that is a program of its own: it answers as the library does, dies with its child, and its child with it.

All other tests of llama.cpp run on it, too, with A3S_POWER_TEST_ENGINE=llamaserver in the environment; on a true
llama-server where A3S_POWER_TEST_LLAMA_SERVER names one.
"""

import asyncio
import contextlib
import json
import os
import signal
import urllib.error
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from a3s_power.core.errors import BadConfig, EngineMissing, LoadFailed, PromptTooLong, RunnerDied
from a3s_power.core.events import Done, Event, Text
from a3s_power.core.model import ModelFiles
from a3s_power.core.options import DEFAULTS, Options
from a3s_power.engines.llamaserver import _plainly_named
from a3s_power.engines.llamaserver_process import Device, devices
from a3s_power.hardware import memory
from a3s_power.runner.frames import Embed, Run
from a3s_power.runner.process import RunnerProcess
from tests import llama_server
from tests.models import tiny_llama
from tests.runners import answer, events, load_options, loaded, raw, spawned, until
from tests.served import served
from tests.shared import BUILTIN_MODEL

pytestmark = pytest.mark.anyio

HELLO = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
GREEDY = Options.merged(DEFAULTS, Options(temperature=0.0))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    return llama_server.program(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
async def both(program: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[RunnerProcess]]:
    """The library and the program, each with the built-in model."""
    scratch = tmp_path_factory.mktemp("both")
    async with loaded("llamaserver", scratch, program=program) as server, loaded("llamacpp", scratch) as library:
        yield [library, server]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that never ends an answer by itself."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    tiny_llama(path, key_values={"llama.context_length": 32768})
    return path


def _program_of(runner: RunnerProcess) -> int:
    """The process id of a child's llama-server."""
    (pid,) = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text("ascii").split()
    return int(pid)


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    return False


def _said(found: list[Event]) -> list[object]:
    """Events without how long they took, pieces of text in one."""
    *pieces, done = found
    assert isinstance(done, Done)
    usage = done.usage
    text = "".join(piece.text for piece in pieces if isinstance(piece, Text))
    logprobs = [each for piece in pieces if isinstance(piece, Text) for each in piece.logprobs]
    return [text, logprobs, done.reason, done.stop_text, done.context, usage.prompt_tokens, usage.output_tokens]


@pytest.mark.parametrize(
    "request_",
    [
        Run(text=HELLO, options=GREEDY),
        Run(text=HELLO, options=Options.merged(GREEDY, Options(num_predict=5)), want_context=True),
        Run(text=HELLO, options=Options.merged(GREEDY, Options(stop=("How",)))),
        Run(text=HELLO, options=GREEDY, top_logprobs=3),
        Run(text=HELLO, options=GREEDY, grammar='root ::= "yes" | "no"'),
        Run(text=HELLO, options=Options.merged(DEFAULTS, Options(seed=5, num_predict=20))),
        Run(text=HELLO, options=Options.merged(GREEDY, Options(num_predict=3)), logit_bias=((0, -100.0),)),
    ],
    ids=["plain", "context", "stop", "logprobs", "grammar", "seed", "bias"],
)
async def test_it_answers_as_the_library_does(both: list[RunnerProcess], request_: Run) -> None:
    library, server = [_said(await events(runner, request_)) for runner in both]
    assert server == library
    assert server[0]


async def test_it_counts_and_refuses_as_the_library_does(both: list[RunnerProcess]) -> None:
    library, server = both
    assert await server.tokenize("Hello there") == await library.tokenize("Hello there")
    assert await server.detokenize([305, 1020]) == await library.detokenize([305, 1020])
    for runner in both:
        with pytest.raises(PromptTooLong, match="exceeds the available context size"):
            await answer(runner, raw("word " * 2000, truncate=False))


async def test_slots_answer_side_by_side(both: list[RunnerProcess]) -> None:
    prompts = [f"<|im_start|>user\nSay {word}.<|im_end|>\n<|im_start|>assistant\n" for word in ("one", "two", "red")]
    server = both[1]
    alone = [(await answer(server, raw(prompt, num_predict=20)))[0] for prompt in prompts]
    together = await asyncio.gather(*(answer(server, raw(prompt, num_predict=20)) for prompt in prompts))
    assert [text for text, _ in together] == alone


async def test_its_memory_is_that_of_the_program_too(both: list[RunnerProcess]) -> None:
    server = both[1]
    assert memory.resident(server.pid) > memory.resident(_program_of(server)) > 10_000_000


async def test_vectors_are_the_librarys(program: str, tmp_path: Path, tiny: Path) -> None:
    found = []
    for engine in ("llamacpp", "llamaserver"):
        async with loaded(engine, tmp_path, tiny, embedding=True, program=program) as runner:
            found.append(await runner.embed(Embed(texts=("a", "some more", "x" * 600))))
    library, server = found
    # The same server, but perhaps built for another processor.
    assert [pytest.approx(row, abs=1e-5) for row in library.rows] == list(server.rows)
    assert (server.cut, server.prompt_tokens) == (library.cut, library.prompt_tokens) == ((2,), library.prompt_tokens)


async def test_whoever_leaves_frees_the_slot(program: str, tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamaserver", tmp_path, tiny, program=program, parallel=1, context_length=32768) as runner:
        async with runner.run(raw("x")) as stream:
            await anext(stream)
        # There is one slot, so this is answered only when that one is free.
        assert (await answer(runner, raw("x", num_predict=3)))[1].usage.output_tokens == 3
        await until(lambda: runner.busy == 0)


async def test_it_dies_with_its_child(program: str, tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamaserver", tmp_path, tiny, program=program) as runner:
        pid = _program_of(runner)
        os.kill(runner.pid, signal.SIGKILL)
        await until(lambda: not _lives(pid))


async def test_it_dies_with_its_child_while_it_loads(program: str, tmp_path: Path, tiny: Path) -> None:
    options = load_options(program=program, context_length=32768, parallel=64)
    async with spawned("llamaserver", tmp_path) as runner:
        load = asyncio.create_task(runner.load(ModelFiles(weights=str(tiny)), options))
        children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children")
        pids = set[int]()

        def started() -> bool:
            pids.update(int(pid) for pid in children.read_text("ascii").split())
            running = [Path(f"/proc/{pid}/cmdline") for pid in pids]
            return load.done() or any(b"--threads-http" in path.read_bytes() for path in running if path.exists())

        await until(started)
        os.kill(runner.pid, signal.SIGKILL)
        await until(lambda: not any(map(_lives, pids)))
        with contextlib.suppress(RunnerDied):
            await load
        assert pids


async def test_a_stopped_child_leaves_nothing(program: str, tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamaserver", tmp_path, tiny, program=program) as runner:
        pid = _program_of(runner)
    await until(lambda: not _lives(pid))
    assert not list(tmp_path.rglob("*.sock"))


async def test_its_death_is_its_childs(program: str, tmp_path: Path, tiny: Path) -> None:
    async with loaded("llamaserver", tmp_path, tiny, program=program) as runner, runner.run(raw("x")) as stream:
        await anext(stream)
        os.kill(_program_of(runner), signal.SIGSEGV)
        with pytest.raises(RunnerDied, match="killed by SIGSEGV"):
            _ = [event async for event in stream]


async def test_a_failed_load_says_why(program: str, tmp_path: Path) -> None:
    odd = tmp_path / "odd.gguf"
    tiny_llama(odd, key_values={"llama.block_count": 9})
    async with spawned("llamaserver", tmp_path) as runner:
        with pytest.raises(LoadFailed, match=r"could not load the model: .*tensor 'blk.2.attn_norm.weight' not found"):
            await runner.load(ModelFiles(weights=str(odd)), load_options(program=program))


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "is not there, or is no program"),
        ("#!/bin/sh\necho 'error: invalid argument' >&2\nexit 1\n", "cannot be run: error: invalid argument"),
        ("#!/bin/sh\nkill -ILL $$\n", "cannot be run: killed by SIGILL"),
        ("no program at all", "cannot be run: .*Exec format error"),
    ],
)
async def test_a_program_that_does_not_run_is_named(tmp_path: Path, script: str | None, why: str) -> None:
    path = tmp_path / "my-server"
    if script is not None:
        path.write_text(script)
        path.chmod(0o755)
    async with spawned("llamaserver", tmp_path) as runner:
        with pytest.raises(EngineMissing, match=f"my-server.*{why}"):
            await runner.load(ModelFiles(weights=str(BUILTIN_MODEL)), load_options(program=str(path)))


@pytest.mark.parametrize("stream", [1, 2])
def test_cards_are_read_from_whatever_it_writes_to(tmp_path: Path, stream: int) -> None:
    path = tmp_path / "llama-server"
    cards = ("CUDA0: NVIDIA RTX 4090 (24564 MiB, 23000 MiB free)", "Vulkan1: AMD (x) (10 MiB, 5 MiB free)")
    said = "\\n  ".join(["Available devices:", *cards])
    path.write_text(f"#!/bin/sh\nprintf '{said}\\n' >&{stream}\n")
    path.chmod(0o755)
    assert devices(str(path)) == [Device("CUDA0", 24564 << 20, 23000 << 20), Device("Vulkan1", 10 << 20, 5 << 20)]


async def test_without_a_program_it_says_how_to_get_one(tmp_path: Path) -> None:
    async with spawned("llamaserver", tmp_path) as runner:
        with pytest.raises(EngineMissing, match="a3s-power engine build"):
            await runner.load(ModelFiles(weights=str(BUILTIN_MODEL)), load_options(program=""))


async def test_added_flags_reach_it_and_no_others(program: str, tmp_path: Path, tiny: Path) -> None:
    added = ("--swa-full", "--cache-reuse", "16")
    async with loaded("llamaserver", tmp_path, tiny, program=program, arguments=added) as runner:
        command = Path(f"/proc/{_program_of(runner)}/cmdline").read_bytes().split(b"\0")
        assert command[-4:-1] == [b"--swa-full", b"--cache-reuse", b"16"]
    async with spawned("llamaserver", tmp_path) as runner:
        options = load_options(program=program, arguments=("--host", "0.0.0.0"))
        with pytest.raises(BadConfig, match="'--host' is not among the flags"):
            await runner.load(ModelFiles(weights=str(tiny)), options)


async def test_where_no_socket_fits_a_key_stands_before_a_port(program: str, tmp_path: Path, tiny: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    async with loaded("llamaserver", deep, tiny, program=program) as runner:
        command = Path(f"/proc/{_program_of(runner)}/cmdline").read_bytes()
        (key,) = deep.rglob("key")
        assert b"127.0.0.1" in command
        assert key.read_bytes() not in command
        assert key.stat().st_mode & 0o077 == 0
        assert (await answer(runner, raw("x", num_predict=3)))[1].usage.output_tokens == 3


def test_the_server_runs_on_it_and_names_one_that_is_missing(program: str, tmp_path: Path) -> None:
    path = tmp_path / "my-server"
    asked = {"model": "power-tiny", "prompt": "Hello", "stream": False, "options": {"temperature": 0}}
    with served(tmp_path, A3S_POWER_LLAMA_SERVER=str(path)) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            server.post("/api/generate", asked)
        assert str(path) in json.loads(caught.value.read())["error"]
        path.symlink_to(program)
        assert server.post("/api/generate", asked)["response"] == "Hello! How can I help you?"
        assert str(path) in server.log()


def test_adapters_get_names_that_a_list_can_hold(tmp_path: Path) -> None:
    odd, plain = tmp_path / "a,b:c.gguf", tmp_path / "d.gguf"
    odd.write_text("odd")
    files = _plainly_named(ModelFiles(weights="/m", adapters=((str(odd), 0.5), (str(plain), 1.0))), tmp_path)
    (first, scale), second = files.adapters
    assert not set(first) & set(",:")
    assert Path(first).read_text() == "odd"
    assert (scale, second) == (0.5, (str(plain), 1.0))
