"""Server-sent events as bytes: each JSON on one line, whatever a reader takes for the end of a line."""

from typing import Any, Final

import msgspec

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = (
    (b"cache-control", b"no-cache"),
    (b"connection", b"keep-alive"),
    # Some proxies hold a stream back until it is whole unless they are told not to.
    (b"x-accel-buffering", b"no"),
)
"""What an answer of events says beside its media type."""

COMMENT: Final = b": waiting\n\n"
"""Nothing to any client, and a sign of life to whatever stands between."""

# Readers that split text into lines by Unicode's rules end a line at these, too.
_LINE_ENDS: Final = tuple((sign.encode(), b"\\u%04x" % ord(sign)) for sign in ("\x85", "\u2028", "\u2029"))

_encode: Final = msgspec.json.Encoder().encode


def json(value: Any) -> bytes:  # noqa: ANN401 -- any JSON value or struct
    """Compact JSON without anything that could end a line."""
    encoded = _encode(value)
    return encoded if encoded.isascii() else _escaped(encoded)


def _escaped(encoded: bytes) -> bytes:
    for plain, escaped in _LINE_ENDS:
        encoded = encoded.replace(plain, escaped)
    return encoded


def data(value: Any) -> bytes:  # noqa: ANN401 -- as above
    """An event without a name."""
    return b"data: %b\n\n" % json(value)


def event(name: str, value: Any) -> bytes:  # noqa: ANN401 -- as above
    """An event with a name."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json(value))
