"""python -m a3s_power.create.quantize_child --source FD --threads N: started by `create.quantize`, and by nobody else.

It is told on standard input which rows of the file to convert, writes them to standard output one after the other,
and ends when standard input does: then its parent is gone.
"""

import os
import resource
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from ctypes import Array, c_char
from typing import Final, NoReturn

import msgspec

from a3s_power.core.errors import PowerError
from a3s_power.create.child import Failure
from a3s_power.create.quantize_kernels import Kernels, Rows, load

_PART_ELEMENTS: Final = 1 << 20
_NICENESS: Final = 10
_LENGTH_BYTES: Final = 8


def main(arguments: list[str]) -> NoReturn:
    """Ends the process: with status 1 and a Failure on standard error when the work could not be done."""
    asked = dict(zip(arguments[::2], arguments[1::2], strict=True))
    os.nice(_NICENESS)  # whoever chats meanwhile goes first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work = msgspec.msgpack.decode(_told(int.from_bytes(_told(_LENGTH_BYTES), "little")), type=list[Rows])
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        _convert(load(), int(asked["--source"]), work, int(asked["--threads"]))
    except PowerError as error:
        os.write(sys.stderr.fileno(), msgspec.json.encode(Failure(error.kind, error.message)) + b"\n")
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)  # nobody reads any more
    sys.exit(0)


def _told(size: int) -> bytes:
    content = b""
    while len(content) < size:
        piece = os.read(sys.stdin.fileno(), size - len(content))
        if not piece:
            sys.exit(1)
        content += piece
    return content


def _end_with_the_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _convert(kernels: Kernels, source: int, work: Iterable[Rows], threads: int) -> None:
    """Convert all rows, `threads` parts at once, and write them in their order."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Array[c_char]]] = deque()
        for part in _parts(work):
            waiting.append(pool.submit(kernels.convert, source, part))
            if len(waiting) > 2 * threads:
                _write(waiting.popleft().result())
        while waiting:
            _write(waiting.popleft().result())


def _parts(work: Iterable[Rows]) -> Iterator[Rows]:
    """The rows in parts that keep every thread busy and memory small."""
    for rows in work:
        step = max(1, _PART_ELEMENTS // rows.columns)
        row_bytes = rows.source.size((rows.columns,))
        for first in range(0, rows.rows, step):
            count = min(step, rows.rows - first)
            yield msgspec.structs.replace(rows, offset=rows.offset + first * row_bytes, rows=count)


def _write(content: Array[c_char]) -> None:
    rest = memoryview(content).cast("B")
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


if __name__ == "__main__":
    main(sys.argv[1:])
