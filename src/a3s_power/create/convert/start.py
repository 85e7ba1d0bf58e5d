"""Start a conversion and store what comes of it: the server's side, which reads nothing of the files itself.

The child gets open files and nothing else, and answers with one GGUF; where that goes is decided here, and it is
checked like an uploaded one. So whatever a stranger's files do to the child, nothing else can come of it.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

import msgspec

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadFile, BadRequest, EngineFailed
from a3s_power.core.events import Progress
from a3s_power.create.child import Child
from a3s_power.create.convert.outline import Outline
from a3s_power.create.files import MEDIA_TYPES, File, checked
from a3s_power.create.making import Making
from a3s_power.gguf.layout import quoted
from a3s_power.log import get_logger

log = get_logger(__name__)

STATUS: Final = "converting model"
_CHILD: Final = "a3s_power.create.convert"
_MOST_FILES: Final = 512
_LENGTH_BYTES: Final = 8
_READ: Final = (".safetensors", ".json", ".jinja", "tokenizer.model")


class Unconvertible(BadFile):
    """A sound model of an architecture without a conversion: what it is, and the files that belong to it."""

    def __init__(self, outline: Outline, files: Mapping[str, Digest]) -> None:
        super().__init__(f"unsupported architecture {quoted(outline.unsupported)}")
        self.outline = outline
        self.files = files


def is_safetensors(files: Mapping[str, str]) -> bool:
    """Whether there are weights to convert among the files."""
    return any(name.endswith(".safetensors") for name in files)


def converted(files: Mapping[str, str], making: Making) -> File:
    """The model that a folder of safetensors holds (file name to digest), as a new layer.

    Raises:
        BadRequest: more files than a model has; or BadFile: a model that is broken or cannot be converted.
        Unconvertible: it cannot, and all its files are sound.
        BlobNotFound: a file was not uploaded.
        NotSupported: the packages that conversion needs are not installed.
        EngineFailed: the child ended otherwise, or nobody waits for the model any more.
        DiskFull: no room for the new layer.
    """
    making.report(Progress(STATUS))
    wanted = {name: Digest.parse(digest) for name, digest in files.items() if _is_read(name)}
    if len(wanted) > _MOST_FILES:
        raise BadRequest(f"a model has at most {_MOST_FILES} files")
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(making.store.blobs.open(digest)[1]).fileno() for name, digest in wanted.items()
        }
        child = stack.enter_context(making.children.running(_CHILD, files=set(opened.values())))
        child.send(msgspec.msgpack.encode(opened))
        outline = _outline(child)
        if outline.unsupported:
            child.finish()
            raise Unconvertible(outline, wanted)
        for note in outline.notes:
            log.warning("converted with a difference", note=note)
            making.report(Progress(note))
        content = making.told(STATUS, outline.size, child.answer(outline.size, limits.MIB), outline.size)
        layer = making.put(MEDIA_TYPES["model"], content, size=outline.size)
    making.report(Progress("verifying conversion"))
    return File("", layer, checked(layer, making.store), "model")


def _is_read(name: str) -> bool:
    if name.endswith(_READ):
        return True
    log.info("file beside a model is not used", file=quoted(name))
    return False


def _outline(child: Child) -> Outline:
    length = int.from_bytes(_all(child, _LENGTH_BYTES), "little")
    if length > limits.MIB:
        raise EngineFailed("the process that converts the weights said what cannot be")
    return msgspec.msgpack.decode(_all(child, length), type=Outline)


def _all(child: Child, size: int) -> bytes:
    return b"".join(child.answer(size, size))
