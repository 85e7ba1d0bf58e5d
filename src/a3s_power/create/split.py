"""Models in several GGUF files, as llama.cpp splits them: checked, and merged into one.

The rules and the sentences are Ollama's (ollama-modelfile.md, section 6). The first part says what the model is; the
others say only which of them they are.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import BinaryIO, Final

import msgspec

from a3s_power.core.errors import BadFile
from a3s_power.create.files import File, checked, data, key_values
from a3s_power.create.making import Making
from a3s_power.gguf.layout import Header, quoted
from a3s_power.gguf.writer import Tensor, pieces

_NAME: Final = re.compile(r"(?P<prefix>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf")
_NUMBER, _COUNT, _TENSORS = "split.no", "split.count", "split.tensors.count"


class _Part(msgspec.Struct, frozen=True):
    """A part: its file, its place among the others, from 0, and how many there are by name and metadata."""

    file: File
    index: int
    count: int
    prefix: str

    @property
    def group(self) -> tuple[str, int]:
        """What the parts of one model have in common; only the first of them says what it is."""
        return self.prefix, self.count


def joined(files: Iterable[File], making: Making) -> list[File]:
    """The files, with the parts of each split model merged into one new file in the place of the first of them.

    Raises:
        BadFile: parts that are missing, or are not of one model.
    """
    groups: dict[tuple[str, int], list[_Part]] = {}
    slots: list[File | list[_Part]] = []
    for file in files:
        part = _part(file)
        if part is None:
            slots.append(file)
        elif part.group in groups:
            groups[part.group].append(part)
        else:
            groups[part.group] = [part]
            slots.append(groups[part.group])
    return [slot if isinstance(slot, File) else _merged(_sorted(slot), making) for slot in slots]


def _part(file: File) -> _Part | None:
    """What the file is a part of; `None` for a whole one."""
    shown, header = f"split GGUF {quoted(file.name)}", file.header
    count = _whole_number(header, _COUNT)
    if count is None and not header.architecture:
        raise BadFile(f"{shown} is missing {_COUNT} metadata")
    if count is None or count <= 1:
        return None
    name = _NAME.fullmatch(file.name.rpartition("/")[2])
    index = int(name["number"]) - 1 if name else -1
    if name is None or index < 0:
        raise BadFile(f"{shown} must use llama.cpp split filename pattern")
    if int(name["count"]) != count:
        raise BadFile(f"{shown} filename count {int(name['count'])} does not match metadata count {count}")
    number = _whole_number(header, _NUMBER)
    if number is None:
        raise BadFile(f"{shown} is missing {_NUMBER} metadata")
    if number != index:
        raise BadFile(f"{shown} filename index {index} does not match metadata index {number}")
    return _Part(file, index, count, name["prefix"])


def _whole_number(header: Header, key: str) -> int | None:
    """The value under the key, or under the architecture's; further parts have no architecture."""
    value = header.key_values.get(key, header.about(key))
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _sorted(parts: list[_Part]) -> list[_Part]:
    """The parts of one model in their order. Raises BadFile unless each is there once, and all belong together."""
    first = parts[0]
    if len(parts) != first.count:
        raise BadFile(f"split GGUF {quoted(first.file.name)} has {len(parts)} shards, expected {first.count}")
    by_index: dict[int, _Part] = {}
    for part in parts:
        if part.index in by_index:
            raise BadFile(f"split GGUF has duplicate shard index {part.index}")
        by_index[part.index] = part
    if 0 not in by_index:
        raise BadFile("split GGUF is missing first shard")
    beyond = next((part for part in parts if part.index >= part.count), None)
    if beyond is not None:
        shown = quoted(beyond.file.name)
        raise BadFile(f"split GGUF {shown} filename index {beyond.index} exceeds metadata count {beyond.count}")
    ordered = [by_index[index] for index in sorted(by_index)]
    _check_family(ordered)
    return ordered


def _check_family(parts: list[_Part]) -> None:
    """Raise BadFile when a part is of another model or lies in another folder, as far as it can be seen."""
    first = parts[0].file
    names: set[str] = set()
    for part in parts:
        shown, header = f"split GGUF {quoted(part.file.name)}", part.file.header
        if part.file.name.rpartition("/")[0] != first.name.rpartition("/")[0]:
            raise BadFile(f"{shown} is in another folder than {quoted(first.name)}")
        if header.architecture not in ("", first.header.architecture):
            raise BadFile(f"{shown} architecture does not match {quoted(first.name)}")
        if _whole_number(header, _TENSORS) != _whole_number(first.header, _TENSORS):
            raise BadFile(f"{shown} tensor count does not match {quoted(first.name)}")
        for tensor in header.tensors:
            if tensor.name in names:
                raise BadFile(f"{shown} contains duplicate tensor {quoted(tensor.name)}")
            names.add(tensor.name)
    expected = _whole_number(first.header, _TENSORS)
    if expected not in (None, len(names)):
        raise BadFile(f"split GGUF {quoted(first.name)} has {len(names)} tensors, expected {expected}")


def _merged(parts: list[_Part], making: Making) -> File:
    """One file of all parts; their data is copied piece by piece."""
    first = parts[0].file
    size = sum(part.file.layer.size for part in parts)
    with ExitStack() as opened:
        files = [opened.enter_context(making.store.blobs.open(part.file.layer.blob)[1]) for part in parts]
        kept = key_values(files[0], first.header, without=_own_keys(first.header))
        content = pieces(kept, list(_tensors(parts, files)))
        status = f"merging {len(parts)} parts of {first.name.rpartition('/')[2]}"
        layer = making.put(first.layer.media_type, making.told(status, size, content, size), size=size)
    return File(first.name, layer, checked(layer, making.store), first.kind)


def _own_keys(header: Header) -> set[str]:
    plain = {_NUMBER, _COUNT, _TENSORS}
    return plain | {f"{header.architecture}.{key}" for key in plain}


def _tensors(parts: list[_Part], files: list[BinaryIO]) -> Iterator[Tensor]:
    for part, file in zip(parts, files, strict=True):
        header = part.file.header
        for tensor in header.tensors:
            yield Tensor(tensor.name, tensor.type, tensor.shape, data(file, header, tensor))
