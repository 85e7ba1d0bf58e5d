"""A fake NVML for tests: a small library, compiled where there is a compiler, and loaded as the real one is."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "unit/hardware/fake_nvml.c"


class FakeNvml:
    """The library at `path`; its `fake_` functions say what goes wrong in it. Two cards of 24 GiB, 8 of them free."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.library = ctypes.CDLL(self.path)
        self.library.fake_free.argtypes = [ctypes.c_ulonglong]

    @property
    def opened(self) -> int:
        """How often it was opened and not closed."""
        return int(self.library.fake_opened())


def compiled(folder: Path) -> FakeNvml:
    """The library, made in that folder. Skips the test where there is no compiler."""
    compiler = shutil.which("cc") or pytest.skip("no C compiler here")
    target = folder / "libfake-nvml.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", target, SOURCE], check=True)
    return FakeNvml(target)


def a_root(folder: Path, files: dict[str, str]) -> Path:
    """A folder with those files below it, as if it were the root of a system."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder
