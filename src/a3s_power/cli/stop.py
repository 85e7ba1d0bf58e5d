"""`a3s-power stop`: a model leaves the server's memory."""

from http import HTTPStatus

from a3s_power.cli.client import Client, Refused, connect
from a3s_power.cli.options import command
from a3s_power.core.errors import ModelNotFound, PowerError


@command("stop", least=1, most=1)
def stop(words: tuple[str, ...]) -> None:
    """Stop a running model."""
    (model,) = words
    try:
        unload(connect(), model)
    except ModelNotFound:
        raise PowerError(f'couldn\'t find model "{model}" to stop') from None


def unload(client: Client, model: str) -> None:
    """Take a model out of memory; one that is not in it stays out. Raises ModelNotFound, and Refused."""
    try:
        client.ask("POST", "/api/show", {"model": model})
        for _ in client.stream("/api/generate", {"model": model, "keep_alive": "0s"}):
            pass
    except Refused as error:
        if error.code == HTTPStatus.NOT_FOUND:
            raise ModelNotFound(model) from error
        raise
