"""What goes to cards, layer by layer: sums that must hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.core.limits import MIB
from a3s_power.engines import llamacpp_layers, llamacpp_memory, llamacpp_params
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.llamacpp_layers import Shape
from tests.scheduling import FACTS

GPU = llamacpp_params.Machine(x86=True, gpu_free_bytes=1)


def a_shape(beside: int = 0, **said: int) -> Shape:
    chosen = llamacpp_params.settings(LoadOptions(**({"context_length": 4096} | said)), FACTS, GPU)  # type: ignore[arg-type]  # a table
    return llamacpp_layers.shape(FACTS, chosen, beside)


def test_all_layers_are_the_weights_and_the_cache() -> None:
    chosen = llamacpp_params.settings(LoadOptions(context_length=4096), FACTS, GPU)
    whole = a_shape().bytes_of(FACTS.block_count + 1)
    assert whole == pytest.approx(FACTS.weights_bytes + llamacpp_memory.cache_bytes(FACTS, chosen), rel=0.001)


def test_a_layer_takes_its_part_of_the_cache_of_all_slots() -> None:
    one, four = a_shape(), a_shape(parallel=4)
    a_layer = 4096 * 4 * 2 * 64 * 2
    assert four.layer_bytes - one.layer_bytes == pytest.approx(3 * a_layer, abs=4)
    assert four.output_bytes == one.output_bytes


def test_what_is_beside_a_model_goes_with_the_output() -> None:
    assert a_shape(10 * MIB).output_bytes == a_shape().output_bytes + 10 * MIB


@given(room=st.integers(0, 2**31), layers=st.integers(1, 60), layer=st.integers(1, 2**27), output=st.integers(0, 2**28))
def test_as_many_layers_fit_as_have_room(room: int, layers: int, layer: int, output: int) -> None:
    shape = Shape(layers=layers, layer_bytes=layer, output_bytes=output, each_bytes=0)
    fitting = shape.fitting(room)
    assert shape.bytes_of(fitting) <= room
    assert fitting == layers or shape.bytes_of(fitting + 1) > room
