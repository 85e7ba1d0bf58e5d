"""Heads: the head of an answer waits for its first words, and for nothing else. `test_streams` has real packets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from a3s_power.api.heads import Heads


class Written(asyncio.Transport):
    """A transport that notes what is sent."""

    def __init__(self) -> None:
        super().__init__(extra={"peername": "somebody"})
        self.sent: list[bytes] = []

    def write(self, data: Any) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.sent.append(b"<closed>")


def written(*steps: Callable[[Heads], None], turn: bool = True) -> list[bytes]:
    """What is sent after these steps, and a turn of the loop."""

    async def main() -> list[bytes]:
        transport = Written()
        heads = Heads(transport, asyncio.get_running_loop())
        for step in steps:
            step(heads)
        if turn:
            await asyncio.sleep(0)
        return [*transport.sent]

    return asyncio.run(main())


def write(data: bytes) -> Callable[[Heads], None]:
    return lambda heads: heads.write(data)


def test_a_head_goes_with_the_first_words_and_the_rest_goes_at_once() -> None:
    steps = (Heads.expect, write(b"head"), write(b"one"), write(b"two"))
    assert written(*steps, turn=False) == [b"headone", b"two"]
    assert written(*steps, *steps) == [b"headone", b"two", b"headone", b"two"]


def test_a_head_without_words_goes_in_the_same_turn_of_the_loop() -> None:
    assert written(Heads.expect, write(b"head"), turn=False) == []
    assert written(Heads.expect, write(b"head")) == [b"head"]


@pytest.mark.parametrize("then", [Heads.close, Heads.expect])
def test_a_head_is_not_lost(then: Callable[[Heads], None]) -> None:
    assert written(Heads.expect, write(b"head"), then, turn=False)[0] == b"head"


def test_what_nobody_expects_goes_at_once_and_the_rest_is_the_transports() -> None:
    assert written(write(b"431"), Heads.close, turn=False) == [b"431", b"<closed>"]
    asked: list[object] = []
    written(lambda heads: asked.append(heads.get_extra_info("peername")))
    assert asked == ["somebody"]
