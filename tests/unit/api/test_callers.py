"""Whose request it is, as the handlers are told."""

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from a3s_power.api.callers import Callers
from a3s_power.core.caller import Caller, caller
from a3s_power.core.weights import Weights

Headers = list[tuple[bytes, bytes]]


async def _seen(headers: Headers, address: tuple[str, int] | None = ("10.0.0.1", 5)) -> Caller:
    seen = list[Caller]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(caller.get())

    nothing: Any = None
    await Callers(app, Weights(), fixed=False)(
        {"type": "http", "client": address, "headers": headers}, nothing, nothing
    )
    assert caller.get() == Caller(), "and afterwards it is nobody"
    return seen[0]


async def test_clients_are_told_apart_by_address_and_key() -> None:
    keys: list[Headers] = [[], [(b"authorization", b"Bearer a")], [(b"x-api-key", b"b")]]
    clients = [
        (await _seen(headers, address)).client
        for headers in keys
        for address in (None, ("10.0.0.1", 5), ("10.0.0.2", 5))
    ]
    assert len(set(clients)) == len(clients)
    assert (await _seen(keys[1], ("10.0.0.1", 7))).client == clients[4], "whatever its port"
    assert "Bearer" not in "".join(clients)


@pytest.mark.parametrize(
    ("headers", "priority", "deadline"),
    [
        ([], "", ""),
        ([(b"x-power-priority", b" batch "), (b"x-power-deadline", b"5s")], "batch", "5s"),
        ([(b"x-power-priority", b"\xff")], "\xff", ""),
    ],
)
async def test_urgency_is_what_the_headers_say(headers: Headers, priority: str, deadline: str) -> None:
    seen = await _seen(headers)
    assert (seen.priority, seen.deadline) == (priority, deadline)
