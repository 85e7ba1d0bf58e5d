"""Slices: long answers are made some at a time, so that other streams do not wait for the whole of one."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

_AT_ONCE: Final = 4096
"""Numbers that are written in less than a millisecond."""


async def written(vectors: Sequence[Sequence[float]], write: Callable[[Sequence[float]], bytes]) -> bytes:
    """A JSON list of vectors, each as `write` writes it."""
    parts, numbers = list[bytes](), 0
    for vector in vectors:
        parts.append(write(vector))
        numbers += len(vector)
        if numbers >= _AT_ONCE:
            numbers = 0
            await asyncio.sleep(0)
    return b"[%b]" % b",".join(parts)
