"""Sources: what the source of a pull means, a name or an address. Pure."""

from contextlib import suppress
from typing import NamedTuple

from a3s_power.core.errors import InvalidName
from a3s_power.core.names import ModelName
from a3s_power.registry.urls import Url


class Named(NamedTuple):
    """A model's name, and the scheme that stood before it, if one did."""

    name: ModelName
    scheme: str = ""


def read_source(text: str) -> Named | Url:
    """Read `[scheme://][host/][namespace/]model[:tag]`, or the address of a GGUF file.

    A whole address is taken for a name when it looks like one: host, namespace and model, and no `.gguf` behind.

    Raises:
        BadRequest: neither; InvalidName is of this kind.
    """
    text = text.strip(" \t\r\n")
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Named(ModelName.parse(text))
    if scheme.lower() not in ("http", "https"):
        raise InvalidName
    if rest.count("/") == 2 and not rest.lower().endswith(".gguf"):
        with suppress(InvalidName):
            return Named(ModelName.parse(rest), scheme.lower())
    return Url.parse(text)
