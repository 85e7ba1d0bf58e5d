"""Tar headers, as few kinds as an archive of a model needs: regular files, their names and sizes. Pure.

The format is POSIX's pax: plain ustar blocks, and a block of records before a name or size that is too long for one.
Nothing else of what tar can say is read: links, devices, folders and other people's extensions are refused.
"""

import re
from collections.abc import Generator
from typing import Final, NamedTuple

from a3s_power.core.errors import BadFile
from a3s_power.gguf.layout import quoted

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
"""What an archive ends with."""

_NAME: Final = slice(0, 100)
_SIZE: Final = slice(124, 136)
_CHECKSUM: Final = slice(148, 156)
_KIND: Final = 156
_MAGIC: Final = slice(257, 263)
_PREFIX: Final = slice(345, 500)
_USTAR: Final = b"ustar\0"
_GNU: Final = b"ustar "
_PAX: Final = b"x"
_FILE: Final = (b"0", b"\0")
_PAX_BYTES: Final = 4096
_LARGEST_OCTAL: Final = 8**11 - 1
_OCTAL = re.compile(rb"[0-7]{1,11}[ \0]*")
_RECORD = re.compile(rb"([0-9]{1,4}) ([a-z]{1,16})=")
_RECORDS: Final = frozenset({"path", "size", "mtime", "atime", "ctime"})
"""What a block of records may say. Others can make a file something else than it seems."""
_SIZE_TEXT = re.compile(r"[0-9]{1,18}")

Exactly = Generator[int, memoryview, bytes]
Steps = Generator[int, memoryview, "Entry | None"]
"""Reads what is sent to it. It yields how many bytes it wants at most; fewer may be sent, but not none."""


class Entry(NamedTuple):
    """A regular file of an archive: its path there, and its bytes."""

    name: str
    size: int


def header(name: str, size: int) -> bytes:
    """The blocks before a file's content."""
    encoded = name.encode()
    if len(encoded) <= _NAME.stop and size <= _LARGEST_OCTAL:
        return _block(encoded, size, b"0")
    records = _record("path", name) + _record("size", str(size))
    said = _block(b"pax", len(records), _PAX) + records + bytes(padding(len(records)))
    return said + _block(encoded[: _NAME.stop], min(size, _LARGEST_OCTAL), b"0")


def padding(size: int) -> int:
    """Bytes between a content of this size and the next block."""
    return -size % BLOCK


def _block(name: bytes, size: int, kind: bytes) -> bytes:
    owner = b"0000000\0" * 2
    fields = name.ljust(100, b"\0") + b"0000644\0" + owner + b"%011o\0" % size + b"%011o\0" % 0
    rest = kind + bytes(100) + b"ustar\x0000" + bytes(64) + owner + bytes(155 + 12)
    return fields + b"%06o\0 " % sum(fields + b" " * 8 + rest) + rest


def _record(key: str, value: str) -> bytes:
    """A pax record: it begins with its own length."""
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def exactly(size: int) -> Exactly:
    """So many bytes."""
    content = bytearray()
    while len(content) < size:
        content += yield size - len(content)
    return bytes(content)


def entry() -> Steps:
    """The next file's entry; its content, and the padding behind it, are still to be read. `None` at the end.

    Raises BadFile for everything that is no regular file with a plain name.
    """
    block = yield from exactly(BLOCK)
    if not any(block):
        return None
    records: dict[str, str] = {}
    if _kind(block) == _PAX:
        size = _size(block)
        if size > _PAX_BYTES:
            raise BadFile(f"the archive has an extended header of more than {_PAX_BYTES} bytes")
        records = _records((yield from exactly(size)))
        yield from exactly(padding(size))
        block = yield from exactly(BLOCK)
    if _kind(block) not in _FILE:
        raise BadFile("the archive holds something other than regular files")
    return Entry(records.get("path", _path(block)), _said_size(records, _size(block)))


def _kind(block: bytes) -> bytes:
    """The type of a header block. Raises BadFile for what is no such block."""
    magic, sum_said = block[_MAGIC], block[_CHECKSUM]
    blank = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    if magic not in (_USTAR, _GNU) or not _OCTAL.fullmatch(sum_said) or _octal(sum_said) != sum(blank):
        raise BadFile("this is no archive of a model: not a plain tar file, or a broken one")
    return block[_KIND : _KIND + 1]


def _size(block: bytes) -> int:
    if _OCTAL.fullmatch(block[_SIZE]) is None:
        raise BadFile("the archive says a size that cannot be read")
    return _octal(block[_SIZE])


def _octal(field: bytes) -> int:
    return int(field.rstrip(b" \0"), 8)


def _path(block: bytes) -> str:
    name = block[_NAME].partition(b"\0")[0]
    prefix = block[_PREFIX].partition(b"\0")[0] if block[_MAGIC] == _USTAR else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(content: bytes) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise BadFile("the archive has a name that is not ASCII") from None


def _records(content: bytes) -> dict[str, str]:
    """Pax records by key. Raises BadFile."""
    found: dict[str, str] = {}
    at = 0
    while at < len(content):
        form = _RECORD.match(content, at)
        end = at + int(form[1]) if form else 0
        if form is None or not form.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            raise BadFile("the archive has an extended header that cannot be read")
        key = _text(form[2])
        if key not in _RECORDS:
            raise BadFile(f"the archive has an extended header of a kind that is not read: {quoted(key)}")
        found[key] = _text(content[form.end() : end - 1])
        at = end
    return found


def _said_size(records: dict[str, str], otherwise: int) -> int:
    """The size that counts. Raises BadFile."""
    text = records.get("size", str(otherwise))
    if _SIZE_TEXT.fullmatch(text) is None:
        raise BadFile(f"the archive says a size that cannot be read: {quoted(text)}")
    return int(text)
