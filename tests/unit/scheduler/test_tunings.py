"""What was measured of settings is known again, for models of the same kind and after a restart."""

from pathlib import Path

import msgspec
import pytest

from a3s_power.engines.tuning import Rates
from a3s_power.hardware.machine import Machine
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.settings import Settings
from a3s_power.scheduler.tunings import Tunings
from tests.scheduling import FACTS, GIB, FakeChildren, a_need

MEASURED = (
    Rates(repack=False, flash_attention=False, prompt=120.0, first=40.0, behind=37.0),
    Rates(repack=True, flash_attention=False, prompt=98.0, first=50.0, behind=44.0),
)


def test_what_was_measured_is_there_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "tunings.json"
    tunings = Tunings(file)
    assert tunings.of(FACTS, "llamacpp") == ()
    tunings.learn(FACTS, "llamacpp", "", MEASURED)
    tunings.save()
    assert tunings.of(FACTS, "llamacpp") == Tunings(file).of(FACTS, "llamacpp") == MEASURED


@pytest.mark.parametrize(
    ("change", "known"),
    [({"parameters": 1_300_000_000}, True), ({"parameters": 7_000_000_000}, False), ({"file_type": "Q8_0"}, False)],
)
def test_models_of_the_same_type_and_about_the_same_size_share_it(change: dict[str, object], known: bool) -> None:
    tunings = Tunings()
    facts = msgspec.structs.replace(FACTS, parameters=1_200_000_000)
    tunings.learn(facts, "llamacpp", "", MEASURED)
    assert bool(tunings.of(msgspec.structs.replace(facts, **change), "llamacpp")) == known


def test_another_engine_or_another_build_of_it_is_measured_anew(tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_bytes(b"one")
    tunings = Tunings()
    tunings.learn(FACTS, "llamaserver", str(program), MEASURED)
    assert tunings.of(FACTS, "llamaserver", str(program)) == MEASURED
    assert tunings.of(FACTS, "llamacpp") == ()
    program.write_bytes(b"another")
    assert tunings.of(FACTS, "llamaserver", str(program)) == ()


async def test_a_load_takes_what_was_measured_along(tmp_path: Path) -> None:
    tunings, children = Tunings(), FakeChildren()
    tunings.learn(FACTS, "llamacpp", "", MEASURED)
    look = lambda: Machine(x86=True, cores=2, memory_bytes=16 * GIB, free_bytes=12 * GIB)  # noqa: E731 -- a machine
    settings = Settings(prefer="memory")
    async with (
        Scheduler(settings, children.spawn, look=look, weigh=lambda _pid: 0, tunings=tunings, scratch=tmp_path) as one,
        one.acquire(a_need("a")) as lease,
    ):
        assert lease.options.tuning == MEASURED
        assert lease.options.prefer == "memory"
