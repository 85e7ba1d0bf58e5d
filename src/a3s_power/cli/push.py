"""`a3s-power push`: a model to a registry."""

from http import HTTPStatus

from a3s_power.cli.client import Client, Refused, connect
from a3s_power.cli.options import BOOLEAN, Flag, command
from a3s_power.cli.progress import Progress, follow
from a3s_power.cli.terminal import one_line
from a3s_power.core.errors import InvalidName, PowerError
from a3s_power.core.names import DEFAULT_TAG, ModelName

_OLLAMA = (".ollama.ai", ".ollama.com")
_SITE = "https://ollama.com/"


@command(
    "push",
    Flag("--destination", "Registry to push to in place of the one that the name says, such as https://host"),
    Flag("--insecure", "Let the registry be spoken to without encryption", BOOLEAN),
    least=1,
    most=1,
)
def push(words: tuple[str, ...], *, destination: str | None, insecure: bool) -> None:
    """Push a model, telling on standard error how it goes and at the end where it is."""
    (model,) = words
    client = connect()
    client.require()
    place = _place(model, destination or "")
    if place.host.endswith(_OLLAMA) and (refusal := _sign_in(client)):
        print(refusal, end="")
        return
    request = {"model": model} | ({"destination": destination} if destination else {})
    try:
        with Progress() as progress:
            follow(client.stream("/api/push", request | ({"insecure": True} if insecure else {})), progress, _label)
    except Refused as error:
        if "access denied" in str(error) or "unauthorized" in str(error):
            complaint = "you are not authorized to push to this namespace, create the model under a namespace you own"
            raise PowerError(complaint) from error
        raise
    print(f"\nYou can find your model at:\n\n\t{one_line(_shown(place))}")


def _place(model: str, destination: str) -> ModelName:
    """The name under which the model can be found then. One that is none is the server's to refuse."""
    try:
        name = ModelName.parse(model)
        host, _, path = destination.rpartition("://")[2].rstrip("/").partition("/")
        return ModelName.parse(f"{host}/{path}") if path else ModelName(host or name.host, *name.parts[1:])
    except InvalidName:
        return ModelName("invalid", "invalid", "invalid")


def _shown(place: ModelName) -> str:
    if place.host.endswith(_OLLAMA):
        return _SITE + place.short.removesuffix(f":{DEFAULT_TAG}")
    return place.full


def _sign_in(client: Client) -> str:
    """What to tell somebody who is not signed in; empty when the server knows an account, or does not do accounts."""
    try:
        client.ask("POST", "/api/me")
    except Refused as error:
        if error.code != HTTPStatus.UNAUTHORIZED:
            return ""
        url = error.fields.get("signin_url")
        where = f"If your browser did not open, navigate to:\n    {one_line(str(url))}\n\n" if url else ""
        return f"You need to be signed in to push models to ollama.com.\n\n{where}"
    return ""


def _label(digest: str, status: str) -> str:
    return status or f"pushing {digest.removeprefix('sha256:')[:12]}..."
