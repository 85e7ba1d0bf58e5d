"""`a3s-power logs`: what the server of this machine has written, where it writes that to a place we know."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from a3s_power import config, paths
from a3s_power.cli.options import BOOLEAN, WHOLE, Flag, command
from a3s_power.cli.service import NAME, Systemd
from a3s_power.cli.terminal import harmless, is_terminal
from a3s_power.core.errors import PowerError

_LINES: Final = 100
_PERIOD_SECONDS: Final = 0.5
_READ_BYTES: Final = 1 << 20


@command(
    "logs",
    Flag("-f --follow", "Go on with what is written from now on, until interrupted", BOOLEAN),
    Flag("-n --lines", f"How many of the last lines, {_LINES} unless said", WHOLE),
    most=0,
)
def logs(words: tuple[str, ...], *, follow: bool, lines: int | None) -> None:  # noqa: ARG001 -- it takes none
    """Print the last lines of the service's log, or of the last server that a command started for itself."""
    count = _LINES if lines is None else lines
    unit = Systemd(of_machine=hasattr(os, "geteuid") and os.geteuid() == 0)
    if unit.file.exists() and shutil.which("journalctl"):
        scope = [] if unit.of_machine else ["--user"]
        command = ["journalctl", *scope, "--no-pager", "-u", NAME, "-n", str(count), *(["-f"] if follow else [])]
        with suppress(KeyboardInterrupt):
            subprocess.run(command, check=False)  # noqa: S603 -- our own words
        return
    file = _newest()
    print(f"{file}:", file=sys.stderr)
    _print(file, count, follow=follow)


def _newest() -> Path:
    folder = paths.places(data_dir=config.load(paths.config_file()).config.data_dir).logs
    files = sorted(folder.glob("*.log"), key=lambda file: file.stat().st_mtime)
    if not files:
        raise PowerError(f"no log in {folder}: a server in a terminal writes there, to standard error")
    return files[-1]


def _print(file: Path, count: int, *, follow: bool) -> None:
    with file.open("rb") as log, suppress(KeyboardInterrupt):
        log.seek(max(0, log.seek(0, os.SEEK_END) - _READ_BYTES))
        _say(b"".join(log.read().splitlines(keepends=True)[-count:] if count > 0 else ()))
        while follow:
            _say(log.read())
            time.sleep(_PERIOD_SECONDS)


def _say(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    print(harmless(text) if is_terminal(sys.stdout) else text, end="", flush=True)
