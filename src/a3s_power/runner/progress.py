"""How far a load is, read from the lines that llama.cpp prints while it holds Python's lock."""

from typing import Final

import msgspec

_BEFORE: Final = "cmd_child_to_router:state:"


class _Payload(msgspec.Struct, frozen=True):
    value: float = 0.0


class _State(msgspec.Struct, frozen=True):
    state: str
    payload: _Payload = _Payload()


_decode = msgspec.json.Decoder(_State).decode


def fraction(line: str) -> float | None:
    """The fraction done, 0 to 1, that a line of a child's stdout tells; `None` when it tells another thing."""
    if not line.startswith(_BEFORE):
        return None
    try:
        said = _decode(line.removeprefix(_BEFORE))
    except msgspec.MsgspecError:
        return None
    match said.state:
        case "loading":
            return min(max(said.payload.value, 0.0), 1.0)
        case "ready":
            return 1.0
        case _:
            return None
