"""Declared settings: what a struct says beside its fields, and how their values are read from texts and files."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import msgspec

from a3s_power.core.durations import keep_alive, keep_alive_setting
from a3s_power.core.errors import PowerError

_TRUTHS: Final = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)


class Setting(msgspec.Struct, frozen=True):
    """What is known of a setting beside its type: its environment variables, of which the first that is set counts.

    `read` makes the value from a text, or from what the file holds; it raises ValueError or a PowerError.
    """

    variables: str
    help: str
    read: Callable[[Any], object] | None = None

    @property
    def names(self) -> list[str]:
        """The variables, one by one."""
        return self.variables.split()


def to_words(value: object) -> object:
    """A list, or a text with commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def to_seconds(value: object) -> object:
    return keep_alive_setting(value) if isinstance(value, str) else keep_alive(value)


def to_patience(value: object) -> object:
    seconds = to_seconds(value)
    return 0.0 if seconds == math.inf else seconds


def to_level(value: object) -> object:
    """A level, or yes (1) or no (0)."""
    if isinstance(value, str):
        return int(_TRUTHS[value]) if value in _TRUTHS else int(value)
    return int(value) if isinstance(value, bool) else value


def to_slots(value: object) -> object:
    """A number, or -1 for `auto`."""
    return -1 if value == "auto" else int(value) if isinstance(value, str) else value


def to_share(value: object) -> object:
    return float(value) if isinstance(value, str) else value


def to_lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Declared(msgspec.Struct, frozen=True):
    """A setting of a struct: its name in the file, its type, its default, and what is known of it."""

    name: str
    type: Any
    default: object
    setting: Setting

    def from_text(self, text: str) -> object:
        """The value a text means. Raises ValueError, PowerError or msgspec's ValidationError."""
        if self.setting.read is not None:
            return self._checked(self.setting.read(text))
        plain = _plain(self.type)
        if bool in plain:
            return _TRUTHS.get(text, True)
        if int in plain:
            return self._checked(int(text) if re.fullmatch(r"-?[0-9]+", text) else text)
        return self._checked(text)

    def from_file(self, value: object) -> object:
        """The value the file holds. Raises as `from_text` does."""
        return self._checked(self.setting.read(value) if self.setting.read is not None else value)

    def _checked(self, value: object) -> object:
        return msgspec.convert(value, self.type)


def declared(owner: type[msgspec.Struct], table: str = "") -> Iterator[Declared]:
    """Every setting, in the order in which the struct lists them."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(owner)}
    for name, annotation in get_type_hints(owner, include_extras=True).items():
        setting = next((extra for extra in get_args(annotation) if isinstance(extra, Setting)), None)
        if setting is not None:
            yield Declared(f"{table}{name}", annotation, defaults[name], setting)
        elif isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
            yield from declared(annotation, f"{name}.")


def _plain(annotation: object) -> tuple[object, ...]:
    """The types of an annotation, without what is noted beside them."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    return (annotation, *get_args(annotation))


def complaint(one: Declared, error: Exception) -> str:
    """What is wrong with a value, in one line, as msgspec says it."""
    if isinstance(error, msgspec.ValidationError | PowerError):
        return str(error)
    return f"Expected `{_plain(one.type)[0].__name__}`"  # type: ignore[attr-defined]  # the plain type is a class
