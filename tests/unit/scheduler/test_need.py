"""What reloads a loaded model, and what does not."""

from typing import Any

import pytest

from a3s_power.core.options import LOAD
from a3s_power.hardware.machine import Machine
from a3s_power.scheduler import placement
from a3s_power.scheduler.drafts import Drafting
from a3s_power.scheduler.need import Ask, RunnerKey, difference
from a3s_power.scheduler.settings import Settings
from tests.scheduling import GIB, MACHINE, a_model, a_need

TRAINED = 131_072


def an_ask(said: dict[str, Any], *, machine: Machine = MACHINE, rate: float | None = None) -> Ask:
    need = a_need(**said)
    return Ask(ticket=0, need=need, claim=placement.claim(need, Settings(), machine, rate))


@pytest.mark.parametrize(
    ("loaded", "asked"),
    [
        pytest.param({}, {}, id="nothing said twice"),
        pytest.param({}, {"num_ctx": TRAINED}, id="the context that automatic came to"),
        pytest.param({"num_ctx": TRAINED}, {}, id="and the other way round"),
        pytest.param({"num_ctx": TRAINED}, {"num_ctx": 10**9}, id="contexts above what the model was trained on"),
        pytest.param({"num_ctx": 1}, {"num_ctx": 4}, id="contexts below the least"),
        pytest.param({"num_ctx": 8192}, {"num_ctx": 2048}, id="a shorter context"),
        pytest.param({}, {"shift": False}, id="a context that could be shifted and must not"),
        pytest.param({"num_ctx": TRAINED}, {}, id="an automatic context that is not longer"),
        pytest.param({}, {"num_batch": 128}, id="the batch that automatic came to"),
        pytest.param({}, {"num_gpu": -1}, id="all layers, said or not"),
        pytest.param({"num_gpu": 7}, {}, id="layers left out"),
        pytest.param({"num_gpu": 7}, {"num_gpu": -1}, id="layers left to the engine"),
        pytest.param({}, {"num_thread": 0}, id="automatic threads, said or not"),
        pytest.param({}, {"num_thread_batch": 0}, id="automatic threads for prompts, said or not"),
        pytest.param({"draft": "/d"}, {"draft": "/d", "draft_num_predict": 4}, id="the draft's own number"),
        pytest.param({}, {"draft_num_predict": 0}, id="no draft, said or not"),
        pytest.param({}, {"keep_alive": 0.0}, id="keep-alive"),
        pytest.param({}, {"temperature": 2.0, "seed": 1, "num_predict": 5, "stop": ("x",)}, id="request options"),
        pytest.param({"name": "a"}, {"name": "b", "weights": "a"}, id="another name for the same weights"),
        pytest.param({"embedding": True}, {"embedding": True, "shift": False}, id="shift where nothing is generated"),
        pytest.param({"embedding": True}, {"embedding": True, "num_batch": 64}, id="a batch no embedding goes by"),
    ],
)
def test_a_loaded_model_serves(loaded: dict[str, Any], asked: dict[str, Any]) -> None:
    assert difference(an_ask(loaded), an_ask(asked)) is None


@pytest.mark.parametrize(
    ("loaded", "asked", "reason"),
    [
        ({"num_ctx": 4096}, {"num_ctx": 8192}, "num_ctx"),
        ({"num_ctx": 8192}, {}, "num_ctx"),
        ({"num_ctx": 8192, "embedding": True}, {"num_ctx": 2048, "embedding": True}, "num_ctx"),
        ({}, {"num_batch": 64}, "num_batch"),
        ({"num_batch": 64}, {}, "num_batch"),
        ({}, {"num_gpu": 0}, "num_gpu"),
        ({"num_gpu": 3}, {"num_gpu": 4}, "num_gpu"),
        ({}, {"main_gpu": 0}, "main_gpu"),
        ({}, {"use_mmap": True}, "use_mmap"),
        ({"use_mmap": False}, {}, "use_mmap"),
        ({"use_mmap": False}, {"use_mmap": True}, "use_mmap"),
        ({}, {"num_thread": 2}, "num_thread"),
        ({"num_thread": 2}, {}, "num_thread"),
        ({}, {"num_thread_batch": 2}, "num_thread_batch"),
        ({}, {"use_mlock": True}, "use_mlock"),
        ({}, {"flash_attention": True}, "flash_attention"),
        ({"draft": "/d"}, {"draft": "/d", "draft_num_predict": 5}, "draft_num_predict"),
        ({"drafting": Drafting(kind="ngram", tokens=6)}, {}, "draft_num_predict"),
        ({}, {"drafting": Drafting(kind="ngram", tokens=6)}, "draft_num_predict"),
        ({"shift": False}, {}, "shift"),
        ({}, {"engine": "echo"}, "engine"),
        ({}, {"adapters": (("/lora", 1.0),)}, "files"),
        ({"adapters": (("/lora", 1.0),)}, {"adapters": (("/lora", 0.5),)}, "files"),
        ({"projectors": ("/mmproj",)}, {}, "files"),
        ({"draft": "/d"}, {"draft": "/e"}, "files"),
    ],
)
def test_a_reload_has_its_reason(loaded: dict[str, Any], asked: dict[str, Any], reason: str) -> None:
    assert difference(an_ask(loaded), an_ask(asked)) == reason


def test_what_was_measured_meanwhile_reloads_nothing() -> None:
    assert difference(an_ask({}), an_ask({}, rate=1000.0)) is None


def test_a_context_that_memory_lowered_is_the_same_when_asked_for_again() -> None:
    small = Machine(x86=True, cores=2, memory_bytes=2 * GIB, free_bytes=GIB)
    loaded, again = an_ask({"num_ctx": TRAINED}, machine=small), an_ask({"num_ctx": 100_000}, machine=small)
    assert loaded.claim.options.context_length < 100_000
    assert difference(loaded, again) is None


def test_every_load_option_has_a_case_above() -> None:
    [table] = [mark.args[1] for mark in getattr(test_a_reload_has_its_reason, "pytestmark", [])]
    assert set(LOAD) <= {reason for _, _, reason in table}


def test_runners_are_found_by_weights_and_not_by_name() -> None:
    assert a_need("a").key == a_need("b", weights="a").key == RunnerKey(a_model("a").weights)
    assert a_need("a").key != a_need("a", embedding=True).key
    assert a_need("a").key != a_need("b").key
