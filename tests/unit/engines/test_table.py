"""The table of engines: every one can be found, and finding imports none."""

import subprocess
import sys

import pytest

from a3s_power.core.errors import EngineMissing
from a3s_power.engines import ENGINES, find


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_engine_is_where_the_table_says(name: str) -> None:
    program = (
        "import sys, importlib; from a3s_power.engines import find\n"
        f"module, _, engine = find({name!r}).target.partition(':')\n"
        "assert module not in sys.modules\n"
        "getattr(importlib.import_module(module), engine)()\n"
        "assert 'xllamacpp' not in sys.modules, 'the library is imported by a load only'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_engine_of_another_package_is_named_by_its_place() -> None:
    assert find("their.module:Engine").target == "their.module:Engine"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(EngineMissing, match="no engine called 'x'; there are: echo, llamacpp"):
        find("x")


def test_the_engine_that_spins_is_told_how_long_before_it_starts() -> None:
    environment = dict(ENGINES["llamacpp"].environment)
    assert environment["GOMP_SPINCOUNT"] == "2000"
    assert environment["GGML_NO_BACKTRACE"] == "1"
