"""`a3s-power stop`: a model leaves the server's memory."""

from http import HTTPStatus

from a3s_power.cli.client import Client, Refused, connect
from a3s_power.cli.options import BOOLEAN, Flag, command
from a3s_power.core.errors import BadRequest, ModelNotFound, PowerError


@command("stop", Flag("--all", "Every model that is loaded", BOOLEAN), least=0, most=1)
def stop(words: tuple[str, ...], *, all: bool) -> None:  # noqa: A002 -- the flag's name
    """Stop a running model."""
    if all == bool(words):
        raise BadRequest("accepts a model or --all" if all else "accepts 1 arg(s), received 0")
    client = connect()
    loaded = client.models("/api/ps") if all else ()
    for model in words or [each["name"] for each in loaded]:
        try:
            unload(client, model)
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
