"""`a3s-power doctor`: what the server needs on this machine, one line each, and what to do where it is missing."""

import errno
import importlib.metadata
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from a3s_power import __version__, config, paths
from a3s_power.cli.client import Client, connect
from a3s_power.cli.display import print_json, table
from a3s_power.cli.options import command, json_flag
from a3s_power.config import Config
from a3s_power.core.errors import PowerError
from a3s_power.core.sizes import human_bytes
from a3s_power.hardware import cpu, gpus
from a3s_power.hardware.machine import ROOT, Machine

_ENGINE: Final = "xllamacpp"
_LITTLE_ROOM: Final = 5_000_000_000
_LITTLE_MEMORY: Final = 2_000_000_000
_OLDEST_CLOCK: Final = 1_767_225_600.0
"""The beginning of 2026 in seconds since 1970: a clock before it was never set."""
_PATIENCE_SECONDS: Final = 2.0


class Finding(NamedTuple):
    """What was looked at, whether it is well, what was seen, and what to do about it."""

    name: str
    ok: bool
    seen: str
    advice: str = ""


@command("doctor", json_flag(), most=0)
def doctor(words: tuple[str, ...], *, json: bool) -> None:  # noqa: ARG001 -- it takes none
    """Look at everything, and fail when something is wrong."""
    found = list(findings())
    if json:
        print_json([finding._asdict() for finding in found])
    else:
        rows = [("ok" if each.ok else "!!", each.name, each.seen, each.advice) for each in found]
        print(table(rows, wrap_at=100), end="")
    if wrong := [each.name for each in found if not each.ok]:
        raise PowerError(f"not well: {', '.join(wrong)}")


def findings() -> Iterator[Finding]:
    """One after the other, each as it is found. A file of settings that cannot be read is the only one then."""
    try:
        loaded = config.load(paths.config_file())
    except PowerError as error:
        yield Finding("settings", ok=False, seen=str(error), advice="mend the file")
        return
    yield _settings(loaded)
    for look in _LOOKS:
        yield look(loaded.config)


def _settings(loaded: config.Loaded) -> Finding:
    ignored = "; ".join(f"{name}: {why}" for name, why in loaded.warnings.items())
    return Finding(
        "settings",
        not ignored,
        ignored or f"{len(loaded.origins)} are not the default",
        "see a3s-power config check" if ignored else "",
    )


def _engine(settings: Config) -> Finding:
    """What runs the models, and whether an engine built for this processor would be faster."""
    from a3s_power.cli.native import chosen_engine, would_pay  # noqa: PLC0415 -- by this command only
    from a3s_power.engines.llamaserver_process import devices  # noqa: PLC0415 -- likewise

    try:
        choice = chosen_engine(settings)
        if choice.program:
            devices(choice.program)
    except PowerError as error:
        return Finding("engine", ok=False, seen=str(error), advice="see a3s-power engine list")
    if choice.program:
        return Finding("engine", ok=True, seen=f"{choice.name}: {choice.program}")
    found = _library()
    return found._replace(advice=would_pay(settings)) if found.ok else found


def _library() -> Finding:
    from a3s_power.engines.llamacpp_library import missing_features  # noqa: PLC0415 -- by this command only

    try:
        version = importlib.metadata.version(_ENGINE)
    except importlib.metadata.PackageNotFoundError:
        return Finding("engine", ok=False, seen=f"{_ENGINE} is not installed", advice=f"pip install {_ENGINE}")
    cpuinfo = Path("/proc/cpuinfo")
    missing = missing_features(cpuinfo.read_text()) if cpuinfo.exists() and Machine.look().x86 else ()
    seen = f"llama.cpp by {_ENGINE} {version}" + (f"; the processor lacks {', '.join(missing)}" if missing else "")
    return Finding("engine", not missing, seen, "a3s-power engine build" if missing else "")


def _processor(settings: Config) -> Finding:  # noqa: ARG001
    cores = cpu.cores(ROOT)
    return Finding("processor", ok=True, seen=f"{cores} cores for models" if cores > 1 else "1 core for models")


def _memory(settings: Config) -> Finding:  # noqa: ARG001
    machine = Machine.look()
    if not machine.memory_bytes:
        return Finding("memory", ok=True, seen="not known on this system")
    seen = f"{human_bytes(machine.free_bytes)} free of {human_bytes(machine.memory_bytes)}"
    little = machine.free_bytes < _LITTLE_MEMORY
    return Finding("memory", not little, seen, "end something else, or take smaller models" if little else "")


def _graphics(settings: Config) -> Finding:
    """Which cards there are, and whether the engine in use can use them."""
    from a3s_power.cli.cards import told  # noqa: PLC0415 -- by this command only
    from a3s_power.cli.native import chosen_engine  # noqa: PLC0415 -- likewise
    from a3s_power.engines import backends  # noqa: PLC0415 -- likewise

    try:
        choice = chosen_engine(settings)
        kinds = backends.of_choice(choice.engine, choice.program)
    except PowerError:
        # The line on the engine says what is wrong with it.
        kinds = frozenset()
    found = gpus.look(ROOT, paths.environment())
    return Finding("graphics", *told(found, kinds, required=settings.gpu.require))


def _folder(settings: Config) -> Finding:
    """The models folder: whether this user may write there, and how much room it has."""
    folder = paths.places(data_dir=settings.data_dir, models=settings.models).models
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            "models folder",
            ok=False,
            seen=f"{there} cannot be written by this user",
            advice="change its owner, or set OLLAMA_MODELS",
        )
    free = shutil.disk_usage(there).free
    little = free < _LITTLE_ROOM
    return Finding(
        "models folder",
        not little,
        f"{folder}, {human_bytes(free)} free",
        "a3s-power df, a3s-power prune" if little else "",
    )


def _port(settings: Config) -> Finding:  # noqa: ARG001
    """Whether a server of ours answers at the address, somebody else has it, or it is free."""
    client: Client = connect()
    address = client.address
    try:
        if client.reachable():
            version = client.version(_PATIENCE_SECONDS)
            if version:
                return Finding("server", ok=True, seen=f"{address.url} answers, version {version}")
            return Finding(
                "server",
                ok=False,
                seen=f"something else answers at {address.url}",
                advice="set OLLAMA_HOST to another port",
            )
    except PowerError as error:
        return Finding("server", ok=False, seen=str(error), advice="see OLLAMA_HOST")
    return (
        _free(address.host, address.port)
        if address.loopback
        else Finding("server", ok=False, seen=f"nobody answers at {address.url}", advice="start it there")
    )


def _free(host: str, port: int) -> Finding:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "")
        return Finding(
            "server",
            ok=False,
            seen=f"port {port} cannot be listened on: {os.strerror(error.errno or 0)} ({name})",
            advice="choose another",
        )
    return Finding("server", ok=True, seen=f"not running; port {port} is free", advice="a3s-power serve")


def _clock(settings: Config) -> Finding:  # noqa: ARG001
    wrong = time.time() < _OLDEST_CLOCK
    return Finding(
        "clock", not wrong, time.strftime("%Y-%m-%d %H:%M:%S %z"), "set it: certificates look invalid" if wrong else ""
    )


def _proxies(settings: Config) -> Finding:
    if settings.offline:
        return Finding("network", ok=True, seen="offline by the settings: nothing is pulled")
    named = sorted(
        name for name in paths.environment() if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    )
    return Finding("network", ok=True, seen=f"proxies by {', '.join(named)}" if named else "no proxy")


def _version(settings: Config) -> Finding:  # noqa: ARG001
    return Finding("version", ok=True, seen=__version__)


_LOOKS: Final[tuple[Callable[[Config], Finding], ...]] = (
    *(_version, _engine, _processor, _memory, _graphics, _folder, _port, _clock, _proxies),
)
