"""Folders of a model's files, as a conversion sees them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from a3s_power.create.convert.folder import Folder


@contextmanager
def folder_of(scratch: Path, files: Mapping[str, bytes | dict[str, Any] | list[Any]]) -> Iterator[Folder]:
    """Files by name, of bytes or of JSON, open to be converted."""
    with ExitStack() as stack:
        opened = {}
        for number, (name, content) in enumerate(files.items()):
            path = scratch / str(number)
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
            opened[name] = stack.enter_context(path.open("rb"))
        yield Folder(opened)
