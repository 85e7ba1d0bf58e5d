"""python -m a3s_power.create.convert: started by `create.convert.start`, and by nobody else.

It is told which open files it has, under which names, and answers with an Outline behind its length, and the GGUF.
"""

import os
from typing import Final

import msgspec

from a3s_power.core.errors import NotSupported
from a3s_power.create.convert.folder import Folder
from a3s_power.create.inside import answer, work

_LENGTH_BYTES: Final = 8
_MISSING: Final = 'converting safetensors needs further packages: pip install "a3s-power[convert]"'


def _convert(told: bytes) -> None:
    try:
        # Here, so that whoever lacks the packages is told so by the same way as of everything else.
        from a3s_power.create.convert.model import convert  # noqa: PLC0415
        from a3s_power.create.convert.unconverted import outline as unconverted  # noqa: PLC0415
    except ImportError as error:
        raise NotSupported(f"{_MISSING} ({error})") from error
    files = msgspec.msgpack.decode(told, type=dict[str, int])
    folder = Folder({name: os.fdopen(file, "rb", buffering=0) for name, file in files.items()})
    kept = unconverted(folder)
    outline, content = (kept, iter(())) if kept is not None else convert(folder)
    encoded = msgspec.msgpack.encode(outline)
    answer(len(encoded).to_bytes(_LENGTH_BYTES, "little") + encoded)
    for piece in content:
        answer(piece)


if __name__ == "__main__":
    work(_convert)
