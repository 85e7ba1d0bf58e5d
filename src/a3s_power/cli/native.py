"""Which engine the settings mean, and whether one built for this processor would be faster."""

import platform
from pathlib import Path
from typing import Final

from a3s_power import paths
from a3s_power.config import Config
from a3s_power.engines.llamaserver_flags import check_added
from a3s_power.hardware import instructions
from a3s_power.native.shelf import WHEEL, Choice, Measured, Shelf

_FASTER: Final = "prompts 1.4 to 1.7 times as fast, answers 1.1 to 1.25 times"
"""What a build was found to bring on a processor with AVX-512: docs/engines.md."""


def shelf(settings: Config) -> Shelf:
    """The engines that were built here."""
    return Shelf(paths.places(data_dir=settings.data_dir, models=settings.models).engines)


def chosen_engine(settings: Config) -> Choice:
    """The engine in force. Raises BadConfig for one nobody has, and for flags that may not be added."""
    check_added(settings.llama_server.args)
    return shelf(settings).resolve(settings.engine, settings.llama_server.path)


def would_pay(settings: Config) -> str:
    """One line on an engine that would be faster here than the one in force; empty where there is none to be had."""
    if chosen_engine(settings).name != WHEEL or not (unused := wide_instructions()):
        return ""
    for one in reversed(shelf(settings).built()):
        found = f", measured here: {factors(one.measured)}" if one.measured else ""
        return f"an engine for this processor is built and not used{found}: a3s-power engine use {one.name}"
    return f"the processor has {unused}, which the engine in use does not: `a3s-power engine build` makes {_FASTER}"


def wide_instructions() -> str:
    """What this processor has and the prebuilt library makes no use of; empty where that is nothing."""
    return instructions.wide(Path("/proc/cpuinfo")) if platform.system() == "Linux" else ""


def factors(measured: Measured) -> str:
    """How many times as fast as the prebuilt one, in words."""
    return f"prompts {measured.prompt_factor:.2f} times, answers {measured.output_factor:.2f} times as fast"
