"""`a3s-power create`: a model from a Modelfile; the files it names are uploaded as blobs."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from a3s_power.cli.client import Client, connect
from a3s_power.cli.options import Flag, command
from a3s_power.cli.progress import Bar, Progress
from a3s_power.core.errors import BadModelfile, BadRequest, InvalidName
from a3s_power.core.modelfile import Modelfile, Name
from a3s_power.core.names import ModelName

_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)")
_MAGIC: Final = b"GGUF"
_PATHS: Final = ("/", "./", "../", "~")

Files = dict[str, Path]
"""Files to upload, by the names the server shall know them by."""


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
        request = {"model": name, **_request(modelfile), "quantize": quantize or ""}
        sources, files = _sources(modelfile.all("from"), folder)
        adapters = _adapters(modelfile.all("adapter"), folder)
        request |= {"from": sources[-1] if sources else "", "files": _sent(client, files, progress)}
        request["adapters"] = _sent(client, adapters, progress)
        _follow(client.stream("/api/create", {key: value for key, value in request.items() if value}), progress)


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


def _sources(values: Iterable[str], folder: Path) -> tuple[list[str], Files]:
    """The models and the files that FROM lines name: what is no file and no path is taken for a model's name."""
    names, files = [], []
    for value in values:
        path = _path(value, folder)
        if path.is_dir():
            files += list(_weights(path))
        elif path.exists():
            files.append(path)
        elif value.startswith(_PATHS):
            raise BadModelfile(f"stat {path}: no such file or directory")
        else:
            names.append(value)
    return names, _named(files)


def _adapters(values: Iterable[str], folder: Path) -> Files:
    last = None
    for value in values:
        last = _path(value, folder)
        if not last.exists():
            raise BadModelfile(f"stat {last}: no such file or directory")
    if last is None:
        return {}
    return _named(_weights(last) if last.is_dir() else [last])


def _path(value: str, folder: Path) -> Path:
    try:
        return folder / Path(value).expanduser()
    except RuntimeError as error:
        raise BadModelfile(f"failed to find user '{value[1:].partition('/')[0]}': {error}") from None


def _weights(folder: Path) -> Iterator[Path]:
    """The GGUF files of a folder; one that only points to its content, as git-lfs leaves it, is none."""
    inside = folder.resolve()
    found = [path for path in sorted(folder.glob("*.gguf")) if path.is_file() and _is_gguf(path)]
    if not found:
        raise BadModelfile("no Modelfile or safetensors files found")
    for path in found:
        if not path.resolve().is_relative_to(inside):
            raise BadModelfile(f"insecure path: {path.name}")
        yield path


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _named(files: Iterable[Path]) -> Files:
    """A single file by its last name, several by their paths below the folder they have in common."""
    absolute = [Path(os.path.normpath(path)) for path in files]
    if len(absolute) == 1:
        return {absolute[0].name: absolute[0]}
    common = Path(os.path.commonpath([path.parent for path in absolute])) if absolute else Path()
    return {path.relative_to(common).as_posix(): path for path in absolute}


def _sent(client: Client, files: Mapping[str, Path], progress: Progress) -> dict[str, str]:
    """The digest of each file, once the server has them all."""
    digests = {}
    for name, path in files.items():
        try:
            digests[name] = _send(client, path, progress)
        except OSError as error:
            raise BadModelfile(f"open {path}: {error.strerror}") from error
    return digests


def _send(client: Client, path: Path, progress: Progress) -> str:
    with path.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if not client.has_blob(digest):
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            sent = client.upload(digest, file, size)
            progress.percent(f"copying file {digest}", (done / size for done in sent))
    return digest


def _follow(lines: Iterable[Mapping[str, Any]], progress: Progress) -> None:
    """Show what the server says it does."""
    bars: dict[str, Bar] = {}
    for line in lines:
        digest, status = str(line.get("digest", "")), str(line.get("status", ""))
        if not digest:
            progress.status(status)
        elif line.get("completed"):
            if digest not in bars:
                bars[digest] = progress.bar(
                    status or f"pulling {digest.removeprefix('sha256:')[:12]}...", line["total"]
                )
            bars[digest].set(line["completed"])
