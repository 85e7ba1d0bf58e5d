"""Read a GGUF header, version 2 or 3, little endian, and trust no number in it.

Every length is held against its limit and the bytes that are left before anything is made from it, so neither time nor
memory depend on what a file claims. The file is read, not mapped: one that shrinks meanwhile is an error and no signal.
"""

import errno
import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

from a3s_power.core import limits
from a3s_power.core.errors import BadFile
from a3s_power.gguf.layout import (
    ALIGNMENT,
    DEFAULT_ALIGNMENT,
    FORMATS,
    MAGIC,
    NAME_BYTES,
    VERSIONS,
    Header,
    Raw,
    Scalar,
    Skipped,
    TensorInfo,
    TensorType,
    Value,
    ValueType,
    aligned,
    quoted,
)
from a3s_power.gguf.sanity import check

_WINDOW_BYTES: Final = limits.MIB
_SHORT_ARRAY_ITEMS: Final = 4096
_LARGEST_ALIGNMENT: Final = limits.MIB
_MOST_ELEMENTS: Final = 2**63 - 1

_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_TYPE_AND_U64: Final = struct.Struct("<IQ")
_COUNTS: Final = struct.Struct("<QQ")
_SCALARS: Final = {kind: struct.Struct(f"<{form}") for kind, form in FORMATS.items()}
_CUT_OFF: Final = "unexpected end of file: the GGUF header is cut off"


def read_header(source: str | os.PathLike[str] | BinaryIO, *, arrays: bool = False) -> Header:
    """The header of a file that an engine may be given.

    Arrays of strings and long arrays come as `Skipped` unless `arrays`, and always once two million items were read.

    Raises:
        BadFile: no GGUF, cut off, beyond a limit, or with values that would bring an engine down.
        OSError: a path that cannot be opened.
    """
    if isinstance(source, str | os.PathLike):
        with open_regular(source) as file:
            return read_header(file, arrays=arrays)
    header = _Reader(source, arrays=arrays).header()
    check(header)
    return header


def read_pairs(file: BinaryIO) -> dict[str, Raw]:
    """The key-values of a file that `read_header` has passed, each as it lies there. Raises BadFile when it changed."""
    return _Reader(file, arrays=False).pairs()


def is_gguf(file: BinaryIO) -> bool:
    """Whether the file begins as a GGUF does."""
    file.seek(0)
    return file.read(len(MAGIC)) == MAGIC


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A regular file to read. Raises BadFile for links, devices, pipes and folders, without waiting for them."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        # A link is ELOOP, a socket ENXIO.
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise BadFile("not a regular file") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadFile("not a regular file")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield file


class _Reader:
    """One reading: a window that moves over the file, and the place in it."""

    def __init__(self, file: BinaryIO, *, arrays: bool) -> None:
        self._file = file
        self._arrays = arrays
        self._items_left = limits.GGUF_ARRAY_ITEMS_READ
        self._size = _size(file)
        self._position = 0
        self._window = b""
        self._start = 0

    def header(self) -> Header:
        version = self._version()
        tensor_count, pair_count = self._unpack(_COUNTS)
        if tensor_count > limits.GGUF_TENSORS:
            raise BadFile(f"number of tensors {tensor_count} exceeds maximum {limits.GGUF_TENSORS}")
        if pair_count > limits.GGUF_KEY_VALUES:
            raise BadFile(f"number of key-values {pair_count} exceeds maximum {limits.GGUF_KEY_VALUES}")
        key_values: dict[str, Value] = {}
        alignment = DEFAULT_ALIGNMENT
        for _ in range(pair_count):
            key, kind, value = self._pair()
            if key in key_values:
                raise BadFile(f"duplicate key {quoted(key)}")
            key_values[key] = value
            if key == ALIGNMENT:
                alignment = _alignment(kind, value)
        tensors = tuple(self._tensor(alignment) for _ in range(tensor_count))
        data_offset = aligned(self._position, alignment)
        _check_places(tensors, data_offset, self._size)
        return Header(version=version, key_values=key_values, tensors=tensors, data_offset=data_offset, size=self._size)

    def pairs(self) -> dict[str, Raw]:
        self._version()
        _, pair_count = self._unpack(_COUNTS)
        pairs: dict[str, Raw] = {}
        for _ in range(pair_count):
            start = self._position
            key, _, _ = self._pair()
            content = self._again(start, self._position)
            pairs[key] = Raw(content[_U64.size + _U64.unpack_from(content)[0] :])
        return pairs

    def _version(self) -> int:
        if self._size < len(MAGIC) or self._take(len(MAGIC)) != MAGIC:
            raise BadFile("invalid file magic")
        (version,) = self._unpack(_U32)
        if version in VERSIONS:
            return int(version)
        if version and not version & 0xFFFF:
            raise BadFile("GGUF files of big-endian machines are not supported")
        raise BadFile(f"GGUF version {version} is not supported")

    def _pair(self) -> tuple[str, ValueType, Value]:
        key = self._text(limits.GGUF_KEY_BYTES)
        if not key:
            raise BadFile("a GGUF key is empty")
        (number,) = self._unpack(_U32)
        kind = _value_type(number)
        if kind is ValueType.ARRAY:
            return key, kind, self._array(key)
        return key, kind, self._scalar(kind)

    def _scalar(self, kind: ValueType) -> Scalar:
        if kind is ValueType.STRING:
            return self._text(limits.GGUF_STRING_BYTES)
        value: Scalar = self._unpack(_SCALARS[kind])[0]
        return shortest(value) if kind is ValueType.FLOAT32 and isinstance(value, float) else value

    def _array(self, key: str) -> Value:
        number, count = self._unpack(_TYPE_AND_U64)
        kind = _value_type(number)
        if kind is ValueType.ARRAY:
            raise BadFile(f"{quoted(key)} is an array of arrays")
        if count > limits.GGUF_ARRAY_ITEMS:
            raise BadFile(f"GGUF array of {count} items exceeds maximum {limits.GGUF_ARRAY_ITEMS}")
        short = not count or (count <= _SHORT_ARRAY_ITEMS and kind is not ValueType.STRING)
        if count <= self._items_left and (self._arrays or short):
            self._items_left -= count
            return self._strings(count) if kind is ValueType.STRING else self._numbers(kind, count)
        if kind is ValueType.STRING:
            self._pass_strings(count)
        else:
            self._pass(count * _SCALARS[kind].size)
        return Skipped(kind, count)

    def _numbers(self, kind: ValueType, count: int) -> tuple[Scalar, ...]:
        content = self._take(count * _SCALARS[kind].size)
        values = struct.unpack(f"<{count}{FORMATS[kind]}", content)
        # Long ones are left as they are: a microsecond each is too much for a file that means harm.
        return tuple(map(shortest, values)) if kind is ValueType.FLOAT32 and count <= _SHORT_ARRAY_ITEMS else values

    def _strings(self, count: int) -> tuple[str, ...]:
        return tuple(self._text(limits.GGUF_STRING_BYTES) for _ in range(count))

    def _pass_strings(self, count: int) -> None:
        """Step over strings: lengths only, as fast as Python walks them (60 ns each)."""
        unpack, done = _U64.unpack_from, 0
        while done < count:
            self._look_ahead(_U64.size)
            window, start = self._window, self._start
            at = self._position - start
            try:
                for done in range(done, count):  # noqa: B007, B020 -- goes on where the last window ended
                    (length,) = unpack(window, at)
                    if length > limits.GGUF_STRING_BYTES:
                        raise _too_long(length, limits.GGUF_STRING_BYTES)
                    at += length + 8
                done = count
            except struct.error:
                pass  # the window ends here: the next one starts at this string
            self._position = start + at
        self._pass(0)  # the last string may claim to end beyond the file

    def _tensor(self, alignment: int) -> TensorInfo:
        name = self._text(NAME_BYTES)
        (dimensions,) = self._unpack(_U32)
        if dimensions > limits.GGUF_DIMENSIONS:
            raise BadFile(f"tensor {quoted(name)} dimensions {dimensions} exceeds maximum {limits.GGUF_DIMENSIONS}")
        shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions))
        number, offset = self._unpack(_TYPE_AND_U64)
        return _checked(name, shape, number, offset, alignment)

    def _text(self, longest: int) -> str:
        (length,) = self._unpack(_U64)
        if length > longest:
            raise _too_long(length, longest)
        return self._take(length).decode("utf-8", "replace")

    def _unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        at = self._look_ahead(form.size)
        self._position += form.size
        return form.unpack_from(self._window, at)

    def _take(self, count: int) -> bytes:
        at = self._look_ahead(count)
        self._position += count
        return self._window[at : at + count]

    def _pass(self, count: int) -> None:
        self._position += count
        if self._position > self._size:
            raise BadFile(_CUT_OFF)

    def _again(self, start: int, end: int) -> bytes:
        """What was read or passed before, from `start` to `end`."""
        if end > limits.GGUF_METADATA_BYTES:
            raise _too_much_metadata()
        self._file.seek(start)
        content = self._file.read(end - start)
        if len(content) < end - start:
            raise BadFile(_CUT_OFF)
        return content

    def _look_ahead(self, count: int) -> int:
        """Where in the window the position is; at least `count` bytes follow it there."""
        at = self._position - self._start
        if at <= len(self._window) - count:
            return at
        end = self._position + count
        if end > self._size:
            raise BadFile(_CUT_OFF)
        if end > limits.GGUF_METADATA_BYTES:
            raise _too_much_metadata()
        self._file.seek(self._position)
        self._window, self._start = self._file.read(max(count, _WINDOW_BYTES)), self._position
        if len(self._window) < count:
            raise BadFile(_CUT_OFF)
        return 0


def _size(file: BinaryIO) -> int:
    try:
        return file.seek(0, os.SEEK_END)
    except OSError:
        # Some files of the kernel call themselves regular and have no end.
        raise BadFile("not a regular file") from None


def _value_type(number: int) -> ValueType:
    try:
        return ValueType(number)
    except ValueError:
        raise BadFile(f"invalid type: {number}") from None


def _alignment(kind: ValueType, value: Value) -> int:
    if kind is not ValueType.UINT32 or not isinstance(value, int):
        raise BadFile("GGUF alignment is not a 32-bit unsigned integer")
    if value.bit_count() != 1 or value > _LARGEST_ALIGNMENT:
        raise BadFile(f"invalid GGUF alignment: {value}")
    return value


def _checked(name: str, shape: tuple[int, ...], number: int, offset: int, alignment: int) -> TensorInfo:
    try:
        kind = TensorType(number)
    except ValueError:
        raise BadFile(f"tensor {quoted(name)} is of unknown type {number}") from None
    tensor = TensorInfo(name, kind, shape, offset)
    if not 0 < tensor.elements <= _MOST_ELEMENTS:
        raise BadFile(f"tensor {quoted(name)} has an impossible shape")
    if (shape[0] if shape else 1) % kind.block[0]:
        raise BadFile(f"tensor {quoted(name)} has rows that are no whole blocks of {kind.name}")
    if offset % alignment:
        raise BadFile(f"tensor {quoted(name)} does not start at a multiple of {alignment} bytes")
    return tensor


def _check_places(tensors: tuple[TensorInfo, ...], data_offset: int, size: int) -> None:
    """Every tensor inside the file, under a name of its own, and none on top of another."""
    names: set[str] = set()
    end, before = 0, ""
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        if tensor.name in names:
            raise BadFile(f"duplicate tensor {quoted(tensor.name)}")
        if tensor.offset < end:
            raise BadFile(f"tensors {quoted(before)} and {quoted(tensor.name)} overlap")
        names.add(tensor.name)
        end, before = tensor.offset + tensor.size, tensor.name
        if data_offset + end > size:
            place = f"offset+size ({data_offset + end}) exceeds file size ({size})"
            raise BadFile(f"tensor {quoted(tensor.name)} {place}")


def _too_long(length: int, longest: int) -> BadFile:
    return BadFile(f"GGUF string length {length} exceeds maximum {longest}")


def _too_much_metadata() -> BadFile:
    return BadFile(f"GGUF metadata exceeds maximum {limits.GGUF_METADATA_BYTES} bytes")


def shortest(value: float) -> float:
    """The number with the fewest digits that is the same 32-bit float: 0.1 and not 0.10000000149011612."""
    if not math.isfinite(value) or (value.is_integer() and abs(value) < 2**24):
        return value
    single = struct.pack("<f", value)
    for digits in range(6, 9):
        rounded = float(f"{value:.{digits}g}")
        if struct.pack("<f", rounded) == single:
            return rounded
    return float(f"{value:.9g}")
