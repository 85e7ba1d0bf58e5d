"""Uploaded GGUF files: each is checked, and becomes a layer as it is."""

from collections.abc import Collection, Iterator, Mapping
from typing import BinaryIO, Final

import msgspec

from a3s_power.core import limits
from a3s_power.core import manifest as types
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadFile, BadRequest, BlobNotFound
from a3s_power.core.events import Progress
from a3s_power.core.manifest import Layer
from a3s_power.create.making import Making
from a3s_power.gguf.facts import kind_of
from a3s_power.gguf.layout import ALIGNMENT, Header, Kind, TensorInfo
from a3s_power.gguf.reader import is_gguf, read_header, read_pairs
from a3s_power.gguf.sanity import check_vocabulary
from a3s_power.gguf.writer import Writable
from a3s_power.log import get_logger
from a3s_power.store import Store

log = get_logger(__name__)

MEDIA_TYPES: Final[dict[Kind, str]] = {
    "model": types.MODEL,
    "projector": types.PROJECTOR,
    "adapter": types.ADAPTER,
}


_COMPANIONS: Final = (".json", ".jinja", "tokenizer.model")
"""What lies beside a GGUF in a folder and is not needed, because the GGUF holds it."""


class File(msgspec.Struct, frozen=True):
    """A GGUF as a layer, under the name it was uploaded for."""

    name: str
    layer: Layer
    header: Header
    kind: Kind


def ggufs(files: Mapping[str, str], store: Store) -> dict[str, str]:
    """The files without what merely lies beside them. Raises BadRequest when they are no GGUFs."""
    needed = {name: digest for name, digest in files.items() if not _companion(name)}
    for name, digest in needed.items():
        if name.endswith(".gguf") or _begins_as_gguf(Digest.parse(digest), store):
            return needed
    raise BadRequest("unknown type")


def _begins_as_gguf(digest: Digest, store: Store) -> bool:
    try:
        _, file = store.blobs.open(digest)
    except BlobNotFound:
        return False
    with file:
        return is_gguf(file)


def _companion(name: str) -> bool:
    if not name.endswith(_COMPANIONS):
        return False
    log.info("file beside a GGUF is not used", file=name)
    return True


def read(name: str, digest: str, making: Making) -> File:
    """Check an uploaded GGUF. Raises BlobNotFound, and BadFile when it is none or is hostile."""
    making.report(Progress("parsing GGUF"))
    blob = Digest.parse(digest)
    size, content = making.store.blobs.open(blob)
    with content:
        if not is_gguf(content):
            raise BadFile("supplied file was not in GGUF format")
        header = read_header(content)
        check_vocabulary(read_pairs(content))
    kind = kind_of(header)
    return File(name, Layer(media_type=MEDIA_TYPES[kind], digest=str(blob), size=size), header, kind)


def checked(layer: Layer, store: Store) -> Header:
    """The header of a layer that was just written. Raises BadFile when it is not what it should be."""
    _, content = store.blobs.open(layer.blob)
    with content:
        return read_header(content)


def key_values(file: BinaryIO, header: Header, without: Collection[str]) -> dict[str, Writable]:
    """The key-values of a file as they lie there, to be written into another one, but those under some keys."""
    pairs: dict[str, Writable] = {key: value for key, value in read_pairs(file).items() if key not in without}
    alignment = header.key_values.get(ALIGNMENT)
    return pairs | {ALIGNMENT: alignment} if isinstance(alignment, int) else pairs


def data(file: BinaryIO, header: Header, tensor: TensorInfo) -> Iterator[bytes]:
    """A tensor's bytes in pieces. Raises BadFile when the file has become shorter."""
    file.seek(header.data_offset + tensor.offset)
    left = tensor.size
    while left:
        piece = file.read(min(left, limits.MIB))
        if not piece:
            raise BadFile("unexpected end of file: the tensors are cut off")
        left -= len(piece)
        yield piece
