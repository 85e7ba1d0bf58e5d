"""Remembered: numbers by a text, learnt while serving and kept in a file for the next time."""

from pathlib import Path
from secrets import token_hex
from typing import Final

import msgspec

from a3s_power.log import get_logger

log = get_logger(__name__)

_MOST: Final = 1024


class Remembered:
    """The numbers of late. `file` is JSON; one that cannot be read is started anew, with a warning that says `what`."""

    def __init__(self, file: Path | None, what: str) -> None:
        self._file = file
        self._what = what
        self._numbers = self._read()
        self._changed = False

    def get(self, key: str) -> float | None:
        """The number that was learnt last, `None` before the first."""
        return self._numbers.get(key)

    def learn(self, key: str, number: float) -> None:
        """Replace it; of too many the one that was learnt longest ago is forgotten."""
        self._numbers.pop(key, None)
        self._numbers[key] = number
        self._changed = True
        if len(self._numbers) > _MOST:
            del self._numbers[next(iter(self._numbers))]

    def save(self) -> None:
        """Write what was learnt since the last time, whole or not at all. A disk that refuses is a warning."""
        if self._file is None or not self._changed:
            return
        self._changed = False
        partial = self._file.with_name(f"{self._file.name}.{token_hex(4)}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(msgspec.json.encode(self._numbers))
            partial.replace(self._file)
        except OSError as error:
            partial.unlink(missing_ok=True)
            log.warning("what was learnt could not be written", what=self._what, file=self._file, error=error)

    def _read(self) -> dict[str, float]:
        if self._file is None:
            return {}
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, float])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("what was learnt cannot be read", what=self._what, file=self._file, error=error)
            return {}
