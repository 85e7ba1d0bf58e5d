"""Bodies that agents send packed by Zstandard: unpacked under a limit, so that a small one cannot fill the memory."""

import sys
from types import ModuleType
from typing import Final

from a3s_power.api.asked import Unpackers
from a3s_power.core.errors import BadRequest, TooLarge
from a3s_power.core.limits import MIB

UNPACKED_BYTES: Final = 20 * MIB
"""What a body may be, unpacked."""

_WINDOW_LOG: Final = 25
"""Bytes of the past that a packed text may refer to, as a power of two: more than such a body has."""


def unpacked(body: bytes) -> bytes:
    """The bytes that were packed.

    Raises:
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
    """Python's own from 3.14 on, and the same for those before; imported when such a body comes."""
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415
    else:
        from backports import zstd  # noqa: PLC0415
    return zstd


UNPACKERS: Final[Unpackers] = {"zstd": unpacked}
