"""What llama.cpp puts on graphics processors, layer by layer, in bytes: by formula, not measured."""

from typing import Final

import msgspec

from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts
from a3s_power.engines.llamacpp_memory import cache_bytes, compute_bytes
from a3s_power.engines.llamacpp_params import Settings

LIBRARY_BYTES: Final = 512 * MIB
"""What the card's own library takes on each card beside the model: its context and its kernels. Not measured here."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A model as cards see it: how many layers, the output's included, what each takes, and each card beside them."""

    layers: int
    layer_bytes: int
    output_bytes: int
    each_bytes: int

    def bytes_of(self, layers: int) -> int:
        """So many layers; the output is the first one to go to a card."""
        return self.output_bytes + self.layer_bytes * (layers - 1) if layers > 0 else 0

    def fitting(self, room: int) -> int:
        """As many layers as so many bytes hold."""
        if room < self.output_bytes:
            return 0
        return min(self.layers, 1 + (room - self.output_bytes) // self.layer_bytes)


def shape(facts: Facts, chosen: Settings, beside_bytes: int = 0) -> Shape:
    """What a model takes on cards, loaded so, with so much beside it. The cache of a layer lies where the layer lies.

    The table of the vocabulary stays in main memory. It counts as the output's weights too: a model has those or uses
    a copy of the table, and its header does not say which without all names of tensors.
    """
    a_parameter = facts.weights_bytes / facts.parameters if facts.parameters else 0
    table = min(int(facts.vocabulary * facts.embedding_length * a_parameter), facts.weights_bytes // 2)
    cache = cache_bytes(facts, chosen)
    blocks = max(1, facts.block_count)
    return Shape(
        layers=blocks + 1,
        layer_bytes=int((facts.weights_bytes - table + cache) / blocks) + 1,
        output_bytes=table + beside_bytes,
        each_bytes=compute_bytes(facts, chosen) + LIBRARY_BYTES,
    )
