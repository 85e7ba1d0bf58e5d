"""`a3s-power import`: a model from the file that `export` wrote."""

import json
from pathlib import Path
from typing import Final

from a3s_power.cli.client import connect, pieces_of
from a3s_power.cli.files import opened, watched
from a3s_power.cli.options import command
from a3s_power.cli.progress import Progress
from a3s_power.cli.terminal import one_line
from a3s_power.core.errors import BadFile

_MARK: Final = b"ustar"
_MARK_AT: Final = 257


@command("import", least=1, most=1)
def import_(words: tuple[str, ...]) -> None:
    """Put in the model of an archive."""
    (name,) = words
    path = Path(name)
    file, size = opened(path)
    with file:
        if not file.read(_MARK_AT + len(_MARK)).endswith(_MARK):
            raise BadFile(f"{path} is no archive of a model")
        file.seek(0)
        with Progress() as progress:
            bar = progress.bar(f"importing {path.name}", size)
            answer = watched(connect().upload("/api/import", pieces_of(file), size), bar.set)
    print(f"imported '{one_line(json.loads(answer)['model'])}'")
