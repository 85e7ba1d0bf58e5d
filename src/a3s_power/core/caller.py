"""Caller: whose request is being answered, how urgent it is, and how long it may wait."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import msgspec

from a3s_power.core.durations import NEVER, keep_alive_setting
from a3s_power.core.errors import BadRequest, InvalidDuration

_SHOWN: Final = 40


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says beside its body: `priority` and `deadline` as sent, or empty.

    `client` tells clients apart; this one takes `weight` turns where others take one.
    """

    client: str = ""
    weight: int = 1
    priority: str = ""
    deadline: str = ""

    @property
    def batch(self) -> bool:
        """Whether the work gives way to all other. Raises BadRequest for a word that is no priority."""
        if self.priority not in ("", "normal", "batch"):
            raise BadRequest(f'X-Power-Priority must be "normal" or "batch", not "{self.priority[:_SHOWN]}"')
        return self.priority == "batch"

    @property
    def patience(self) -> float:
        """Seconds that it may wait for a model and a slot, infinity without a word. Raises BadRequest."""
        if not self.deadline:
            return NEVER
        try:
            return keep_alive_setting(self.deadline)
        except InvalidDuration as error:
            raise BadRequest(f"X-Power-Deadline: {error}") from error


caller: Final[ContextVar[Caller]] = ContextVar("caller", default=Caller())  # noqa: B039 -- frozen
"""The caller of the request that is being answered."""
_ignored: Final[ContextVar[dict[str, str]]] = ContextVar("ignored")


@contextmanager
def ignored_options() -> Iterator[dict[str, str]]:
    """The options that the request inside asks for in vain, each with what became of it; it fills as they are met."""
    token = _ignored.set({})
    try:
        yield _ignored.get()
    finally:
        _ignored.reset(token)


def ignored(options: Mapping[str, str]) -> None:
    """Tell whoever answers the request that these options did not count."""
    if (told := _ignored.get(None)) is not None:
        told.update(options)
