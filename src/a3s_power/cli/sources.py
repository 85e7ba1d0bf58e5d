"""What FROM and ADAPTER lines mean here: files, the files of a folder by Ollama's rules, or a model's name."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from a3s_power.cli.files import opened
from a3s_power.core.errors import BadModelfile

_PATHS: Final = ("/", "./", "../", "~")
_SNIFFED_BYTES: Final = 512
_BINARY: Final = frozenset(range(0x20)) - frozenset(b"\t\n\f\r\x1b")
"""Bytes that no text holds."""
_MARKS: Final = (b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf")
_ZIP: Final = "application/zip"
_OCTETS: Final = "application/octet-stream"
_TEXT: Final = "text/plain"
_SIGNATURES: Final = ((b"PK\x03\x04", _ZIP), (b"\x1f\x8b\x08", "application/x-gzip"))


class _Group(NamedTuple):
    """Files that are a model's weights, and what must be in each of them for that."""

    patterns: tuple[str, ...]
    content: str = ""


_WEIGHTS: Final = (
    _Group(("model*.safetensors", "*/model*.safetensors")),
    _Group(("consolidated*.safetensors",)),
    _Group(("pytorch_model*.bin",), _ZIP),
    _Group(("consolidated*.pth",), _ZIP),
    _Group(("*.gguf",), _OCTETS),
    _Group(("*.bin",), _OCTETS),
)
"""The first of these that a folder has is what it means."""

_ADAPTERS: Final = (_Group(("adapter_model*.safetensors",)), _Group(("adapters.safetensors",)), *_WEIGHTS)

Files = dict[str, Path]
"""Files to upload, by the names the server shall know them by."""


def sources(values: Iterable[str], folder: Path) -> tuple[str, Files]:
    """The model that FROM lines name, and the files that they mean. A folder or file that is there goes before a name.

    Raises:
        BadModelfile: a path where nothing is, a folder that holds no model, or two names.
    """
    name, files = "", []
    for value in values:
        path = _path(value, folder)
        if path.is_dir():
            files += list(_weights(path, _WEIGHTS))
        elif path.exists():
            files.append(path)
        elif value.startswith(_PATHS):
            raise _missing(path)
        elif name:
            raise BadModelfile(f"FROM names two models, {name} and {value}: they cannot be put together")
        else:
            name = value
    return name, _named(files)


def adapters(values: Iterable[str], folder: Path) -> Files:
    """The files of the last ADAPTER line. Raises BadModelfile."""
    last = _last(values, folder)
    return _files(last, _ADAPTERS) if last else {}


def draft(values: Iterable[str], folder: Path, beside: Iterable[str]) -> Files:
    """The files of the last DRAFT line; it must be another path than those `beside` it. Raises BadModelfile."""
    last = _last(values, folder)
    if last is None:
        return {}
    if any(_path(value, folder).resolve() == last.resolve() for value in beside):
        raise BadModelfile(f"DRAFT must not reference the same local path as FROM: {last}")
    return _files(last, _WEIGHTS)


def _last(values: Iterable[str], folder: Path) -> Path | None:
    """The path that counts; all must be there."""
    last = None
    for value in values:
        last = _path(value, folder)
        if not last.exists():
            raise _missing(last)
    return last


def _files(path: Path, groups: Iterable[_Group]) -> Files:
    return _named(_weights(path, groups) if path.is_dir() else [path])


def _missing(path: Path) -> BadModelfile:
    return BadModelfile(f"stat {path}: no such file or directory")


def _path(value: str, folder: Path) -> Path:
    try:
        return folder / Path(value).expanduser()
    except RuntimeError as error:
        raise BadModelfile(f"failed to find user '{value[1:].partition('/')[0]}': {error}") from None


def _weights(folder: Path, groups: Iterable[_Group]) -> Iterator[Path]:
    """The files of a folder that make up its model."""
    weights = next((found for group in groups if (found := _matching(folder, group))), [])
    if not weights:
        raise BadModelfile("no Modelfile or safetensors files found")
    for path in (*weights, *_companions(folder)):
        _check_inside(path, folder)
        yield path


def _matching(folder: Path, group: _Group) -> list[Path]:
    """The files of a group; none when one of them is only the pointer that git-lfs leaves in a file's place."""
    found = [path for pattern in group.patterns for path in _glob(folder, pattern)]
    if group.content and any(_content_type(path) != group.content for path in found):
        return []
    if found and group.content == _ZIP:
        raise BadModelfile(f"{found[0].name} holds pickled weights: only safetensors and GGUF files are taken")
    return found


def _companions(folder: Path) -> Iterator[Path]:
    """What belongs to weights: configuration, chat template, tokenizer."""
    for pattern in ("*.json", "*/*.json", "chat_template.jinja"):
        for path in _glob(folder, pattern):
            if (found := _content_type(path)) != _TEXT:
                raise BadModelfile(f"invalid content type: expected {found} for {path}")
            yield path
    yield from _matching(folder, _Group(("tokenizer.model",), _OCTETS)) or _matching(
        folder, _Group(("*/tokenizer.model",), _OCTETS)
    )


def _glob(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def _content_type(path: Path) -> str:
    """What the file's first bytes look like, in the words of the standard that browsers sniff by."""
    file, _ = opened(path)
    with file:
        head = file.read(_SNIFFED_BYTES)
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    return _TEXT if head.startswith(_MARKS) or not _BINARY & set(head) else _OCTETS


def _check_inside(path: Path, folder: Path) -> None:
    """Raise BadModelfile for a link that leads out of the folder: a stranger's folder could take any file along."""
    inside, real = folder.resolve(), path.resolve()
    if real.is_relative_to(inside):
        return
    hint = "\n\nUse --local-dir <dir> when downloading model to disable caching" if ".cache" in real.parts else ""
    raise BadModelfile(f"insecure path: {os.path.relpath(real, inside)}{hint}")


def _named(files: Iterable[Path]) -> Files:
    """A single file by its last name, several by their paths below the folder they have in common."""
    absolute = list(dict.fromkeys(Path(os.path.normpath(path)) for path in files))
    if len(absolute) == 1:
        return {absolute[0].name: absolute[0]}
    common = Path(os.path.commonpath([path.parent for path in absolute])) if absolute else Path()
    return {path.relative_to(common).as_posix(): path for path in absolute}
