"""`a3s-power export`: a model as one file, to be carried to another machine."""

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlencode

from a3s_power.cli.client import connect
from a3s_power.cli.options import command
from a3s_power.cli.progress import Bar, Progress
from a3s_power.core.errors import BadRequest, PowerError


@command("export", least=2, most=2)
def export(words: tuple[str, ...]) -> None:
    """Write a model to a file, which is there whole or not at all."""
    model, file = words
    path = Path(file)
    if path.is_dir():
        raise BadRequest(f"{file} is a folder: say which file in it to write")
    with (
        Progress() as progress,
        connect().download(f"/api/export?{urlencode({'model': model})}") as (size, pieces),
    ):
        _write(path, pieces, progress.bar(f"exporting {model}", size))
    print(f"exported '{model}' to '{file}'")


def _write(path: Path, pieces: Iterable[bytes], bar: Bar) -> None:
    """Write beside the file first, under a name that nobody can foresee. Raises PowerError where that cannot be."""
    partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}.partial")
    try:
        try:
            with partial.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
                    bar.set(file.tell())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise PowerError(f"write {path}: {error.strerror}") from error
