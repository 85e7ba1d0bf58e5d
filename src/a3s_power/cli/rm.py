"""`a3s-power rm`: models go, one after the other."""

import sys

from a3s_power.cli.client import Client, Refused, connect
from a3s_power.cli.options import command
from a3s_power.cli.stop import unload
from a3s_power.core.errors import ModelNotFound


@command("rm", least=1)
def rm(words: tuple[str, ...]) -> None:
    """Remove models; the first that cannot be removed ends it."""
    client = connect()
    for model in words:
        _unload(client, model)
        client.ask("DELETE", "/api/delete", {"model": model})
        print(f"deleted '{model}'")


def _unload(client: Client, model: str) -> None:
    try:
        unload(client, model)
    except ModelNotFound:
        return
    except Refused:
        print(f"Warning: unable to stop model '{model}'", file=sys.stderr)
