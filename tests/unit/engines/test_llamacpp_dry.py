"""The dry run, where the library is not the one it was written for; what it says is tested on the real one."""

import _ctypes
from types import SimpleNamespace

import pytest

from a3s_power.core.errors import EngineFailed
from a3s_power.engines.llamacpp_dry import dry_run


def test_a_library_without_a_dry_run_is_no_answer() -> None:
    another = SimpleNamespace(xllamacpp=SimpleNamespace(__file__=_ctypes.__file__))
    with pytest.raises(EngineFailed, match="has no dry run"):
        dry_run(another, SimpleNamespace(), 1, 1000)
