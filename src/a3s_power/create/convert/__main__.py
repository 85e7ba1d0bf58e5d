"""python -m a3s_power.create.convert: started by `create.convert.start`, and by nobody else.

It is told on standard input which open files it has, answers on standard output with an Outline and the GGUF, and ends
when standard input does: then its parent is gone.
"""

import os
import resource
import sys
import threading
from typing import Final, NoReturn

import msgspec

from a3s_power.core.errors import NotSupported, PowerError
from a3s_power.create.child import Failure
from a3s_power.create.convert.folder import Folder

_NICENESS: Final = 10
_LENGTH_BYTES: Final = 8
_MISSING: Final = 'converting safetensors needs further packages: pip install "a3s-power[convert]"'


def main() -> NoReturn:
    """Ends the process: with status 1 and a Failure on standard error when the work could not be done."""
    os.nice(_NICENESS)  # whoever chats meanwhile goes first
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = msgspec.msgpack.decode(_told(int.from_bytes(_told(_LENGTH_BYTES), "little")), type=dict[str, int])
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        _convert(files)
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


def _convert(files: dict[str, int]) -> None:
    try:
        # Here, so that whoever lacks the packages is told so by the same way as of everything else.
        from a3s_power.create.convert.model import convert  # noqa: PLC0415
    except ImportError as error:
        raise NotSupported(f"{_MISSING} ({error})") from error
    folder = Folder({name: os.fdopen(number, "rb", buffering=0) for name, number in files.items()})
    outline, content = convert(folder)
    encoded = msgspec.msgpack.encode(outline)
    _write(len(encoded).to_bytes(_LENGTH_BYTES, "little") + encoded)
    for piece in content:
        _write(piece)


def _write(content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


if __name__ == "__main__":
    main()
