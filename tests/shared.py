"""Where the models and recordings lie that are not part of this repository, for the tests that can use them."""

from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).resolve().parents[1]
BUILTIN_MODEL: Final = REPOSITORY / "src/a3s_power/store/builtin/power-tiny-Q8_0.gguf"
_SHARED: Final = REPOSITORY.parent / "shared"


def shared_file(relative: str) -> Path:
    """A file or folder of the `shared` folder beside the repository; the test is skipped where it is absent."""
    path = _SHARED / relative
    if not path.exists():
        pytest.skip(f"needs ../shared/{relative}, which is not part of the repository")
    return path
