"""Speeds: how fast each model reads prompts here, measured by its requests and kept for its next load."""

from pathlib import Path
from secrets import token_hex
from typing import Final

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.log import get_logger

log = get_logger(__name__)

_LEAST_TOKENS: Final = 64
"""A shorter prompt measures the start of the work and not its speed."""
_WEIGHT: Final = 0.3
"""What a new measurement counts against all earlier ones."""
_MOST_MODELS: Final = 1024


class Speeds:
    """Prompt tokens a second by weights. `file` is JSON; one that cannot be read is started anew, with a warning."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._rates = _read(file)
        self._changed = False

    def rate(self, weights: Digest) -> float | None:
        """Tokens a second, `None` before the first measurement."""
        return self._rates.get(weights.hex)

    def measured(self, weights: Digest, tokens: int, seconds: float) -> None:
        """A prompt of so many newly evaluated tokens took so long; short ones say nothing and are passed over."""
        if tokens < _LEAST_TOKENS or seconds <= 0:
            return
        before, now = self._rates.pop(weights.hex, None), tokens / seconds
        self._rates[weights.hex] = now if before is None else before + _WEIGHT * (now - before)
        self._changed = True
        if len(self._rates) > _MOST_MODELS:
            del self._rates[next(iter(self._rates))]

    def save(self) -> None:
        """Write what was learnt since the last time, whole or not at all. A disk that refuses is a warning."""
        if self._file is None or not self._changed:
            return
        self._changed = False
        partial = self._file.with_name(f"{self._file.name}.{token_hex(4)}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(msgspec.json.encode(self._rates))
            partial.replace(self._file)
        except OSError as error:
            partial.unlink(missing_ok=True)
            log.warning("prompt speeds could not be written", file=self._file, error=error)


def _read(file: Path | None) -> dict[str, float]:
    if file is None:
        return {}
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, float])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("prompt speeds cannot be read and are measured anew", file=file, error=error)
        return {}
