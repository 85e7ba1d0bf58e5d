"""Load options that requests cannot change."""

from typing import Any

import msgspec
import pytest

from a3s_power.core.errors import BadConfig
from a3s_power.core.names import ModelName
from a3s_power.scheduler import placement
from a3s_power.scheduler.fixed import Fixed, ignored, settled
from a3s_power.scheduler.settings import Settings
from tests.scheduling import MACHINE, a_need


@pytest.mark.parametrize(
    ("words", "of_a", "of_b"),
    [
        ([], False, False),
        (["request"], False, False),
        (["fixed"], True, True),
        (["a=fixed"], True, False),
        (["fixed", "a=request"], False, True),
        (["a:latest=request", "fixed"], False, True),
    ],
)
def test_what_is_said_of_a_model_goes_before_what_is_said_of_all(words: list[str], of_a: bool, of_b: bool) -> None:
    fixed = Fixed.parse(words)
    assert (fixed.of(ModelName.parse("a")), fixed.of(ModelName.parse("b"))) == (of_a, of_b)
    assert bool(fixed) == (of_a or of_b)


@pytest.mark.parametrize("word", ["", "a", "a=", "a=free", "=x"])
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(BadConfig, match="load_options"):
        Fixed.parse([word])


@pytest.mark.parametrize(
    ("modelfile", "asked", "told"),
    [
        pytest.param({}, {}, {}, id="nothing asked"),
        pytest.param({}, {"num_ctx": 1000}, {}, id="a shorter context is held to"),
        pytest.param({}, {"num_ctx": 1000, "embedding": True}, {"num_ctx": "1000 -> 4096"}, id="but for vectors"),
        pytest.param({}, {"num_ctx": 5000}, {"num_ctx": "5000 -> 4096"}, id="a longer one is not given"),
        pytest.param({"num_ctx": 6000}, {"num_ctx": 5000}, {}, id="the Modelfile's word counts"),
        pytest.param({"num_thread": 3}, {"num_thread": 3}, {}, id="what the model says itself"),
        pytest.param({}, {"num_thread": 2}, {"num_thread": "2 -> automatic"}, id="threads"),
        pytest.param({}, {"use_mmap": False}, {"use_mmap": "false -> automatic"}, id="a word of yes or no"),
        pytest.param({}, {"num_thread": 0, "num_gpu": -1}, {}, id="what is automatic anyway"),
        pytest.param({}, {"temperature": 0.0, "seed": 7}, {}, id="options of the request alone"),
    ],
)
def test_what_is_asked_in_vain_is_told(modelfile: dict[str, Any], asked: dict[str, Any], told: dict[str, str]) -> None:
    model = msgspec.structs.replace(a_need().model, parameters=modelfile)
    own = {name: value for name, value in modelfile.items() if name not in asked}
    need = msgspec.structs.replace(a_need(**own, **asked), model=model)
    counts = settled(need)
    claim = placement.claim(counts, Settings(context_length=4096), MACHINE)
    assert ignored(need, claim) == told
    assert settled(counts).options == counts.options
