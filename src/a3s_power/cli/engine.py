"""`a3s-power engine`: build an engine for this very machine, see which there are, choose one, take one away."""

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from a3s_power import config, paths
from a3s_power.cli.display import print_json, table
from a3s_power.cli.native import chosen_engine, factors, shelf
from a3s_power.cli.options import BOOLEAN, Flag, command, json_flag
from a3s_power.cli.terminal import is_terminal
from a3s_power.config import Config
from a3s_power.core.errors import BadRequest, NotFound, PowerError
from a3s_power.hardware import cpu, instructions
from a3s_power.hardware.machine import ROOT
from a3s_power.native.shelf import BACKENDS, OWN, WHEEL, Backend, Measured, Shelf

_WORDS: Final = ("build", "list", "use", "measure", "remove")
_NAMED: Final = ("use", "measure", "remove")


@command(
    "engine",
    Flag("--source", "File or URL of the source package; unset: the index that pip is set up with"),
    Flag("--backend", "What to build for: cpu, cuda or hip; unset: the card that is there with its toolkit"),
    Flag("--no-measure", "Do not measure what was built", BOOLEAN),
    json_flag(),
    most=2,
)
def engine(words: tuple[str, ...], *, source: str | None, backend: str | None, no_measure: bool, json: bool) -> None:
    """Build an engine and use it, list all, and by name: choose one (`use`), measure it again, take it away."""
    word, *names = words or ("list",)
    if word not in _WORDS:
        raise BadRequest(f'unknown word "{word}" for "a3s-power engine" (must be {", ".join(_WORDS)})')
    if (word in _NAMED) != bool(names):
        raise BadRequest(f"a3s-power engine {word} takes {'the name of an engine' if not names else 'no name'}")
    settings = config.load(paths.config_file()).config
    match word:
        case "build":
            _build(settings, source or "", _backend(backend), measured=not no_measure)
        case "list":
            _list(settings, json=json)
        case "use":
            shelf(settings).choose(names[0])
            _say_chosen(settings, names[0])
        case "measure":
            _measure(shelf(settings), names[0], _Progress())
        case "remove":
            shelf(settings).remove(names[0])
            print(f"removed engine '{names[0]}'")


def _backend(said: str | None) -> Backend | None:
    if said is None:
        return None
    found = next((kind for kind in BACKENDS if kind == said), None)
    if found is None:
        raise BadRequest(f"--backend must be one of {', '.join(BACKENDS)}, not {said!r}")
    return found


def _build(settings: Config, source: str, backend: Backend | None, *, measured: bool) -> None:
    """Build it, measure it, and use it from then on. A signal to end is as good as Ctrl-C: nothing is left behind."""
    from a3s_power.native.build import Order, build  # noqa: PLC0415 -- the other words do without

    before = signal.signal(signal.SIGTERM, _interrupted)
    stand, progress, began = shelf(settings), _Progress(), time.monotonic()
    order = Order(
        environ=paths.environment(),
        processor=instructions.name(Path("/proc/cpuinfo")),
        jobs=cpu.cores(ROOT),
        said=source,
        backend=backend,
        offline=settings.offline,
    )
    try:
        made = build(order, stand, progress.say)
        progress.end()
        print(f"built engine '{made.name}' in {time.monotonic() - began:.0f} seconds")
        stand.choose(made.name)
        if measured and made.backend == "cpu":
            _measure(stand, made.name, progress)
    finally:
        progress.end()
        signal.signal(signal.SIGTERM, before)
    _say_chosen(settings, made.name)


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 -- signal's signature
    raise KeyboardInterrupt


def _measure(stand: Shelf, name: str, progress: "_Progress") -> None:
    """How much faster it is than the prebuilt one; that nobody could find out is no reason not to use it."""
    from a3s_power.cli import trial  # noqa: PLC0415 -- after a build only

    if all(one.name != name for one in stand.built()):
        raise NotFound(f"no engine {name!r} was built here")

    def tell(done: int, total: int) -> None:
        progress.say("measuring", done, total)

    try:
        found = trial.measure(stand.program(name), paths.environment(), cpu.cores(ROOT), tell)
    except PowerError as error:
        progress.end()
        print(f"it could not be measured against the prebuilt one: {error}")
        return
    progress.end()
    stand.note(name, found)
    print(f"measured against the prebuilt one: {factors(found)} ({_rates(found)})")


def _rates(found: Measured) -> str:
    pairs = ((found.wheel.prompt, found.native.prompt), (found.wheel.output, found.native.output))
    return ", ".join(f"{before:.0f} -> {after:.0f} tokens/s" for before, after in pairs)


def _say_chosen(settings: Config, name: str) -> None:
    force = chosen_engine(settings).name
    if force != name:
        print(f"engine '{name}' is chosen, but the settings name another one: {force}")
        return
    print(f"engine '{name}' is used from the next start of the server on")


def _list(settings: Config, *, json: bool) -> None:
    found = _found(settings)
    if json:
        print_json(found)
        return
    rows = [("*" if each["used"] else "", str(each["name"]), str(each["what"])) for each in found]
    print(table(rows, ("", "NAME", "ENGINE"), wrap_at=100), end="")


def _found(settings: Config) -> list[dict[str, object]]:
    """Every engine: its name, what it is, whether it is the one in force."""
    force, stand = chosen_engine(settings), shelf(settings)
    found: list[tuple[str, str]] = [(WHEEL, "llama.cpp, prebuilt, for any processor")]
    if settings.llama_server.path:
        found.append((OWN, f"your llama-server, {settings.llama_server.path}"))
    for one in stand.built():
        speed = f"; {factors(one.measured)}" if one.measured else ""
        found.append((one.name, f"llama.cpp of xllamacpp {one.version}, built for {one.processor}{speed}"))
    if force.name not in dict(found):
        found.append((force.name, f"not there: {force.program}"))
    return [{"name": name, "what": what, "used": name == force.name} for name, what in found]


class _Progress:
    """One line that moves on a terminal; elsewhere a line for each new thing that is done."""

    def __init__(self) -> None:
        self._moving = is_terminal(sys.stderr)
        self._last = ""
        self._shown = 0

    def say(self, what: str, done: int, total: int) -> None:
        """So many steps of so many."""
        if self._moving:
            text = f"{what} {done}/{total}" if total else what
            print(f"\r{text:<{self._shown}}", end="", file=sys.stderr, flush=True)
            self._shown = len(text)
        elif what != self._last or (total and done * 10 // total != self._shown):
            print(f"{what} {done}/{total}" if total else what, file=sys.stderr, flush=True)
            self._shown = done * 10 // total if total else 0
        self._last = what

    def end(self) -> None:
        """The line is done."""
        if self._moving and self._shown:
            print(file=sys.stderr)
        self._shown = 0
