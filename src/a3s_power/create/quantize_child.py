"""python -m a3s_power.create.quantize_child --source FD --threads N: started by `create.quantize`, and by nobody else.

It is told which rows of the file to convert, and answers with them, one after the other.
"""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from ctypes import Array, c_char
from typing import Final, NoReturn

import msgspec

from a3s_power.create.inside import answer, work
from a3s_power.create.quantize_kernels import Kernels, Rows, load

_PART_ELEMENTS: Final = 1 << 20


def main(arguments: list[str]) -> NoReturn:
    """Ends the process: with status 1 and a Failure on standard error when the work could not be done."""
    asked = dict(zip(arguments[::2], arguments[1::2], strict=True))
    source, threads = int(asked["--source"]), int(asked["--threads"])
    work(lambda told: _convert(load(), source, msgspec.msgpack.decode(told, type=list[Rows]), threads))


def _convert(kernels: Kernels, source: int, asked: Iterable[Rows], threads: int) -> None:
    """Convert all rows, `threads` parts at once, and write them in their order."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Array[c_char]]] = deque()
        for part in _parts(asked):
            waiting.append(pool.submit(kernels.convert, source, part))
            if len(waiting) > 2 * threads:
                _write(waiting.popleft().result())
        while waiting:
            _write(waiting.popleft().result())


def _parts(asked: Iterable[Rows]) -> Iterator[Rows]:
    """The rows in parts that keep every thread busy and memory small."""
    for rows in asked:
        step = max(1, _PART_ELEMENTS // rows.columns)
        row_bytes = rows.source.size((rows.columns,))
        for first in range(0, rows.rows, step):
            count = min(step, rows.rows - first)
            yield msgspec.structs.replace(rows, offset=rows.offset + first * row_bytes, rows=count)


def _write(content: Array[c_char]) -> None:
    answer(memoryview(content).cast("B"))


if __name__ == "__main__":
    main(sys.argv[1:])
