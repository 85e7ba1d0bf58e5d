"""`a3s-power create`: a model from a Modelfile; the files it names become blobs, uploaded where they must be."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from a3s_power.cli.client import Client, connect
from a3s_power.cli.files import digests, send
from a3s_power.cli.options import Flag, command
from a3s_power.cli.progress import Progress, follow
from a3s_power.cli.sources import Files, adapters, draft, sources
from a3s_power.core.errors import BadModelfile, BadRequest, InvalidName
from a3s_power.core.modelfile import Modelfile, Name
from a3s_power.core.names import ModelName

_LINKS: Final = ("hard", "reference")
_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)")


@command(
    "create",
    Flag("-f --file", 'Modelfile to read, in place of "Modelfile" in this folder'),
    Flag("-q --quantize", "Weight type to quantize to, such as q4_K_M"),
    Flag("--draft-quantize", "The same for the draft model"),
    Flag("--link", "Use local files where they lie: hard, by a hard link, or reference"),
    least=1,
    most=1,
)
def create(
    words: tuple[str, ...], *, file: str | None, quantize: str | None, draft_quantize: str | None, link: str | None
) -> None:
    """Create a model, telling on standard error how it goes."""
    (name,) = words
    _check_name(name)
    if link is not None and link not in _LINKS:
        raise BadRequest(f'invalid value for --link: "{link}" (must be {" or ".join(_LINKS)})')
    modelfile, folder = _read(file)
    client = connect()
    client.require()
    with Progress() as progress:
        progress.status("gathering model components")
        source, files = sources(modelfile.all("from"), folder)
        drafted = draft(modelfile.all("draft"), folder, modelfile.all("from"))
        if draft_quantize and not drafted:
            raise BadRequest("--draft-quantize requires a DRAFT model")
        named = {"files": files, "draft_files": drafted, "adapters": adapters(modelfile.all("adapter"), folder)}
        request = {"model": name, "from": source, **_request(modelfile)}
        request |= {"quantize": quantize, "draft_quantize": draft_quantize}
        send_all = _way(client, link, progress) if any(named.values()) else None
        request |= {field: send_all(found) for field, found in named.items() if send_all and found}
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


def _way(client: Client, link: str | None, progress: Progress) -> Callable[[Files], dict[str, str]]:
    """What makes files blobs of the server, and gives their digests. Raises BadRequest when they cannot be linked."""
    if client.address.loopback:
        from a3s_power.cli import beside  # noqa: PLC0415 -- brings the store along, which remote servers need not

        blobs = beside.shared_blobs(client)
        if blobs is not None and link:
            return lambda files: beside.linked(client, blobs, files, link, progress)
        if blobs is not None:
            return lambda files: beside.placed(blobs, files, progress)
    if link:
        raise BadRequest("--link needs a server on this machine that uses the models folder of these settings")
    return lambda files: _sent(client, files, progress)


def _sent(client: Client, files: Files, progress: Progress) -> dict[str, str]:
    """The digest of each file, once the server has them all."""
    found = digests(files)
    for name, digest in found.items():
        send(client, digest, files[name], progress)
    return found


def _label(digest: str, status: str) -> str:
    return status or f"pulling {digest.removeprefix('sha256:')[:12]}..."
