"""What a create request may say: file names, digests, names of renderers and parsers, versions, info."""

import re
from itertools import chain
from typing import Any, Final

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadRequest
from a3s_power.core.names import is_plain_path
from a3s_power.core.requests import Create
from a3s_power.prompt.families import NAMES
from a3s_power.prompt.readings import READINGS

_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_SEMVER: Final = re.compile(rf"v?({_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)?)?)")


def check_request(request: Create) -> None:
    """What Ollama refuses before it begins. Raises BadRequest; InvalidDigest is of this kind."""
    groups = [group or {} for group in (request.files, request.adapters, request.draft_files)]
    if not all(is_plain_path(path) for group in groups for path in group):
        raise BadRequest("file path must be relative")
    for digest in chain.from_iterable(group.values() for group in groups):
        Digest.parse(digest)
    if request.draft_quantize and not request.draft_files:
        raise BadRequest("--draft-quantize requires a DRAFT model")
    if request.renderer and request.renderer not in NAMES:
        raise BadRequest(f'unknown renderer "{request.renderer}"')
    if request.parser and request.parser not in READINGS:
        raise BadRequest(f'unknown parser "{request.parser}"')


def version(text: str) -> str:
    """The `requires` of a request as it is stored: without its `v`. Raises BadRequest."""
    if not text:
        return ""
    form = _SEMVER.fullmatch(text)
    if form is None:
        raise BadRequest("requires must be a valid semver (e.g. 0.14.0)")
    return form[1]


def info_text(info: dict[str, Any], field: str) -> str:
    """A text of the request's `info`, empty when it is not there. Raises BadRequest."""
    value = info.get(field, "")
    if not isinstance(value, str):
        raise BadRequest(f'info field "{field}" must be a string')
    return value


def info_count(info: dict[str, Any], field: str) -> int:
    """A whole number of the request's `info`, 0 when it is not there. Raises BadRequest."""
    value = info.get(field, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f'info field "{field}" must be a number')
    if value < 0 or value != int(value):
        raise BadRequest(f'info field "{field}" must be a non-negative integer')
    return int(value)


def info_texts(info: dict[str, Any], field: str) -> list[str]:
    """A list of texts of the request's `info`, empty when it is not there. Raises BadRequest."""
    value = info.get(field, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequest(f'info field "{field}" must be a list of strings')
    return value
