"""Texts that a client may send as the model's token ids instead."""

from collections.abc import Sequence
from typing import Final, TypeGuard

from a3s_power.api.endpoint import Call
from a3s_power.api.streams import while_here
from a3s_power.core.requests import Detokenize, Embed, Generate

_IDS: Final = 2**31

TextOrTokens = str | tuple[int, ...]


def texts_or_tokens(value: object) -> list[TextOrTokens] | None:
    """A text, a list of token ids, or a list of either; `None` for anything else."""
    match value:
        case str():
            return [value]
        case [int(), *_] if _are_tokens(value):
            return [tuple(value)]
        case list():
            found = [tuple(each) if isinstance(each, list) and _are_tokens(each) else each for each in value]
            return found if all(isinstance(each, str | tuple) and each != () for each in found) else None
    return None


def _are_tokens(value: Sequence[object]) -> TypeGuard[Sequence[int]]:
    return all(isinstance(each, int) and not isinstance(each, bool) and 0 <= each < _IDS for each in value)


async def as_texts(call: Call, request: Generate | Embed, sent: Sequence[TextOrTokens]) -> list[str]:
    """The texts; those of token ids are asked of the model of the request, which is loaded for it.

    Raises:
        PowerError: what kept the model from answering, EngineRefused for a token that it does not have.
    """
    if all(isinstance(each, str) for each in sent):
        return [each for each in sent if isinstance(each, str)]
    return await while_here(call.receive, lambda: _read(call, request, sent))


async def _read(call: Call, request: Generate | Embed, sent: Sequence[TextOrTokens]) -> list[str]:
    texts = []
    for each in sent:
        if isinstance(each, str):
            texts.append(each)
            continue
        asked = Detokenize(
            model=request.model,
            shown=request.shown,
            asked=request.asked,
            keep_alive=request.keep_alive,
            tokens=each,
            wanted_for=request,
        )
        texts.append((await call.service.inference.detokenize(asked)).text)
    return texts
