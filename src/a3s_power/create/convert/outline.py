"""What the child says first: the two halves of a conversion agree here."""

from typing import Annotated

import msgspec


class Outline(msgspec.Struct, frozen=True):
    """What is known before the work: how many bytes the GGUF will have, and what of the model is changed in it.

    Where there is no conversion for its architecture, `unsupported` is that, and no GGUF follows: `parameters` are
    those of all tensors, `type` is that of most elements.
    """

    size: int
    notes: list[str]
    unsupported: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{0,128}$")] = ""
    parameters: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    type: str = ""
