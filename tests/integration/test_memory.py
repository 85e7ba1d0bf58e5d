"""Memory that is short, in real processes: a clear refusal, a child that dies alone, and a server that lives."""

import os
import resource
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from a3s_power.core.errors import OutOfMemory, PowerError, RunnerDied
from a3s_power.core.limits import MIB
from a3s_power.core.model import ModelFiles
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from a3s_power.create.build import build
from a3s_power.create.child import Children
from a3s_power.hardware import memory
from a3s_power.runner.tail import LACK_OF_MEMORY
from a3s_power.store import Store
from tests.models import tiny_llama
from tests.runners import answer, load_options, loaded, raw, spawned
from tests.served import Served, served
from tests.shared import BUILTIN_MODEL
from tests.wide import wide_llama

pytestmark = pytest.mark.anyio

BUILTIN = "power-tiny"
ENDLESS = "<|im_start|>user\nRepeat la forever.<|im_end|>\n<|im_start|>assistant\n"


def limit_addresses(pid: int, mib: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (mib * MIB, hard))


async def test_the_dry_run_is_what_the_load_takes(tmp_path: Path) -> None:
    options = load_options(context_length=2048, parallel=2)
    async with spawned("llamacpp", tmp_path) as runner:
        forecast = await runner.foretell(ModelFiles(weights=str(BUILTIN_MODEL)), options)
    async with loaded("llamacpp", tmp_path, context_length=2048, parallel=2) as runner:
        before = memory.resident(runner.pid)
        text = "la " * 1500
        await answer(runner, raw(text, num_predict=8))
        taken = memory.resident(runner.pid)
    assert forecast.memory_bytes == pytest.approx(taken, rel=0.2)
    assert forecast.memory_bytes - forecast.untouched_bytes == pytest.approx(before, rel=0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="pages are given back on Linux only")
async def test_weights_that_are_rearranged_lie_in_memory_once_and_answer_as_if_they_were_not(tmp_path: Path) -> None:
    weights = quantised(tmp_path, "Q4_0")
    mib = Path(weights).stat().st_size / MIB
    taken, said = [], []
    for use_mmap in (None, False):
        async with loaded("llamacpp", tmp_path, weights, use_mmap=use_mmap, repack=True) as runner:
            said.append((await answer(runner, raw("la la", num_predict=8, temperature=0)))[0])
            taken.append(memory.resident(runner.pid) / MIB)
    assert mib > 16
    # Not held back: around each of the small tensors, which are read again, the system maps sixteen pages.
    assert taken[0] - taken[1] < 0.6 * mib
    assert said[0] == said[1]


def quantised(folder: Path, level: str) -> str:
    """Weights of a random model, as `create` makes them."""
    source, store = folder / "source.gguf", Store(folder / "models")
    wide_llama(source, layers=64)
    name = ModelName.parse("made")
    digest, _ = store.blobs.put(source.read_bytes())
    request = Create(model=name, files={"source.gguf": str(digest)}, quantize=level)
    children = Children({"PATH": os.environ["PATH"]})
    build(request, store, lambda _: None, check_template=lambda _: None, children=children)
    return store.models.read(name).files.weights


async def test_a_file_that_the_engine_cannot_read_ends_the_dry_run_alone(tmp_path: Path) -> None:
    unknown = tmp_path / "unknown.gguf"
    tiny_llama(unknown, key_values={"general.architecture": "nobody-knows"})
    async with spawned("llamacpp", tmp_path) as runner:
        with pytest.raises(PowerError):
            await runner.foretell(ModelFiles(weights=str(unknown)), load_options())


async def test_a_load_without_room_for_addresses_says_that_memory_is_short(tmp_path: Path) -> None:
    async with spawned("llamacpp", tmp_path) as runner:
        limit_addresses(runner.pid, 450)
        options = load_options(context_length=2048, parallel=256, kv_cache_type="f32")
        with pytest.raises(OutOfMemory):
            await runner.load(ModelFiles(weights=str(BUILTIN_MODEL)), options)


async def test_a_child_that_is_killed_without_a_word_died_most_likely_for_lack_of_memory(tmp_path: Path) -> None:
    async with (
        loaded("llamacpp", tmp_path, parallel=1) as runner,
        runner.run(raw(ENDLESS, num_predict=400)) as stream,
    ):
        await anext(stream)
        os.kill(runner.pid, signal.SIGKILL)
        with pytest.raises(RunnerDied, match=rf"SIGKILL: {LACK_OF_MEMORY} \(the model takes \d+ MB\)"):
            [_ async for _ in stream]


def refused(server: Served) -> str:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        server.post("/api/generate", {"model": BUILTIN, "prompt": "Hello", "stream": False})
    assert refusal.value.code == 500
    return refusal.value.read().decode()


def test_a_server_with_too_few_addresses_for_a_model_refuses_it_with_both_numbers_and_lives(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        limit_addresses(server.process.pid, 540)
        for _ in range(2):
            text = refused(server)
            assert "model requires more system memory (" in text
            assert "than is available (29 MB)" in text
        assert server.get("/api/version")
        assert server.children() == []


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of our own with a limit on memory, beneath the one that we are in."""
    parent, limit = limited_groups()
    if parent is None or not os.access(parent, os.W_OK):
        pytest.skip("needs a control group that may make groups with a limit on memory")
    folder = parent / f"a3s-power-test-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / limit).write_text(f"{300 * MIB}")
        yield folder
    finally:
        folder.rmdir()


@contextmanager
def within(group: Path) -> Iterator[None]:
    """This process is in the group meanwhile, and so is all that it starts."""
    own = str(os.getpid())
    (group / "cgroup.procs").write_text(own)
    try:
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(own)


def limited_groups() -> tuple[Path | None, str]:
    """The group in which groups can be made whose memory has a limit, and what the file of the limit is called."""
    lines = Path("/proc/self/cgroup").read_text().splitlines() if sys.platform == "linux" else []
    groups = {names: path.lstrip("/") for _, names, path in (line.split(":", 2) for line in lines)}
    mounts = Path("/sys/fs/cgroup")
    if "memory" in groups:
        return mounts / "memory" / groups["memory"], "memory.limit_in_bytes"
    passed_on = mounts / groups.get("", "") / "cgroup.subtree_control"
    here = passed_on.exists() and "memory" in passed_on.read_text()
    return passed_on.parent if here else None, "memory.max"


def test_a_server_in_a_group_with_too_little_memory_for_a_model_refuses_it_and_lives(
    tmp_path: Path, group: Path
) -> None:
    with within(group), served(tmp_path) as server:
        for _ in range(2):
            text = refused(server)
            assert "model requires more system memory (" in text
            assert "than is available (46 MB)" in text
        assert server.get("/api/version")
        assert server.children() == []
