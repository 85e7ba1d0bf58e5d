"""Pulls from a registry that drops, stalls, refuses and lies: each ends in verified blobs or a clear error."""

import hashlib
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import pytest

from a3s_power.core.errors import PowerError
from a3s_power.core.manifest import LICENSE
from a3s_power.registry.supply import Supply
from tests.internet import Authority, Internet
from tests.pulling import HURRY, pull, states, supply
from tests.registries import Asked, Registry, Reply
from tests.stores import named

RUNS: Final = 520
_AT_ONCE: Final = 12
_PULLS: Final = 4
"""How often a run is tried again by its user; half as often where what is wrong stays wrong."""

_STREAMS: Final = 3
FRANTIC: Final = msgspec.structs.replace(HURRY, answer=0.5, tries=3)

Fault = Callable[[random.Random, Asked, Reply], Reply]


def drop(chance: random.Random, _: Asked, reply: Reply) -> Reply:
    return reply._replace(cut=chance.randrange(len(reply.body) + 1))


def stall(chance: random.Random, _: Asked, reply: Reply) -> Reply:
    return reply._replace(cut=chance.randrange(len(reply.body) + 1), hang=0.15)


def broken(chance: random.Random, _: Asked, __: Reply) -> Reply:
    return Reply(chance.choice([500, 502, 503]), {}, b"try again")


def busy(chance: random.Random, _: Asked, __: Reply) -> Reply:
    return Reply(429, {"Retry-After": chance.choice(["0", "1", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"])})


def forbidden(_: random.Random, __: Asked, ___: Reply) -> Reply:
    return Reply(403, {}, b"expired")


def other_range(chance: random.Random, asked: Asked, reply: Reply) -> Reply:
    if asked.range is None:
        return reply
    first, last = asked.range
    moved = chance.choice([f"bytes {first + 1}-{last}/*", f"bytes 0-{last - first}/{last + 1}", "bytes */5", "x", ""])
    return reply._replace(headers={"Content-Range": moved})


def no_ranges(_: random.Random, __: Asked, reply: Reply) -> Reply:
    return reply._replace(status=200, headers={"X-Whole": "1"})


def cut_short(chance: random.Random, _: Asked, reply: Reply) -> Reply:
    """A last part that is told to be shorter than it is, or longer."""
    length = len(reply.body) + chance.choice([-1, 1, 100, -len(reply.body)])
    return reply._replace(headers={**reply.headers, "Content-Length": str(max(0, length))}, cut=len(reply.body))


def squeezed(_: random.Random, __: Asked, reply: Reply) -> Reply:
    return reply._replace(headers={**reply.headers, "Content-Encoding": "gzip"})


def longer(_: random.Random, __: Asked, reply: Reply) -> Reply:
    """More bytes than were asked for."""
    return reply._replace(body=reply.body + b"x" * 4096)


def noise(_: random.Random, __: Asked, reply: Reply) -> Reply:
    return reply._replace(headers={**reply.headers, "Content-Length": "-5"})


def flipped(chance: random.Random, _: Asked, reply: Reply) -> Reply:
    if not reply.body:
        return reply
    at = chance.randrange(len(reply.body))
    return reply._replace(body=reply.body[:at] + bytes([reply.body[at] ^ 1]) + reply.body[at + 1 :])


_PASSING: Final[tuple[Fault, ...]] = (
    drop,
    drop,
    drop,
    stall,
    broken,
    busy,
    forbidden,
    other_range,
    cut_short,
    squeezed,
    longer,
    noise,
)
_LASTING: Final[tuple[Fault | None, ...]] = (None, None, None, None, flipped, no_ranges, other_range, broken)


class Faults:
    """What goes wrong in one run: some faults now and then, and perhaps one always. Watches what is fetched twice."""

    def __init__(self, seed: int, world: Supply) -> None:
        self.chance = random.Random(seed)
        self.often = self.chance.choice([0.0, 0.1, 0.3, 0.6])
        self.always = self.chance.choice(_LASTING)
        self.again: list[str] = []
        self._world = world

    @property
    def keeps_parts(self) -> bool:
        """Whether a part that arrived stays: not where only the whole is given, and what is wrong goes."""
        return self.always is None or self.always is broken

    def twist(self, asked: Asked, reply: Reply) -> Reply:
        if "/blobs/" not in asked.path or reply.status >= 300:
            return reply
        self._watch(asked)
        if self.always is not None:
            reply = self.always(self.chance, asked, reply)
        if self.chance.random() < self.often:
            reply = self.chance.choice(_PASSING)(self.chance, asked, reply)
        return reply

    def _watch(self, asked: Asked) -> None:
        """Note when bytes are asked for that are written down as there."""
        first, last = asked.range or (0, 2**62)
        for state in states(self._world.store, asked.path.rpartition("/")[2]):
            if first < state.offset + state.completed and last >= state.offset and self.keeps_parts:
                self.again.append(f"{asked.range} although {state}")


def check_store(world: Supply) -> None:
    """No blob lies, and no model is there in part."""
    root = world.store.root
    for path in (root / "blobs").glob(f"sha256-{'?' * 64}"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name.removeprefix("sha256-")
    scan = world.store.manifests.scan()
    assert scan.corrupt == []
    for stored in scan.stored:
        assert all(world.store.blobs.has(digest) for digest in stored.manifest.blobs)


def one_run(seed: int, folder: Path, registry: Registry, blobs: list[bytes]) -> str:
    """Pull until it works or a user would give up; what came of it."""
    world = supply(folder, patience=FRANTIC, streams=_STREAMS)
    faults = Faults(seed, world)
    size = faults.chance.choice([0, 1, 5000, 30_000, 120_000, 300_000])
    registry.add(f"ns/m{seed}", (LICENSE, blobs[1]), weights=blobs[0][:size])
    registry.twist = faults.twist
    outcome = "never"
    for _ in range(_PULLS if faults.always is None else _PULLS // 2):
        try:
            outcome = pull(world, f"{registry.host}/ns/m{seed}").lines[-1]
        except PowerError as error:
            outcome = type(error).__name__ if str(error).strip() else "says nothing"
        check_store(world)
        assert (outcome == "success") is (world.store.manifests.find(named(f"{registry.host}/ns/m{seed}")) is not None)
        if outcome == "success":
            break
    assert faults.again == []
    return outcome


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry().running() as running:
        yield running


@pytest.mark.slow
def test_every_run_ends_in_verified_blobs_or_a_clear_error(tmp_path: Path) -> None:
    chance = random.Random(1)
    blobs = [chance.randbytes(300_000), chance.randbytes(3000)]
    seeds = iter(range(RUNS))

    def some() -> list[str]:
        with Registry().running() as registry:
            return [one_run(seed, tmp_path / str(seed), registry, blobs) for seed in seeds]

    # Most of a run is waiting for what does not come.
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        outcomes = [outcome for done in [pool.submit(some) for _ in range(_AT_ONCE)] for outcome in done.result()]
    assert len(outcomes) == RUNS
    assert outcomes.count("success") > RUNS // 2
    assert set(outcomes) <= {"success", "Unreachable", "BadAnswer", "Refused", "NotThere"}


@pytest.mark.parametrize(
    "fault", [drop, stall, broken, busy, forbidden, other_range, cut_short, squeezed, longer, noise]
)
def test_a_fault_that_passes_is_got_over(registry: Registry, tmp_path: Path, fault: Fault) -> None:
    chance, content = random.Random(1), random.Random(2).randbytes(40_000)
    registry.add("ns/m", weights=content)
    once = iter([True, False, True])

    def twist(asked: Asked, reply: Reply) -> Reply:
        return fault(chance, asked, reply) if asked.range and next(once, False) else reply

    registry.twist = twist
    world = supply(tmp_path)
    assert pull(world, f"{registry.host}/ns/m").lines[-1] == "success"
    check_store(world)


@pytest.mark.parametrize("fault", [drop, stall, broken, busy, forbidden, other_range, squeezed, noise])
def test_a_fault_that_stays_is_told(registry: Registry, tmp_path: Path, fault: Fault) -> None:
    chance = random.Random(1)
    registry.add("ns/m", weights=random.Random(2).randbytes(40_000))

    def twist(asked: Asked, reply: Reply) -> Reply:
        twisted = fault(chance, asked, reply) if asked.range else reply
        return twisted if twisted.cut is None else twisted._replace(cut=0)

    registry.twist = twist
    with pytest.raises(PowerError, match=r"max retries exceeded: ."):
        pull(supply(tmp_path), f"{registry.host}/ns/m")


def test_a_source_without_ranges_gives_the_whole(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=random.Random(2).randbytes(60_000))
    registry.twist = lambda asked, reply: (
        Reply(200, {}, registry.blobs[asked.path.rpartition("/")[2]]) if "/blobs/" in asked.path else reply
    )
    world = supply(tmp_path)
    pull(world, f"{registry.host}/ns/m")
    check_store(world)
    assert len(world.store.models.list()) == 1


@pytest.mark.slow
def test_runs_through_another_host_end_alike(tmp_path: Path) -> None:
    authority, chance = Authority(tmp_path), random.Random(3)
    blobs = [chance.randbytes(300_000), chance.randbytes(3000)]
    with (
        Registry().running(authority.context("registry.test")) as front,
        Registry().running(authority.context("store.test")) as back,
    ):
        front.add("ns/m", (LICENSE, blobs[1]), weights=blobs[0])
        front.twist, back.blobs = _elsewhere, front.blobs
        internet = Internet(registry=front.port, store=back.port)
        outcomes: list[str] = []
        for seed in range(16):
            world = supply(tmp_path / str(seed), internet, environ={"SSL_CERT_FILE": str(authority.path)})
            faults = Faults(seed, world)
            back.twist = faults.twist
            try:
                outcomes.append(pull(world, "https://registry.test:4443/ns/m").lines[-1])
            except PowerError as error:
                outcomes.append(str(error))
            check_store(world)
            assert faults.again == []
        assert outcomes.count("success") > len(outcomes) // 3
        assert all(outcomes)


def _elsewhere(asked: Asked, reply: Reply) -> Reply:
    """The registry says where its blobs are, as those do that keep them in an object store."""
    if "/blobs/" not in asked.path:
        return reply
    return Reply(307, {"Location": f"https://store.test:4443{asked.path}"})
