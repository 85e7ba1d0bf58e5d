"""How models are loaded where there are cards: whole, in part, not at all, and what is said of it."""

import math
from typing import Any

import msgspec
import pytest

from a3s_power.core.errors import LoadFailed, OutOfMemory
from a3s_power.core.names import ModelName
from a3s_power.engines import llamacpp_layers, llamacpp_params
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.hardware.gpus import Gpu
from a3s_power.hardware.machine import Machine
from a3s_power.scheduler import graphics, placement
from a3s_power.scheduler.devices import NOWHERE, Gpus, Lay, Wishes
from a3s_power.scheduler.graphics import Fitted
from a3s_power.scheduler.need import Claim, Need
from a3s_power.scheduler.settings import Settings
from tests.scheduling import FACTS, GIB, MACHINE, a_need

LAYERS = FACTS.block_count + 1
CUDA = {"llamacpp": frozenset({"cuda"})}


def a_card(index: int = 0, gib: float = 24, *, free: float | None = None) -> Gpu:
    total = int(gib * GIB)
    left = total if free is None else int(free * GIB)
    return Gpu(kind="cuda", index=index, uuid=f"GPU-{index}", name="Card", total_bytes=total, free_bytes=left)


def with_cards(*cards: Gpu, machine: Machine = MACHINE) -> Machine:
    return msgspec.structs.replace(machine, gpus=cards)


def settings(wishes: Wishes | None = None, *, kinds: dict[str, frozenset[str]] = CUDA, **said: Any) -> Settings:
    return Settings(gpus=Gpus(wishes=wishes or Wishes(), kinds=kinds), **said)


def unseen(_options: LoadOptions, _chosen: llamacpp_params.Settings) -> int:
    return 0


def claimed(need: Need, machine: Machine, told: Settings | None = None) -> Claim:
    return graphics.claim(need, told or settings(), machine, None, unseen)


def fitted(need: Need, machine: Machine, told: Settings | None = None, *, now: Machine | None = None) -> Fitted:
    """As it fits at the load, when the machine looks as `now`."""
    told = told or settings()
    return graphics.fitted(need, claimed(need, machine, told), now or machine, told, unseen)


def loaded(need: Need, fit: Fitted, told: Settings | None = None) -> LoadOptions:
    return graphics.loadable(fit.claim.options, fit, told or settings())


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        pytest.param(MACHINE, settings(), id="no card"),
        pytest.param(with_cards(a_card()), settings(kinds={}), id="an engine for processors"),
        pytest.param(with_cards(a_card()), settings(kinds={"other": frozenset({"cuda"})}), id="another engine"),
        pytest.param(with_cards(a_card()), settings(kinds={"llamacpp": frozenset({"rocm"})}), id="of another maker"),
        pytest.param(with_cards(a_card()), settings(gpu_layers=0), id="no layers"),
    ],
)
def test_without_a_card_to_use_all_is_as_if_there_were_none(machine: Machine, told: Settings) -> None:
    need = a_need()
    plain = placement.claim(need, told, MACHINE)
    fit = fitted(need, machine, told)
    assert claimed(need, machine, told) == plain
    assert fit == Fitted(placement.fitted(need, plain, machine))
    assert loaded(need, fit, told) == plain.options


def test_a_model_goes_whole_to_a_card_and_leaves_main_memory() -> None:
    need, machine = a_need(num_ctx=8192), with_cards(a_card())
    claim, fit = claimed(need, machine), fitted(need, machine)
    whole = placement.claim(need, settings(), MACHINE).memory_bytes
    assert claim.wish.layers == fit.lay.layers == LAYERS
    assert claim.memory_bytes < whole - FACTS.weights_bytes * 3 // 4
    assert FACTS.weights_bytes < fit.lay.bytes["GPU-0"] < 3 * GIB
    options = loaded(need, fit)
    assert (options.gpu_layers, options.main_gpu, options.tensor_split) == (-1, None, ())
    assert options.gpu_reserve == 256 * 1024**2
    assert fit.reasons == {}


def test_the_automatic_context_is_a_share_of_the_cards_memory() -> None:
    small, large = (claimed(a_need(), with_cards(a_card(gib=gib))).options for gib in (2.5, 24))
    assert 4096 <= small.context_length < large.context_length == FACTS.context_length


def test_prompts_go_to_cards_in_large_batches() -> None:
    assert claimed(a_need(), with_cards(a_card())).options.batch == 512
    assert claimed(a_need(num_batch=64), with_cards(a_card())).options.batch == 64


def test_the_card_with_the_most_room_takes_it_or_all_share_it() -> None:
    cards = with_cards(a_card(0, 8), a_card(1, 24), a_card(2, 8))
    assert fitted(a_need(num_ctx=4096), cards).lay.cards == ("GPU-1",)
    spread = fitted(a_need(num_ctx=4096), cards, settings(Wishes(spread=True)))
    assert spread.lay.cards == ("GPU-0", "GPU-1", "GPU-2")
    assert loaded(a_need(), spread).tensor_split == ()


def test_one_that_a_card_cannot_hold_goes_over_several() -> None:
    large = msgspec.structs.replace(FACTS, weights_bytes=30 * GIB, parameters=60_000_000_000)
    need = a_need(facts=large, num_ctx=4096)
    fit = fitted(need, with_cards(a_card(0), a_card(1)))
    assert (fit.lay.cards, fit.lay.layers) == (("GPU-0", "GPU-1"), LAYERS)
    assert fit.claim.memory_bytes < 2 * GIB


def test_one_that_no_card_holds_lies_in_part_on_it_and_says_so() -> None:
    large = msgspec.structs.replace(FACTS, weights_bytes=12 * GIB, parameters=24_000_000_000)
    need, machine = a_need(facts=large, num_ctx=4096), with_cards(a_card(gib=8))
    fit = fitted(need, machine)
    assert 0 < fit.lay.layers < LAYERS
    assert fit.reasons == {"num_gpu": f"{LAYERS} -> {fit.lay.layers}"}
    assert fit.claim.memory_bytes + fit.lay.bytes["GPU-0"] >= large.weights_bytes
    assert loaded(need, fit).gpu_layers == fit.lay.layers
    assert fit.claim.options.context_length == 4096


def test_parts_on_several_cards_are_split_by_their_room() -> None:
    large = msgspec.structs.replace(FACTS, weights_bytes=20 * GIB, parameters=40_000_000_000)
    fit = fitted(a_need(facts=large, num_ctx=4096), with_cards(a_card(0, 8), a_card(1, 4)))
    first, second = loaded(a_need(), fit).tensor_split
    assert 1.5 < first / second < 3
    own = settings(tensor_split=(1.0, 5.0))
    assert loaded(a_need(), fit, own).tensor_split == (1.0, 5.0)


def test_what_fits_neither_cards_nor_memory_is_refused() -> None:
    large = msgspec.structs.replace(FACTS, weights_bytes=60 * GIB, parameters=60_000_000_000)
    with pytest.raises(OutOfMemory):
        claimed(a_need(facts=large), with_cards(a_card()))


@pytest.mark.parametrize(("said", "layers"), [(5, 5), (99, LAYERS), (-1, LAYERS)])
def test_the_layers_that_were_asked_for_are_the_most(said: int, layers: int) -> None:
    need = a_need(num_gpu=said, num_ctx=4096)
    fit = fitted(need, with_cards(a_card()))
    assert fit.lay.layers == layers
    assert loaded(need, fit).gpu_layers == (5 if said == 5 else -1)
    assert fit.reasons == {}


def test_free_memory_is_looked_at_again_at_the_load() -> None:
    need = a_need(num_ctx=4096)
    fit = fitted(need, with_cards(a_card()), now=with_cards(a_card(free=1)))
    assert 0 < fit.lay.layers < LAYERS
    assert fit.reasons == {"num_gpu": f"{LAYERS} -> {fit.lay.layers}"}
    none = fitted(need, with_cards(a_card()), now=with_cards(a_card(free=0.1)))
    assert (none.lay, loaded(need, none).gpu_layers) == (Lay(), 0)
    assert none.claim.memory_bytes > FACTS.weights_bytes


@pytest.mark.parametrize(
    ("said", "given"),
    [
        pytest.param(32_768, (4, "f16", 32_768), id="it fits"),
        pytest.param(32_768, (2, "f16", 32_768), id="fewer slots"),
        pytest.param(32_768, (1, "f16", 32_768), id="one slot"),
        pytest.param(32_768, (1, "q8_0", 32_768), id="a smaller cache"),
        pytest.param(None, (1, "q8_0", 6144), id="less of an automatic context"),
    ],
)
def test_to_stay_whole_a_model_is_loaded_with_no_less_than_is_needed(
    said: int | None, given: tuple[int, str, int]
) -> None:
    need, told = a_need(num_ctx=said), settings(num_parallel=4)
    planned = claimed(need, with_cards(a_card()), told).options
    parallel, cache, context = given
    wanted = msgspec.structs.replace(planned, parallel=parallel, kv_cache_type=cache, context_length=context)
    fit = fitted(need, with_cards(a_card()), told, now=with_cards(a_card(free=on_card(wanted) / GIB)))
    options = fit.claim.options
    assert fit.lay.layers == LAYERS
    assert (options.parallel, options.kv_cache_type) == (parallel, cache)
    assert context * 7 / 8 <= options.context_length <= context


def on_card(options: LoadOptions) -> int:
    """The bytes that the model takes of one card, loaded so."""
    chosen = llamacpp_params.settings(options, FACTS, llamacpp_params.Machine(x86=True, gpu_free_bytes=1))
    shape = llamacpp_layers.shape(FACTS, chosen)
    return shape.each_bytes + shape.bytes_of(LAYERS)


def test_a_context_that_was_said_is_not_cut_to_stay_on_a_card() -> None:
    fit = fitted(a_need(num_ctx=65_536), with_cards(a_card()), now=with_cards(a_card(free=1.4)))
    assert (fit.claim.options.context_length, fit.claim.options.kv_cache_type) == (65_536, "f16")
    assert 0 < fit.lay.layers < LAYERS


def test_what_does_not_stay_on_the_card_has_to_fit_main_memory() -> None:
    little = msgspec.structs.replace(MACHINE, free_bytes=GIB // 4)
    with pytest.raises(OutOfMemory, match="requires more system memory"):
        fitted(a_need(), with_cards(a_card()), now=with_cards(a_card(free=0.1), machine=little))


def test_a_card_of_unknown_size_is_left_to_the_engine() -> None:
    asleep = Gpu(kind="cuda", index=0, uuid="GPU-0", asleep=True)
    need = a_need()
    fit = fitted(need, with_cards(asleep))
    assert (fit.lay, loaded(need, fit).gpu_layers) == (Lay(layers=LAYERS, cards=("GPU-0",)), -1)
    assert fit.claim.options.context_length == 4096


def test_the_main_card_is_the_only_one() -> None:
    cards = with_cards(a_card(0), a_card(1, 8))
    assert fitted(a_need(main_gpu=1), cards).lay.cards == ("GPU-1",)
    assert fitted(a_need(), cards, settings(main_gpu=1)).lay.cards == ("GPU-1",)
    with pytest.raises(LoadFailed, match="main_gpu is 2, and of graphics processors to use there are 2"):
        claimed(a_need(main_gpu=2), cards)


def test_the_reserve_is_left_free() -> None:
    machine, told = with_cards(a_card(gib=4)), settings(Wishes(reserve=3 * GIB))
    fit = fitted(a_need(num_ctx=4096), machine, told)
    assert 0 < fit.lay.layers < LAYERS
    assert fit.lay.bytes["GPU-0"] <= GIB
    assert loaded(a_need(), fit, told).gpu_reserve == 3 * GIB


REQUIRED = Wishes(require=True)


@pytest.mark.parametrize(
    ("machine", "told", "why"),
    [
        (MACHINE, settings(REQUIRED, kinds={}), "the engine here is built for none; docs/engines.md says which"),
        (MACHINE, settings(REQUIRED), "none that it may use is there$"),
        (
            msgspec.structs.replace(MACHINE, gpu_troubles=("NVML cannot be used: no driver",), gpus_blind=True),
            settings(REQUIRED),
            "none that it may use is there: NVML cannot be used: no driver",
        ),
        (with_cards(a_card()), settings(Wishes(require=True, devices=("7",))), "none that it may use is there$"),
        (with_cards(a_card()), settings(REQUIRED, gpu_layers=0), "num_gpu is 0"),
    ],
)
def test_what_must_be_on_a_card_is_refused_before_a_load(machine: Machine, told: Settings, why: str) -> None:
    with pytest.raises(
        LoadFailed, match=rf"model 'a:latest' requires a graphics processor \(gpu\.require\), and {why}"
    ):
        claimed(a_need(), machine, told)


def test_what_must_be_on_a_card_is_refused_where_none_has_room() -> None:
    with pytest.raises(LoadFailed, match="none that it may use has room for any of it"):
        fitted(a_need(), with_cards(a_card()), settings(REQUIRED), now=with_cards(a_card(free=0.1)))


def test_where_only_the_engine_knows_the_cards_it_is_seen_after_the_load() -> None:
    told = settings(REQUIRED, kinds={"llamacpp": frozenset({"vulkan"})})
    assert claimed(a_need(), MACHINE, told).wish == NOWHERE
    on_none = Loaded(context_length=1, parallel=1, memory_bytes=5)
    with pytest.raises(LoadFailed, match="and the engine has found none"):
        graphics.check(a_need(), told, on_none)
    graphics.check(a_need(), told, msgspec.structs.replace(on_none, gpu_bytes=1))
    graphics.check(a_need(), settings(), on_none)


def test_wishes_for_one_model_are_not_for_another() -> None:
    gpus = Gpus(models={ModelName.parse("a"): ("require",)})
    with pytest.raises(LoadFailed):
        claimed(a_need("a"), MACHINE, Settings(gpus=gpus))
    assert claimed(a_need("b"), MACHINE, Settings(gpus=gpus)).memory_bytes


@pytest.mark.parametrize(
    ("need", "machine", "told", "sees"),
    [
        pytest.param(a_need(), with_cards(a_card(0, 8), a_card(1)), settings(), "GPU-1", id="its card"),
        pytest.param(a_need(num_gpu=0), with_cards(a_card()), settings(), "-1", id="none that it does not use"),
        pytest.param(a_need(), with_cards(a_card()), settings(Wishes(devices=("9",))), "-1", id="none not meant"),
        pytest.param(a_need(), MACHINE, settings(), None, id="what the engine finds"),
        pytest.param(a_need(), with_cards(a_card()), settings(kinds={}), None, id="as ever on a processor"),
    ],
)
def test_a_child_sees_what_it_is_to_use(need: Need, machine: Machine, told: Settings, sees: str | None) -> None:
    fit = fitted(need, machine, told)
    assert graphics.environment(need, fit, machine, told).get("CUDA_VISIBLE_DEVICES") == sees


def test_what_is_wrong_with_cards_is_the_reason_for_none() -> None:
    blind = msgspec.structs.replace(MACHINE, gpu_troubles=("NVML cannot be used",), gpus_blind=True)
    assert fitted(a_need(), blind).reasons == {"gpu": "NVML cannot be used"}
    assert fitted(a_need(num_gpu=0), blind).reasons == {}
    other = settings(Wishes(devices=("7", "8")))
    assert fitted(a_need(), with_cards(a_card()), other).reasons == {"devices": "7+8 -> none"}


def test_the_room_of_a_card_is_what_is_free_and_what_our_own_would_give_back() -> None:
    machine = with_cards(a_card(0, 24, free=4), a_card(1, 8), Gpu(kind="cuda", index=2))
    assert graphics.rooms(machine, [{"GPU-0": 5 * GIB}, {"GPU-0": GIB, "GPU-1": GIB}]) == {
        "GPU-0": 10 * GIB,
        "GPU-1": 8 * GIB,
    }


def test_a_card_has_its_memory_back_when_most_of_it_is_free_again() -> None:
    lay = Lay(layers=1, cards=("GPU-0",), bytes={"GPU-0": 8 * GIB})
    before = with_cards(a_card(free=10))
    assert not graphics.freed(before, with_cards(a_card(free=13)), lay)
    assert graphics.freed(before, with_cards(a_card(free=14)), lay)
    assert graphics.freed(before, MACHINE, lay)
    assert graphics.freed(before, before, Lay())


def test_a_draft_model_lies_on_the_card_too() -> None:
    machine = with_cards(a_card())
    needs = a_need(num_ctx=4096), a_need(num_ctx=4096, draft="/draft")
    plain, drafted = (fitted(need, machine) for need in needs)
    assert drafted.lay.bytes["GPU-0"] - plain.lay.bytes["GPU-0"] > 64 * 1024**2


def test_a_card_that_is_gone_is_told_by_its_name() -> None:
    known = {"GPU-0": a_card(0), "GPU-1": a_card(1)}
    assert graphics.lost(known, with_cards(a_card(1))) == ["graphics processor Card (GPU-0) is gone"]
    blind = msgspec.structs.replace(MACHINE, gpus_blind=True)
    assert graphics.lost(known, blind) == []


def test_embeddings_lie_on_cards_too() -> None:
    claim = claimed(a_need(embedding=True), with_cards(a_card()))
    assert (claim.wish.layers, claim.options.batch) == (LAYERS, claim.options.context_length)
    assert math.isfinite(claim.memory_bytes)
