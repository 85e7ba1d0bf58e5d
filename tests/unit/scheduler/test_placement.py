"""How models are loaded: the numbers, and where they come from."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.core.errors import BadConfig, LoadFailed, OutOfMemory
from a3s_power.core.limits import MIB
from a3s_power.core.manifest import PROJECTOR, Layer
from a3s_power.core.model import Facts
from a3s_power.core.names import ModelName
from a3s_power.engines.engine import LoadOptions
from a3s_power.hardware.machine import Machine
from a3s_power.scheduler import placement
from a3s_power.scheduler.need import Need
from a3s_power.scheduler.settings import Settings, contexts
from tests.scheduling import FACTS, GIB, MACHINE, a_need


def facts(**changed: Any) -> Facts:
    return msgspec.structs.replace(FACTS, **changed)


def a_machine(**changed: Any) -> Machine:
    return msgspec.structs.replace(MACHINE, **changed)


def planned(
    need: Need, settings: Settings | None = None, machine: Machine = MACHINE, *, children: int = 1, rate: float = 0
) -> LoadOptions:
    settings = settings or Settings()
    return placement.plan(
        need, placement.claim(need, settings, machine, rate or None), machine, settings, children=children
    )


@pytest.mark.parametrize(
    ("said", "setting", "context"),
    [
        ({}, 0, 131_072),
        ({"embedding": True}, 0, 4096),
        ({}, 16_384, 16_384),
        ({"num_ctx": 2048}, 16_384, 2048),
        ({"num_ctx": 1}, 0, 4),
        ({"num_ctx": -5}, 0, 4),
        ({"num_ctx": 10**9}, 0, 131_072),
        ({"num_ctx": 16, "projectors": ("/mmproj",)}, 0, 2048),
        ({"facts": facts(context_length=512)}, 0, 512),
        ({"facts": facts(context_length=512), "projectors": ("/mmproj",)}, 0, 512),
        ({"facts": facts(context_length=0)}, 0, 4096),
    ],
)
def test_the_context_is_what_was_asked_within_what_the_model_can(
    said: dict[str, Any], setting: int, context: int
) -> None:
    assert planned(a_need(**said), Settings(context_length=setting)).context_length == context


@pytest.mark.parametrize(
    ("changed", "free", "context"),
    [
        pytest.param({}, 1 * GIB, 11_776, id="a quarter of what is free"),
        pytest.param({"context_share": 0.5}, 1 * GIB, 23_808, id="a half"),
        pytest.param({"num_parallel": 2}, 1 * GIB, 5888, id="for all slots together"),
        pytest.param({"kv_cache_type": "q8_0"}, 1 * GIB, 22_272, id="of a smaller type"),
        pytest.param({}, 100 * MIB, 4096, id="never less than the original's"),
        pytest.param({"context_share": 0.0}, 12 * GIB, 4096, id="nor of no share"),
        pytest.param({}, 12 * GIB, 131_072, id="nor more than the model can"),
        pytest.param({"context_length": 2048}, 12 * GIB, 2048, id="the setting for all"),
        pytest.param({"context_length": 2048, "contexts": {ModelName.parse("a"): 1024}}, 12 * GIB, 1024, id="for one"),
        pytest.param({"context_length": 2048, "contexts": {ModelName.parse("b"): 1024}}, 12 * GIB, 2048, id="another"),
    ],
)
def test_an_automatic_context_takes_its_share_of_the_free_memory(
    changed: dict[str, Any], free: int, context: int
) -> None:
    options = planned(a_need(), Settings(**changed), a_machine(free_bytes=free))
    assert options.context_length == context


def test_what_the_request_says_goes_before_the_operators_word_on_its_model() -> None:
    said = Settings(contexts={ModelName.parse("a"): 1024})
    assert planned(a_need(num_ctx=512), said).context_length == 512


def test_an_automatic_context_is_lowered_without_a_word_down_to_the_originals() -> None:
    machine = a_machine(memory_bytes=1200 * MIB, free_bytes=1200 * MIB)
    claim = placement.claim(a_need(), Settings(context_share=1.0), machine)
    assert 4096 < claim.options.context_length < 20_000
    assert placement.overruled(a_need(), claim, claim.options) == {}
    less = a_machine(memory_bytes=1060 * MIB, free_bytes=1060 * MIB)
    claim = placement.claim(a_need(), Settings(), less)
    assert claim.options.context_length < 4096
    assert placement.overruled(a_need(), claim, claim.options) == {"num_ctx": f"4096 -> {claim.options.context_length}"}


@pytest.mark.parametrize("word", ["a", "a=", "=5", "a=-1", "a=0", "a=x"])
def test_a_context_of_a_model_that_cannot_be_read_is_refused(word: str) -> None:
    with pytest.raises(BadConfig, match="MODEL=TOKENS"):
        contexts([word])


def test_contexts_of_models_are_read_by_their_names() -> None:
    assert contexts(["a=5", "u/b:x=7"]) == {ModelName.parse("a"): 5, ModelName.parse("u/b:x"): 7}


@pytest.mark.parametrize(
    ("said", "setting", "slots"),
    [
        ({}, 0, 1),
        ({}, 8, 8),
        ({"embedding": True}, 8, 1),
        ({"facts": facts(architecture="mllama")}, 8, 1),
        ({"facts": facts(architecture="qwen35moe")}, 8, 1),
        ({"facts": facts(architecture="qwen3")}, 8, 8),
        ({"facts": facts(architecture="nemotron_h_moe")}, 8, 1),
    ],
)
def test_slots_are_the_setting_but_for_what_can_have_only_one(said: dict[str, Any], setting: int, slots: int) -> None:
    assert planned(a_need(**said), Settings(num_parallel=setting)).parallel == slots


@pytest.mark.parametrize(
    ("said", "rate", "batch"),
    [
        pytest.param({}, 0, 128, id="unknown"),
        pytest.param({}, 50, 32, id="slow"),
        pytest.param({}, 100, 64, id="in a fair time"),
        pytest.param({}, 200, 128, id="more in a fair time"),
        pytest.param({}, 500, 256, id="the most in a fair time"),
        pytest.param({}, 1500, 384, id="a quarter of a second, to the nearest 32"),
        pytest.param({}, 1e6, 2048, id="fast"),
        pytest.param({"num_batch": 7}, 500, 7, id="said"),
        pytest.param({"num_batch": 1}, 500, 2, id="never one, which the engine dies of"),
        pytest.param({"num_batch": 0}, 500, 256, id="automatic by Ollama's word for it"),
        pytest.param({"num_batch": -1}, 500, 256, id="automatic, too"),
        pytest.param({"embedding": True, "num_ctx": 512}, 500, 512, id="a whole text"),
        pytest.param({"embedding": True, "num_ctx": 512, "num_batch": 64}, 500, 512, id="a whole text, whatever said"),
    ],
)
def test_a_batch_takes_a_quarter_of_a_second(said: dict[str, Any], rate: float, batch: int) -> None:
    assert planned(a_need(**said), rate=rate).batch == batch


@pytest.mark.parametrize(
    ("said", "setting", "cores", "children", "threads", "threads_batch"),
    [
        pytest.param({}, 0, 1, 1, 1, 1, id="one core"),
        pytest.param({}, 0, 2, 1, 2, 2, id="two cores"),
        pytest.param({}, 0, 3, 2, 3, 3, id="two children may both use all"),
        pytest.param({}, 0, 8, 1, 7, 8, id="one core is left to the server"),
        pytest.param({}, 0, 8, 3, 2, 8, id="three children share"),
        pytest.param({}, 0, 2, 3, 1, 2, id="never less than one"),
        pytest.param({"facts": facts(parameters=15_000_000)}, 0, 8, 1, 1, 8, id="a small model"),
        pytest.param({"facts": facts(parameters=2_750_000)}, 0, 8, 1, 1, 1, id="a tiny model"),
        pytest.param({"facts": facts(parameters=0)}, 0, 8, 1, 7, 8, id="a model of unknown size"),
        pytest.param({"num_thread": 5}, 3, 8, 1, 5, 5, id="said"),
        pytest.param({"num_thread": 0}, 0, 8, 1, 7, 8, id="said to be automatic"),
        pytest.param({"num_thread": -3}, 0, 8, 1, 1, 1, id="said wrongly"),
        pytest.param({"num_thread": 5, "num_thread_batch": 6}, 0, 8, 1, 5, 6, id="both said"),
        pytest.param({}, 3, 8, 1, 3, 3, id="the setting"),
        pytest.param({"num_thread": 10**6}, 0, 8, 1, 16, 16, id="said too much"),
        pytest.param({"num_thread_batch": 10**6}, 0, 8, 1, 7, 16, id="said too much for prompts"),
    ],
)
def test_threads_are_the_cores_but_for_good_reasons(
    said: dict[str, Any], setting: int, cores: int, children: int, threads: int, threads_batch: int
) -> None:
    options = planned(a_need(**said), Settings(num_thread=setting), a_machine(cores=cores), children=children)
    assert (options.threads, options.threads_batch) == (threads, threads_batch)


@pytest.mark.parametrize(
    ("said", "free", "mib"),
    [({}, 4 * GIB, 234), ({}, 100 * GIB, 1024), ({}, 0, 0), ({"embedding": True}, 4 * GIB, 0)],
)
def test_the_prompt_cache_is_a_tenth_of_what_the_load_leaves(said: dict[str, Any], free: int, mib: int) -> None:
    assert planned(a_need(**said), machine=a_machine(free_bytes=free)).prompt_cache_mib == mib


def test_the_operators_word_on_the_prompt_cache_holds() -> None:
    assert planned(a_need(), Settings(prompt_cache=7)).prompt_cache_mib == 7


def test_what_a_request_says_goes_before_the_settings() -> None:
    settings = Settings(use_mlock=True, flash_attention=True, gpu_layers=9, main_gpu=1, tensor_split=(1.0, 2.0))
    silent = planned(a_need(), settings)
    assert (silent.use_mlock, silent.flash_attention, silent.gpu_layers, silent.main_gpu) == (True, True, 9, 1)
    assert silent.tensor_split == (1.0, 2.0)
    said = planned(a_need(use_mlock=False, flash_attention=False, num_gpu=0, main_gpu=0, use_mmap=False), settings)
    assert (said.use_mlock, said.flash_attention, said.gpu_layers, said.main_gpu) == (False, False, 0, 0)
    assert said.use_mmap is False


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, {}),
        ({"num_ctx": 10**9, "num_batch": 64, "num_thread": 2, "num_thread_batch": 3}, {}),
        ({"num_thread": 0, "num_thread_batch": 0}, {}),
        ({"num_thread": 99, "num_thread_batch": -1}, {"num_thread": "99 -> 16", "num_thread_batch": "-1 -> 1"}),
        ({"num_batch": 64, "num_ctx": 512, "embedding": True}, {"num_batch": "64 -> 512"}),
    ],
)
def test_what_is_not_given_as_asked_is_told(said: dict[str, Any], told: dict[str, str]) -> None:
    need = a_need(**said)
    claim = placement.claim(need, Settings(), MACHINE)
    assert placement.overruled(need, claim, planned(need)) == told


def test_an_option_that_the_engine_dies_of_is_refused_before_a_child_is_started() -> None:
    with pytest.raises(LoadFailed, match="main GPU"):
        placement.claim(a_need(main_gpu=-1), Settings(), MACHINE)


@pytest.mark.parametrize(
    ("said", "setting", "mib"),
    [
        pytest.param({"num_ctx": 8192}, Settings(flash_attention=True), 636 + 176 + 15.25 + 55, id="f16 cache"),
        pytest.param(
            {"num_ctx": 8192}, Settings(flash_attention=True, kv_cache_type="q8_0"), 636 + 93.5 + 15.25 + 55, id="q8_0"
        ),
        pytest.param(
            {"num_ctx": 8192}, Settings(flash_attention=True, num_parallel=4), 636 + 704 + 15.25 + 65, id="four slots"
        ),
    ],
)
def test_memory_is_what_the_engine_was_seen_to_take(said: dict[str, Any], setting: Settings, mib: float) -> None:
    claim = placement.claim(a_need(**said), setting, MACHINE)
    assert claim.memory_bytes / MIB == pytest.approx(mib, rel=0.01)


def test_a_context_that_memory_cannot_hold_is_lowered_and_said_so() -> None:
    machine = a_machine(memory_bytes=2 * GIB)
    claim = placement.claim(a_need(num_ctx=100_000), Settings(), machine)
    assert claim.asked_context == 100_000
    assert 40_000 < claim.options.context_length < 60_000
    assert claim.memory_bytes <= placement.usable_bytes(machine)


def test_a_model_that_does_not_fit_at_all_is_refused_with_both_numbers() -> None:
    with pytest.raises(OutOfMemory) as refusal:
        placement.claim(a_need(), Settings(), a_machine(memory_bytes=900 * MIB))
    assert str(refusal.value) == "model requires more system memory (825 MB) than is available (675 MB)"


def test_where_nobody_knows_the_memory_nothing_is_refused() -> None:
    claim = placement.claim(a_need(num_ctx=131_072), Settings(num_parallel=64), a_machine(memory_bytes=0))
    assert claim.options.context_length == 131_072


@given(
    asked=st.integers(1, 200_000),
    memory_bytes=st.integers(1, 8 * GIB),
    parallel=st.integers(0, 4),
    embedding=st.booleans(),
    flash=st.sampled_from([None, True, False]),
)
def test_a_claim_fits_or_is_refused(
    asked: int, memory_bytes: int, parallel: int, embedding: bool, flash: bool | None
) -> None:
    machine = a_machine(memory_bytes=memory_bytes)
    settings = Settings(num_parallel=parallel, flash_attention=flash)
    try:
        claim = placement.claim(a_need(num_ctx=asked, embedding=embedding), settings, machine)
    except OutOfMemory:
        return
    assert claim.memory_bytes <= placement.usable_bytes(machine)
    assert claim.options.context_length <= claim.asked_context
    assert claim.options.context_length >= min(claim.asked_context, 2048)


@pytest.mark.parametrize(("said", "rate", "batch"), [({}, 0, 512), ({"num_batch": 8}, 0, 512), ({}, 4000, 992)])
def test_a_whole_image_fits_into_a_batch(said: dict[str, Any], rate: float, batch: int) -> None:
    assert planned(a_need(projectors=("/mmproj",), **said), rate=rate).batch == batch


@pytest.mark.parametrize(("embedding", "more"), [(False, 2005 * MIB), (True, 0)])
def test_an_image_encoder_counts_where_it_is_loaded(embedding: bool, more: int) -> None:
    need = a_need(embedding=embedding)
    layer = Layer(media_type=PROJECTOR, digest=str(need.model.digest), size=1000 * MIB)
    manifest = msgspec.structs.replace(need.model.manifest, layers=(layer,))
    seeing = msgspec.structs.replace(need, model=msgspec.structs.replace(need.model, manifest=manifest))
    claims = [placement.claim(one, Settings(), MACHINE) for one in (need, seeing)]
    assert claims[1].memory_bytes - claims[0].memory_bytes == more


@pytest.mark.parametrize(
    ("free", "given"),
    [
        pytest.param(4 * GIB, (4, "f16", 8192), id="all there"),
        pytest.param(1400 * MIB, (2, "f16", 8192), id="fewer slots first"),
        pytest.param(1100 * MIB, (1, "f16", 8192), id="as few as are needed"),
        pytest.param(810 * MIB, (1, "q8_0", 8192), id="then a smaller cache"),
        pytest.param(750 * MIB, (1, "q8_0", 3840), id="then less context"),
        pytest.param(0, (4, "f16", 8192), id="nobody knows"),
    ],
)
def test_what_is_short_of_memory_is_shrunk_in_a_fixed_order(free: int, given: tuple[int, str, int]) -> None:
    need = a_need(num_ctx=8192)
    claim = placement.claim(need, Settings(num_parallel=4), MACHINE)
    options = placement.fitted(need, claim, a_machine(free_bytes=free)).options
    assert (options.parallel, options.kv_cache_type, options.context_length) == given


def test_a_cache_that_may_not_be_quantised_stays_as_it_is() -> None:
    need = a_need(num_ctx=8192, flash_attention=False)
    claim = placement.claim(need, Settings(), MACHINE)
    options = placement.fitted(need, claim, a_machine(free_bytes=850 * MIB)).options
    assert options.kv_cache_type == "f16"
    assert options.context_length < 8192


def test_what_ran_before_is_not_refused_for_what_it_was_seen_to_take() -> None:
    machine = a_machine(memory_bytes=2 * GIB, free_bytes=0)
    claim = placement.claim(a_need(), Settings(), machine, seen=lambda _options, _chosen: 3 * GIB)
    assert claim.memory_bytes == placement.usable_bytes(machine)


def test_weights_are_shared_where_they_are_mapped() -> None:
    for use_mmap, shared in ((None, FACTS.weights_bytes), (False, 0)):
        claim = placement.claim(a_need(use_mmap=use_mmap), Settings(), MACHINE)
        assert claim.shared_bytes == shared


def test_room_is_what_is_free_and_what_models_would_give_back() -> None:
    assert placement.room(a_machine(free_bytes=GIB), GIB) == 2 * GIB - placement.SPARE_BYTES
    assert placement.room(a_machine(free_bytes=16 * GIB), GIB) == placement.usable_bytes(MACHINE)
    assert placement.room(a_machine(free_bytes=0), GIB) == placement.usable_bytes(MACHINE)


@pytest.mark.parametrize(
    ("said", "free", "slots", "context"),
    [
        pytest.param({}, 12 * GIB, 8, 17_664, id="many, and what is left for the context"),
        pytest.param({}, 2 * GIB, 5, 4608, id="as many as there is room for"),
        pytest.param({}, 100 * MIB, 1, 4096, id="one at least"),
        pytest.param({"num_ctx": 32_768}, 12 * GIB, 4, 32_768, id="of the context that was said"),
        pytest.param({"embedding": True}, 12 * GIB, 1, 4096, id="one for vectors"),
        pytest.param({"facts": facts(kv_heads=())}, 12 * GIB, 8, 4096, id="a model of unknown shape"),
    ],
)
def test_automatic_slots_take_the_share_of_the_free_memory(
    said: dict[str, Any], free: int, slots: int, context: int
) -> None:
    options = planned(a_need(**said), Settings(num_parallel=-1), a_machine(free_bytes=free))
    assert (options.parallel, options.context_length) == (slots, context)


@pytest.mark.parametrize(
    ("processors", "threads", "threads_batch", "bound"),
    [
        pytest.param(2, 2, 2, True, id="all of them"),
        pytest.param(2, 1, 2, False, id="all of them for prompts only"),
        pytest.param(4, 3, 4, False, id="one is left to others"),
        pytest.param(4, 2, 2, False, id="halves of cores are left"),
        pytest.param(1, 1, 1, False, id="there is one"),
        pytest.param(0, 2, 2, False, id="nothing can be bound"),
    ],
)
def test_threads_keep_to_a_processor_each_where_they_take_all(
    processors: int, threads: int, threads_batch: int, bound: bool
) -> None:
    options = msgspec.structs.replace(planned(a_need()), threads=threads, threads_batch=threads_batch)
    machine = a_machine(processors=processors)
    assert placement.binding("llamaserver", options.least_threads, machine) == {}
    variables = {"OMP_PROC_BIND": "true", "GOMP_SPINCOUNT": "10000"} if bound else {}
    assert placement.binding("llamacpp", options.least_threads, machine) == variables
