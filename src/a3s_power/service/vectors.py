"""Vectors cut to fewer dimensions, and checked. Pure."""

import math
from collections.abc import Sequence

from a3s_power.core.errors import BadRequest

Vector = Sequence[float]


def checked(vectors: Sequence[Vector]) -> None:
    """Raise BadRequest when a vector holds what no JSON number can be."""
    if not all(math.isfinite(sum(vector)) for vector in vectors):
        raise BadRequest("embedding contains NaN or Inf values")


def shortened(vector: Vector, dimensions: int) -> Vector:
    """The first `dimensions` values at unit length; a number that cuts nothing off leaves the vector as it is."""
    if not 0 < dimensions < len(vector):
        return vector
    head = vector[:dimensions]
    length = math.sqrt(math.fsum(value * value for value in head))
    return tuple(value / length for value in head) if length else head


def finished(vectors: Sequence[Vector], dimensions: int) -> tuple[Vector, ...]:
    """Vectors that were checked, each with so many dimensions, 0 for all it has. Raises BadRequest as `checked`."""
    checked(vectors)
    return tuple(shortened(vector, dimensions) for vector in vectors)
