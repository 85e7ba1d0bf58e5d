"""Vectors are cut to unit length, and never hold what JSON cannot."""

import math

import pytest

from a3s_power.core.errors import BadRequest
from a3s_power.service.vectors import checked, shortened


def test_a_shortened_vector_has_unit_length() -> None:
    vector = shortened((3.0, 4.0, 12.0), 2)
    assert vector == (0.6, 0.8)


@pytest.mark.parametrize("dimensions", [0, -1, 3, 99999])
def test_a_number_that_cuts_nothing_off_leaves_the_vector_as_it_is(dimensions: int) -> None:
    vector = (1.0, 2.0, 3.0)
    assert shortened(vector, dimensions) is vector


def test_a_head_of_zeros_stays_zeros() -> None:
    assert shortened((0.0, 0.0, 1.0), 2) == (0.0, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_vector_with_a_value_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(BadRequest, match="embedding contains NaN or Inf values"):
        checked([(0.0, 1.0), (value, 0.0)])
