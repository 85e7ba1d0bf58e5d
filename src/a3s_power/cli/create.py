"""`a3s-power create`: a model from a Modelfile; the files it names are uploaded as blobs."""

import re
from pathlib import Path
from typing import Any

from a3s_power.cli.client import Client, connect
from a3s_power.cli.files import digests, send
from a3s_power.cli.options import Flag, command
from a3s_power.cli.progress import Progress, follow
from a3s_power.cli.sources import Files, adapters, sources
from a3s_power.core.errors import BadModelfile, BadRequest, InvalidName
from a3s_power.core.modelfile import Modelfile, Name
from a3s_power.core.names import ModelName

_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)")


@command(
    "create",
    Flag("-f --file", 'Modelfile to read, in place of "Modelfile" in this folder'),
    Flag("-q --quantize", "Weight type to quantize to, such as q4_K_M"),
    least=1,
    most=1,
)
def create(words: tuple[str, ...], *, file: str | None, quantize: str | None) -> None:
    """Create a model, telling on standard error how it goes."""
    (name,) = words
    _check_name(name)
    modelfile, folder = _read(file)
    client = connect()
    client.require()
    with Progress() as progress:
        progress.status("gathering model components")
        source, files = sources(modelfile.all("from"), folder)
        laid_over = adapters(modelfile.all("adapter"), folder)
        request = {"model": name, "from": source, **_request(modelfile), "quantize": quantize or ""}
        request |= {"files": _sent(client, files, progress), "adapters": _sent(client, laid_over, progress)}
        lines = client.stream("/api/create", {key: value for key, value in request.items() if value})
        follow(lines, progress, _label)


def _check_name(name: str) -> None:
    try:
        ModelName.parse(name)
    except InvalidName:
        raise BadRequest(f"invalid model name: {name}") from None


def _read(file: str | None) -> tuple[Modelfile, Path]:
    """The Modelfile, and the folder its paths start from. Without one, the folder itself is the source."""
    path = Path(file or "Modelfile").absolute()
    try:
        return Modelfile.parse(path.read_bytes()), path.parent
    except FileNotFoundError:
        if file:
            raise BadModelfile(f"specified Modelfile wasn't found: {file}") from None
        return Modelfile.parse("FROM ."), path.parent
    except OSError as error:
        raise BadModelfile(f"open {path}: {error.strerror}") from error


def _request(modelfile: Modelfile) -> dict[str, Any]:
    """What of the Modelfile goes into the request as it is. Raises BadModelfile."""
    if modelfile.all("draft"):
        raise BadModelfile("DRAFT is not supported by this version")
    parameters, dropped = modelfile.parameters()
    for parameter in dropped:
        print(f"warning: parameter {parameter} is deprecated")
    one_of: tuple[Name, ...] = ("template", "system", "renderer", "parser")
    return {
        **{name: modelfile.last(name) for name in one_of},
        "requires": _requires(modelfile.last("requires")),
        "license": modelfile.all("license"),
        "parameters": parameters,
        "messages": modelfile.messages,
    }


def _requires(text: str) -> str:
    version = _VERSION.fullmatch(text)
    if text and version is None:
        raise BadModelfile("requires must be a valid semver (e.g. 0.14.0)")
    return version[1] if version else ""


def _sent(client: Client, files: Files, progress: Progress) -> dict[str, str]:
    """The digest of each file, once the server has them all."""
    found = digests(files)
    for name, digest in found.items():
        send(client, digest, files[name], progress)
    return found


def _label(digest: str, status: str) -> str:
    return status or f"pulling {digest.removeprefix('sha256:')[:12]}..."
