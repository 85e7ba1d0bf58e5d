"""A server for the length of one command: started on a free loopback port, gone when the command is."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from a3s_power import config, paths
from a3s_power.cli.client import Client, Refused, Unreachable
from a3s_power.core.addresses import Address
from a3s_power.core.errors import PowerError

_FAREWELL_SECONDS: Final = 10.0
_TERMINATE_SECONDS: Final = 5.0
_BACKLOG: Final = 64
_LOG_LINES: Final = 5


@contextlib.contextmanager
def server_for(client: Client) -> Iterator[Client]:
    """The client's server; where none listens on a loopback address, one of our own until the context is left.

    Raises:
        Unreachable: nobody listens, and the address is not on this machine.
    """
    if not client.address.loopback:
        client.require()
    if client.reachable():
        yield client
        return
    print(f"No server at {client.address.url}: serving for this command only.", file=sys.stderr)
    with _own_server() as own:
        yield own


@contextlib.contextmanager
def _own_server() -> Iterator[Client]:
    settings = config.load(paths.config_file()).config
    log_file = paths.places(data_dir=settings.data_dir).logs / "run.log"
    with _opened(log_file) as log, _started(log) as (process, address):
        try:
            yield Client(address)
        except (Unreachable, Refused):
            if _gone(process):
                raise PowerError(f"the server ended: {_last_lines(log_file)}") from None
            raise


def _opened(log_file: Path) -> IO[bytes]:
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        return log_file.open("wb")
    except OSError as error:
        raise PowerError(f"open {log_file}: {error.strerror}") from error


@contextlib.contextmanager
def _started(log: IO[bytes]) -> Iterator[tuple[subprocess.Popen[bytes], Address]]:
    """A server process and its address. It ends with its standard input: it cannot outlive us, whatever becomes of us.

    It can be asked at once: requests wait in the socket, which is ours, until the server has started to take them.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        host, port = listener.getsockname()
        # -P: the folder we were started in is no place to import from.
        program = [sys.executable, "-P", "-m", "a3s_power", "serve", "--listen-fd", str(listener.fileno())]
        process = subprocess.Popen(  # noqa: S603 -- our own program, by a list
            program,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            # A Ctrl-C at the terminal is for us; we then end the server.
            start_new_session=True,
        )
    try:
        yield process, Address(host=host, port=port)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close its input and wait; what does not go by itself is made to."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close() if process.stdin else None
    for ask, patience in ((process.terminate, _FAREWELL_SECONDS), (process.kill, _TERMINATE_SECONDS)):
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            ask()
        else:
            return
    process.wait()


def _gone(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, or is about to: a connection may break a moment before."""
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        return False
    return True


def _last_lines(log_file: Path) -> str:
    lines = log_file.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:]
    return "\n".join(lines) or f"it said nothing, see {log_file}"
