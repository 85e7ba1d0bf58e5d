"""How the tokens' vectors become one for a text: what a model for sentence-transformers says of it."""

from typing import Final

import msgspec

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.folder import Folder
from a3s_power.gguf.layout import quoted

MEAN: Final = 1
_CLS: Final = 2
_LAST: Final = 3

_MODULES: Final = "modules.json"
_HARMLESS: Final = ("Transformer", "Pooling", "Normalize")
"""Modules that llama.cpp and this server do."""


class _Module(msgspec.Struct, frozen=True):
    type: str
    path: str = ""


class _Pooling(msgspec.Struct, frozen=True):
    """Of a Pooling module, in its old form and its new one."""

    pooling_mode_mean_tokens: bool = False
    pooling_mode_cls_token: bool = False
    pooling_mode_lasttoken: bool = False
    pooling_mode: str = ""


def pooling(folder: Folder) -> int | None:
    """llama.cpp's number of the way; `None` where no file says one. Raises BadFile for a way llama.cpp has not."""
    modules = folder.json(_MODULES, list[_Module]) or []
    for module in modules:
        if module.type.rpartition(".")[2] not in _HARMLESS:
            raise BadFile(f"{_MODULES} asks for {quoted(module.type)}, which cannot be converted")
    said = next((module.path for module in modules if module.type.endswith("Pooling")), None)
    if said is None:
        return None
    mode = folder.json(f"{said}/config.json", _Pooling)
    if mode is None:
        raise BadFile(f"{quoted(said)} has no config.json")
    ways = {
        MEAN: mode.pooling_mode_mean_tokens or mode.pooling_mode == "mean",
        _CLS: mode.pooling_mode_cls_token or mode.pooling_mode == "cls",
        _LAST: mode.pooling_mode_lasttoken or mode.pooling_mode == "lasttoken",
    }
    chosen = [way for way, is_it in ways.items() if is_it]
    if len(chosen) != 1:
        raise BadFile(f"{quoted(said)} asks for a pooling that llama.cpp does not have")
    return chosen[0]
