"""Files: GGUF files at plain addresses: what is known of one before it is fetched, and the parts of a split one."""

import re
import secrets
from typing import Final, NamedTuple
from urllib.parse import unquote

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadAnswer, BadFile, InvalidDigest
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.client import Remote, checked, patiently
from a3s_power.registry.connection import Answer
from a3s_power.registry.exchange import Exchange
from a3s_power.registry.settings import Patience
from a3s_power.registry.transfer import Wanted
from a3s_power.registry.urls import Url

_MAGIC: Final = b"GGUF"
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<end>\.gguf)", re.IGNORECASE)
_MOST_SHARDS: Final = 1000
_TOTAL = re.compile(r"bytes [0-9]+-[0-9]+/([0-9]{1,19})")


class RemoteFile(NamedTuple):
    """A file elsewhere: its address, the name it has there, and what to fetch."""

    url: Url
    name: str
    wanted: Wanted


def file_name(url: Url) -> str:
    """The last part of the address's path, with nothing in it that could mean something to a file system."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", unquote(url.path.partition("?")[0].rpartition("/")[2])).strip("-.")
    return "model.gguf" if name.lower() in ("", "gguf") else name


def shard_stem(name: str) -> str:
    """The name of a file without what says which part of a split one it is."""
    shard = _SHARD.fullmatch(name)
    return f"{shard['stem']}{shard['end']}" if shard else name


def shards(url: Url) -> list[Url]:
    """The addresses of all parts of the file, from the address of any of them; of a whole file its own."""
    path, mark, query = url.path.partition("?")
    shard = _SHARD.fullmatch(path)
    if shard is None or not 0 < int(shard["count"]) <= _MOST_SHARDS:
        return [url]
    stem, count, end = shard["stem"], shard["count"], shard["end"]
    paths = (f"{stem}-{number:05d}-of-{count}{end}" for number in range(1, int(count) + 1))
    return [url._replace(path=f"{each}{mark}{query}") for each in paths]


def look(url: Url, exchange: Exchange, patience: Patience, cancel: Cancel) -> RemoteFile:
    """What there is to fetch at an address: a few bytes are read to learn its size, and that it is a GGUF.

    Raises:
        BadFile: it is none.
        RegistryFailed: it is not there, or cannot be had.
    """

    def first(headers: dict[str, str], asked: Cancel) -> Answer:
        return exchange.ask("GET", url, asked, headers=headers, redirects="within the host")

    def looked() -> RemoteFile:
        answer = first({"Range": "bytes=0-3"}, cancel)
        linked = _linked(answer)
        if answer.target is not None:
            target = answer.target
            answer.close()
            answer = exchange.ask("GET", target, cancel, headers={"Range": "bytes=0-3"})
        with checked(answer):
            size = _size(answer)
            if _beginning(answer) != _MAGIC:
                raise BadFile(f"{url.bare} is no GGUF file")
            key = linked or _key(url, answer, size)
            return RemoteFile(url, file_name(url), Wanted(key, size, Remote(first, exchange), known=linked is not None))

    return patiently(looked, patience, cancel)


def _linked(answer: Answer) -> Digest | None:
    """The digest that Hugging Face tells of a large file, in the answer that says where its content lies."""
    try:
        return Digest.parse(f"sha256:{answer.header('X-Linked-Etag').strip().strip(chr(34))}")
    except InvalidDigest:
        return None


def _size(answer: Answer) -> int:
    if answer.status == 200 and answer.length is not None:
        return answer.length
    total = _TOTAL.fullmatch(answer.header("Content-Range").strip())
    if answer.status != 206 or total is None:
        raise BadAnswer(f"{answer.url.bare} does not say how long it is")
    return int(total[1])


def _beginning(answer: Answer) -> bytes:
    buffer, got = memoryview(bytearray(len(_MAGIC))), 0
    while got < len(buffer) and (count := answer.readinto(buffer[got:])):
        got += count
    return bytes(buffer[:got])


def _key(url: Url, answer: Answer, size: int) -> Digest:
    """Under what the download is kept: the same only as long as the content is."""
    version = answer.header("ETag") or answer.header("Last-Modified") or secrets.token_hex(16)
    return Digest.of(f"{url}\n{version}\n{size}".encode())
