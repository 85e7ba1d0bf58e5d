"""Speeds: how fast each model reads prompts here, measured by its requests and kept for its next load."""

from pathlib import Path
from typing import Final

from a3s_power.core.digests import Digest
from a3s_power.scheduler.remembered import Remembered

_LEAST_TOKENS: Final = 64
"""A shorter prompt measures the start of the work and not its speed."""
_WEIGHT: Final = 0.3
"""What a new measurement counts against all earlier ones."""


class Speeds:
    """Prompt tokens a second by weights. `file` is JSON; one that cannot be read is started anew, with a warning."""

    def __init__(self, file: Path | None = None) -> None:
        self._rates = Remembered(file, "prompt speeds")
        self.save = self._rates.save

    def rate(self, weights: Digest) -> float | None:
        """Tokens a second, `None` before the first measurement."""
        return self._rates.get(weights.hex)

    def measured(self, weights: Digest, tokens: int, seconds: float) -> None:
        """A prompt of so many newly evaluated tokens took so long; short ones say nothing and are passed over."""
        if tokens < _LEAST_TOKENS or seconds <= 0:
            return
        before, now = self.rate(weights), tokens / seconds
        self._rates.learn(weights.hex, now if before is None else before + _WEIGHT * (now - before))
