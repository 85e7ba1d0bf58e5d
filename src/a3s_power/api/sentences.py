"""The sentence of an error, for dialects that have an object of their own around it."""

from typing import Final

import msgspec

from a3s_power.core.errors import EngineRefused, PowerError, PromptTooLong


class _Detail(msgspec.Struct):
    message: str


class _Engines(msgspec.Struct):
    error: _Detail


_decode: Final = msgspec.json.Decoder(_Engines).decode


def sentence(error: PowerError) -> str:
    """What went wrong, in words; of the JSON in which an engine refuses, which Ollama hands on whole, the message."""
    if isinstance(error, PromptTooLong | EngineRefused):
        try:
            return _decode(error.message).error.message
        except msgspec.MsgspecError:
            return error.message + _counted(error)
    return error.message


def _counted(error: PowerError) -> str:
    """Both numbers of a prompt that was too long, where its sentence has none."""
    if isinstance(error, PromptTooLong) and error.limit:
        return f" ({error.tokens} tokens, at most {error.limit})"
    return ""
