"""The build: from the source package to programs on the shelf, in a folder of its own that is gone if it fails."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from a3s_power.core.errors import EngineFailed, PowerError
from a3s_power.core.sizes import human_bytes
from a3s_power.native.shelf import BENCH, BUILDING, PROGRAM, Backend, Built, Shelf
from a3s_power.native.source import PINNED, Source, fetch, unpack
from a3s_power.native.tools import TOOLKITS, Tools, completed, find

ROOM_BYTES: Final = 1_500_000_000
"""What source, objects and programs take while they are built, with some to spare."""
_TARGETS: Final = (PROGRAM, BENCH)
_FLAGS: Final = (
    *("-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF"),
    *("-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_OPENSSL=OFF"),
    *("-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF"),
)
_STEP: Final = re.compile(r"\[(\d+)/(\d+)\] ")
_LAST_LINES: Final = 12
_GENTLE_SECONDS: Final = 5.0

Tell = Callable[[str, int, int], None]
"""Told what goes on, and of it so many steps of so many; 0 of 0 where that is not known."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to build. `said` is a file or URL of the source, empty for pip's index; `jobs` are processes at once."""

    environ: Mapping[str, str]
    processor: str
    jobs: int
    said: str = ""
    backend: Backend | None = None
    offline: bool = False
    source: Source = PINNED


def build(order: Order, shelf: Shelf, tell: Tell) -> Built:
    """Build an engine, and stand it on the shelf under its version and processor. It is not chosen by that.

    Raises:
        NotSupported: a tool is missing that only the user can install.
        NotAllowed: something would have to be fetched, and this machine is set to be offline.
        PowerError: no room, no source, or a build that failed, with its last lines.
    """
    tools = find(order.environ, order.backend)
    shelf.folder.mkdir(parents=True, exist_ok=True)
    _sweep(shelf.folder)
    free = shutil.disk_usage(shelf.folder).free
    if free < ROOM_BYTES:
        raise PowerError(f"a build takes {human_bytes(ROOM_BYTES)} in {shelf.folder}, and {human_bytes(free)} are free")
    with _workshop(shelf.folder) as folder:
        tell(f"fetching {order.source.file}", 0, 0)
        package = fetch(order.source, order.said, folder, order.environ, offline=order.offline)
        tell("unpacking", 0, 0)
        tree = unpack(package, order.source, folder / "source")
        tools = completed(tools, folder / "tools", order.environ)
        made = _made(tree, folder, tools, order, tell)
        facts = _facts(order, tools)
        shelf.put(made, facts)
        return facts


def _facts(order: Order, tools: Tools) -> Built:
    kind = "" if tools.backend == "cpu" else f"-{tools.backend}"
    return Built(
        name=f"{order.source.version}-{_slug(order.processor)}{kind}",
        version=order.source.version,
        sha256=order.source.sha256,
        processor=order.processor,
        backend=tools.backend,
        compiler=tools.compiler,
        built=time.time(),
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("(r)", "").replace("(tm)", "")).strip("-") or "cpu"


def _made(tree: Path, folder: Path, tools: Tools, order: Order, tell: Tell) -> Path:
    """A folder with the programs. Raises PowerError."""
    objects, made, log = folder / "objects", folder / "made", folder / "log"
    flag = TOOLKITS[tools.backend][1]
    configure = [tools.cmake, "-S", str(tree), "-B", str(objects), f"-DCMAKE_MAKE_PROGRAM={tools.ninja}", *_FLAGS]
    tell("configuring", 0, 0)
    with log.open("w+", encoding="utf-8", errors="replace") as lines:
        _run([*configure, *([flag] if flag else [])], order.environ, lines.write)
        told = _Steps(lines.write, tell)
        command = [tools.ninja, "-C", str(objects), "-j", str(order.jobs), *_TARGETS]
        _run(command, {**order.environ, "NINJA_STATUS": "[%f/%t] "}, told.line)
    made.mkdir()
    for name in _TARGETS:
        found = next((path for path in objects.rglob(name) if path.is_file()), None)
        if found is None:
            raise PowerError(f"the build made no {name}")
        shutil.move(found, made / name)
    _check(made / PROGRAM)
    return made


class _Steps:
    """Hears ninja's lines, and tells how far it is."""

    def __init__(self, keep: Callable[[str], object], tell: Tell) -> None:
        self._keep = keep
        self._tell = tell

    def line(self, line: str) -> None:
        """A line of ninja's."""
        self._keep(line)
        if found := _STEP.match(line):
            self._tell("building", int(found[1]), int(found[2]))


def _run(command: list[str], environ: Mapping[str, str], take: Callable[[str], object]) -> None:
    """Run a program, with its lines going to `take`. However it is left, nothing of it runs on. Raises PowerError."""
    last: list[str] = []
    process = subprocess.Popen(  # noqa: S603 -- a list of ours
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 -- it is a pipe
        for line in process.stdout:
            take(line)
            last = [*last[1 - _LAST_LINES :], line.rstrip()]
        code = process.wait()
    finally:
        _end(process)
    if code != 0:
        raise PowerError(f"{Path(command[0]).name} failed:\n" + "\n".join(last))


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and what it has started: ninja's compilers are in groups of their own, and only it ends those."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.terminate()
        process.wait(_GENTLE_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _check(program: Path) -> None:
    """Raise EngineFailed for a program that does not run here."""
    try:
        ran = subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603
    except OSError as error:
        raise EngineFailed(f"what was built does not run: {error}") from error
    if ran.returncode != 0:
        raise EngineFailed(f"what was built does not run: status {ran.returncode}")


@contextlib.contextmanager
def _workshop(shelf: Path) -> Iterator[Path]:
    """A folder beside the engines, gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{BUILDING}{os.getpid()}-", dir=shelf))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(shelf: Path) -> None:
    """Remove what builds left that were killed."""
    for folder in shelf.glob(f"{BUILDING}*"):
        owner = folder.name.removeprefix(BUILDING).partition("-")[0]
        if owner.isdecimal() and not _alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
