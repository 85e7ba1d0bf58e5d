"""The shelf: the engines that were built here, a folder each, and which of all engines is used."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from a3s_power.core.errors import BadConfig, NotFound, PowerError

WHEEL: Final = "llamacpp"
"""The engine that is there without any of this."""
OWN: Final = "llamaserver"
"""The operator's own program, by a path in the settings."""
PROGRAM: Final = "llama-server"
BENCH: Final = "llama-bench"
Backend = Literal["cpu", "cuda", "hip"]
BACKENDS: Final[tuple[Backend, ...]] = ("cpu", "cuda", "hip")
"""For what kinds of machine an engine can be built."""
_CHOICE: Final = "chosen"
_FACTS: Final = "engine.json"
BUILDING: Final = ".building-"


class Speed(msgspec.Struct, frozen=True):
    """Tokens a second: of a prompt that is read, and of an answer."""

    prompt: float
    output: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The same model on the wheel and on a built engine, in turns."""

    wheel: Speed
    native: Speed

    @property
    def prompt_factor(self) -> float:
        """How many times as fast prompts are read."""
        return self.native.prompt / self.wheel.prompt

    @property
    def output_factor(self) -> float:
        """How many times as fast answers are written."""
        return self.native.output / self.wheel.output


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """An engine on the shelf: of which source, for which processor and kind of machine, when (seconds since 1970)."""

    name: str
    version: str
    sha256: str
    processor: str
    backend: Backend
    compiler: str
    built: float
    measured: Measured | None = None


class Choice(msgspec.Struct, frozen=True):
    """An engine of the table, the program it drives, empty for the wheel's, and under which name it was chosen."""

    engine: str
    name: str
    program: str = ""


class Shelf:
    """The folder of engines that were built here."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    def built(self) -> list[Built]:
        """What stands there, by name. What cannot be read is no engine."""
        return sorted(self._read(), key=lambda one: one.name)

    def _read(self) -> Iterator[Built]:
        for file in self.folder.glob(f"*/{_FACTS}"):
            try:
                yield msgspec.structs.replace(msgspec.json.decode(file.read_bytes(), type=Built), name=file.parent.name)
            except (OSError, msgspec.MsgspecError):
                continue

    def program(self, name: str) -> Path:
        """Where an engine's program stands, or would."""
        return self.folder / name / PROGRAM

    def put(self, made: Path, facts: Built) -> None:
        """Stand a folder of programs on the shelf, in place of an older one of that name."""
        (made / _FACTS).write_bytes(msgspec.json.format(msgspec.json.encode(facts)))
        target, old = self.folder / facts.name, made.with_name(f"{made.name}-old")
        if target.exists():
            target.rename(old)
        made.rename(target)
        shutil.rmtree(old, ignore_errors=True)

    def note(self, name: str, measured: Measured) -> None:
        """Remember how fast an engine was found to be."""
        file = self.folder / name / _FACTS
        facts = msgspec.json.decode(file.read_bytes(), type=Built)
        file.write_bytes(msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(facts, measured=measured))))

    def remove(self, name: str) -> None:
        """Take an engine away; one that was chosen is so no more. Raises NotFound."""
        if not any(one.name == name for one in self.built()):
            raise NotFound(f"no engine {name!r} was built here")
        shutil.rmtree(self.folder / name)
        if self.chosen() == name:
            (self.folder / _CHOICE).unlink()

    def chosen(self) -> str:
        """The engine that is used unless the settings say otherwise; the wheel's where none was chosen."""
        try:
            return (self.folder / _CHOICE).read_text("utf-8").strip() or WHEEL
        except FileNotFoundError:
            return WHEEL
        except OSError as error:
            raise PowerError(f"{self.folder / _CHOICE}: {error.strerror}") from error

    def choose(self, name: str) -> None:
        """Use this engine from the next start of the server on. Raises NotFound for one that is not there."""
        if name not in (WHEEL, OWN, *(one.name for one in self.built())):
            raise NotFound(f"there is no engine {name!r}: see a3s-power engine list")
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{_CHOICE}-{os.getpid()}"
        partial.write_text(f"{name}\n", "utf-8")
        partial.replace(self.folder / _CHOICE)

    def resolve(self, said: str, own: str) -> Choice:
        """The engine in force: `said` by the settings, else the `own` program they name, else the one that was chosen.

        Whether its program is there, and runs, is found out when a model is loaded.

        Raises:
            BadConfig: there is no engine of that name.
        """
        name = said or (OWN if own else self.chosen())
        if name == WHEEL:
            return Choice(WHEEL, name)
        if name == OWN and not own:
            raise BadConfig("engine: llamaserver is your own llama-server, and llama_server.path does not name it")
        if name == OWN:
            return Choice(OWN, name, str(Path(own).expanduser()))
        if Path(name).name != name or name.startswith("."):
            raise BadConfig(f"engine: {name!r} is no name of an engine")
        return Choice(OWN, name, str(self.program(name)))
