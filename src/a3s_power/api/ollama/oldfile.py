"""The `modelfile` field of create, as clients sent it before 2025: a whole Modelfile, read into the other fields.

Files can only be named by their digests: nothing that it says is ever looked for on the server's disk.
"""

import re
from typing import Any, Final

from a3s_power.api.asked import local_name
from a3s_power.api.ollama.goform import quoted
from a3s_power.api.ollama.wire import Message
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadModelfile, InvalidName
from a3s_power.core.modelfile import Modelfile, Name
from a3s_power.log import get_logger

_BLOB: Final = re.compile(r"(?:@sha256:|(?:@|.*[/\\])sha256-)([0-9a-f]{64})", re.DOTALL)
"""`@sha256:…`, or a path of a blob as `show --modelfile` prints it; only its digest is used."""

_TEXTS: Final = ("template", "system", "renderer", "parser", "requires")

log = get_logger(__name__)


def fields(text: str) -> dict[str, Any]:
    """What a Modelfile says, as fields of a create request; those it says nothing of are left out.

    Raises:
        BadModelfile: it cannot be parsed, or names a file in another way than by its digest.
        NotAllowed: it is based on a model of the cloud.
    """
    modelfile = Modelfile.parse(text)
    parameters, dropped = modelfile.parameters()
    for name in dropped:
        log.warning("a parameter means nothing any more and is left out", parameter=name)
    values: dict[str, Any] = {
        **_sources(modelfile),
        "adapters": _named_file(modelfile, "adapter"),
        "draft_files": _named_file(modelfile, "draft"),
        **{name: modelfile.last(name) for name in _TEXTS},
        "license": modelfile.all("license"),
        "parameters": parameters,
        "messages": tuple(Message(role=one["role"], content=one["content"]) for one in modelfile.messages),
    }
    return {name: value for name, value in values.items() if value}


def _sources(modelfile: Modelfile) -> dict[str, Any]:
    values = modelfile.all("from")
    digests = [digest for value in values if (digest := _digest(value))]
    if not digests and len(values) == 1:
        return {"source": _checked(values[0])}
    if len(digests) < len(values):
        raise BadModelfile("several FROM must all name blobs, as @sha256:…")
    return {"files": {digest.file_name: str(digest) for digest in digests}}


def _digest(value: str) -> Digest | None:
    form = _BLOB.fullmatch(value)
    return Digest(form[1]) if form else None


def _checked(name: str) -> str:
    try:
        local_name(name)
    except InvalidName:
        raise _no_file("FROM", name, "neither a model's name nor a blob") from None
    return name


def _named_file(modelfile: Modelfile, instruction: Name) -> dict[str, str]:
    """The file of the last line that counts."""
    values = modelfile.all(instruction)[-1:]
    for value in values:
        if _digest(value) is None:
            raise _no_file(instruction.upper(), value, "no blob")
    return {digest.file_name: str(digest) for digest in map(_digest, values) if digest}


def _no_file(instruction: str, value: str, what: str) -> BadModelfile:
    shown = quoted(value[:200])
    return BadModelfile(f"{instruction} {shown} is {what}: upload the file to /api/blobs and name it @sha256:…")
