"""What the child says first: the two halves of a conversion agree here."""

import msgspec


class Outline(msgspec.Struct, frozen=True):
    """What is known before the work: how many bytes the GGUF will have, and what of the model is changed in it."""

    size: int
    notes: list[str]
