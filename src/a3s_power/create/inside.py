"""The inside of a child of `create.child`: told what to do on standard input, it answers on standard output.

It ends when standard input does: then its parent is gone.
"""

import os
import resource
import sys
import threading
from collections.abc import Callable
from typing import Final, NoReturn

import msgspec

from a3s_power.core.errors import PowerError
from a3s_power.create.child import Failure

_NICENESS: Final = 10
_LENGTH_BYTES: Final = 8


def work(do: Callable[[bytes], None]) -> NoReturn:
    """Do what was told, and end the process: with status 1 and a Failure on standard error where it cannot be done."""
    os.nice(_NICENESS)  # whoever chats meanwhile goes first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    told = _told(int.from_bytes(_told(_LENGTH_BYTES), "little"))
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        do(told)
    except PowerError as error:
        os.write(sys.stderr.fileno(), msgspec.json.encode(Failure(error.kind, error.message)) + b"\n")
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)  # nobody reads any more
    sys.exit(0)


def answer(content: bytes | memoryview) -> None:
    """Write to standard output, all of it."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


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
