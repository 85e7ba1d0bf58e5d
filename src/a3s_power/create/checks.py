"""What a create request may say: file names, digests, names of renderers and parsers, versions, info."""

import re
from typing import Any, Final

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadRequest, InvalidDigest
from a3s_power.core.requests import Create
from a3s_power.prompt.capabilities import PARSERS

RENDERERS: Final = frozenset(
    {
        *("qwen3-coder", "qwen3-vl-instruct", "qwen3-vl-thinking", "qwen3.5", "qwen3.8", "ornith", "cogito"),
        *("deepseek3.1", "olmo3", "olmo3.1", "olmo3-think", "olmo3-32b-think", "nemotron-3-nano", "nemotron-3.5-nano"),
        *("gemma4", "gemma4-small", "gemma4-large", "functiongemma", "glm-4.7", "glm-ocr", "lfm2", "lfm2-thinking"),
        *("laguna", "poolside-v1", "cohere", "glimmer"),
    }
)
"""Ollama's named renderers."""

_UNPLAIN: Final = re.compile(r"[\x00-\x1f\x7f\\:]")
_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_SEMVER: Final = re.compile(rf"v?({_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)?)?)")


def check_request(request: Create) -> None:
    """What Ollama refuses before it begins. Raises BadRequest and InvalidDigest."""
    files = {**(request.files or {}), **(request.adapters or {})}
    if not all(map(_relative, files)):
        raise BadRequest("file path must be relative")
    if not all(files.values()):
        raise InvalidDigest
    for digest in files.values():
        Digest.parse(digest)
    if request.renderer and request.renderer not in RENDERERS:
        raise BadRequest(f'unknown renderer "{request.renderer}"')
    if request.parser and request.parser not in PARSERS:
        raise BadRequest(f'unknown parser "{request.parser}"')


def _relative(path: str) -> bool:
    """Whether this is a path of plain names below some folder, on every system."""
    return not _UNPLAIN.search(path) and all(part not in ("", ".", "..") for part in path.split("/"))


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
