"""Bodies that agents send packed by Zstandard: unpacked under a limit, so that a small one cannot fill the memory."""

from importlib import import_module
from types import ModuleType
from typing import Final

from a3s_power.api.asked import Unpackers
from a3s_power.core.errors import BadRequest, CompressedBody, TooLarge
from a3s_power.core.limits import MIB

UNPACKED_BYTES: Final = 20 * MIB
"""What a body may be, unpacked."""

_WINDOW_LOG: Final = 25
"""Bytes of the past that a packed text may refer to, as a power of two: more than such a body has."""

_LIBRARIES: Final = ("compression.zstd", "backports.zstd")
"""The one of Python 3.14, and the same for those before."""


def unpacked(body: bytes) -> bytes:
    """The bytes that were packed.

    Raises:
        CompressedBody: there is no library for it here.
        BadRequest: it is no one whole frame.
        TooLarge: over the limit.
    """
    library = _library()
    try:
        options = {library.DecompressionParameter.window_log_max: _WINDOW_LOG}
        decompressor = library.ZstdDecompressor(options=options)
        found: bytes = decompressor.decompress(body, max_length=UNPACKED_BYTES + 1)
    except library.ZstdError:
        raise BadRequest("failed to decompress zstd body") from None
    if len(found) > UNPACKED_BYTES:
        raise TooLarge(f"request body too large: the limit is {UNPACKED_BYTES // MIB} MiB")
    if not decompressor.eof or decompressor.unused_data:
        raise BadRequest("failed to decompress zstd body")
    return found


def _library() -> ModuleType:
    for name in _LIBRARIES:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise CompressedBody("compressed request bodies need Python 3.14 or backports.zstd here: send the body as it is")


UNPACKERS: Final[Unpackers] = {"zstd": unpacked}
