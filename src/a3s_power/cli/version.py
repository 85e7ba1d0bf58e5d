"""`a3s-power --version`: the server's version and the command's own."""

import socket
import sys

from a3s_power import __version__, paths
from a3s_power.core.addresses import Address, read_address
from a3s_power.core.errors import PowerError

_PATIENCE_SECONDS = 1.0


def __getattr__(name: str) -> object:
    """The command `version`, made when the table of commands asks for it: `--version` does without."""
    if name != "version":
        raise AttributeError(name)
    from a3s_power.cli.options import command  # noqa: PLC0415

    return command("version", most=0)(lambda words: show_version())  # noqa: ARG005 -- it takes none


def show_version() -> None:
    """Print what runs. A server that cannot be reached is a warning, as in Ollama."""
    address = _address()
    server = _server_version(address) if _reachable(address) else ""
    if not server:
        print("Warning: could not connect to a running A3S Power instance")
    else:
        print(f"a3s-power version is {server}")
    if server != __version__:
        print(f"Warning: client version is {__version__}")


def _address() -> Address:
    """Where the server is. Settings are read in full only where a file holds some: that takes longer than the rest."""
    if paths.config_file().exists():
        from a3s_power import config  # noqa: PLC0415

        try:
            return config.load(paths.config_file()).config.address.connectable
        except PowerError as error:
            sys.exit(f"Error: {error}")
    return read_address(paths.variable("OLLAMA_HOST")).over(Address()).connectable


def _reachable(address: Address) -> bool:
    try:
        socket.create_connection((address.host, address.port), _PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True


def _server_version(address: Address) -> str:
    from a3s_power.cli.client import Client  # noqa: PLC0415 -- only where somebody listens

    return Client(address).version(_PATIENCE_SECONDS)
