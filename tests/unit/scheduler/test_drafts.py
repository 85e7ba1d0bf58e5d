"""Who guesses ahead, and whether that pays."""

import msgspec
import pytest

from a3s_power.core.model import Facts
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.scheduler import drafts, placement
from a3s_power.scheduler.drafts import CHEAPER, Drafting
from a3s_power.scheduler.footprints import Footprints
from a3s_power.scheduler.settings import Settings
from tests.scheduling import DRAFT, FACTS, MACHINE, a_need


@pytest.mark.parametrize(
    ("output", "drafted", "accepted", "cost", "speed"),
    [
        pytest.param(100, 0, 0, 0.3, 1.0, id="without guesses there is nothing to gain"),
        pytest.param(100, 80, 80, 0.25, 2.5, id="all right: 20 steps, and 80 quarters of one"),
        pytest.param(100, 100, 0, 0.5, 2 / 3, id="all wrong"),
        pytest.param(100, 100, 50, 0.5, 1.0, id="as many right as a guess costs"),
        pytest.param(0, 0, 0, 0.5, 1.0, id="nothing said"),
    ],
)
def test_the_speed_with_guesses(output: int, drafted: int, accepted: int, cost: float, speed: float) -> None:
    assert drafts.speed(output, drafted, accepted, cost=cost, size=0.0) == pytest.approx(speed)


def test_a_draft_model_that_is_never_sure_costs_what_it_takes() -> None:
    assert drafts.speed(100, 0, 0, cost=0.3, size=0.25) == pytest.approx(0.8)
    assert drafts.is_known(drafts.TRIAL_OUTPUT, 0)
    assert not drafts.is_known(drafts.TRIAL_OUTPUT - 1, drafts.TRIAL_TOKENS - 1)


def test_a_cost_that_nobody_measured_is_taken_for_that_of_a_cpu() -> None:
    speeds = [drafts.speed(100, 100, right, cost=0.0, size=0.0) for right in (30, 60)]
    assert speeds[0] < 1 < speeds[1]


def _sized(share: float) -> Facts:
    return msgspec.structs.replace(DRAFT, weights_bytes=int(FACTS.weights_bytes / share))


@pytest.mark.parametrize(
    ("draft", "seen", "note"),
    [
        pytest.param(_sized(CHEAPER), None, "", id="just small enough"),
        pytest.param(_sized(CHEAPER), 1.4, "", id="seen to be faster"),
        pytest.param(_sized(CHEAPER - 0.01), None, "it is not 5 times smaller than the model", id="too large"),
        pytest.param(_sized(100), 0.71, "at 0.71 of its speed", id="seen to be slower"),
        pytest.param(_sized(100), 1.0, "", id="seen to lose nothing"),
    ],
)
def test_a_draft_model_that_cannot_pay_is_not_loaded(draft: Facts, seen: float | None, note: str) -> None:
    found = drafts.by_model(FACTS, draft, key="k", tokens=4, seen=seen)
    assert (found.kind, note in found.note) == ("" if note else "model", True)
    assert bool(found.note) is bool(note)


def test_guesses_from_earlier_text_end_where_they_were_slower() -> None:
    assert drafts.by_ngram(key="k", tokens=6, seen=None) == Drafting(kind="ngram", tokens=6, key="k")
    assert "0.90" in drafts.by_ngram(key="k", tokens=6, seen=0.9).note


@pytest.mark.parametrize(
    ("drafting", "options", "loaded", "told"),
    [
        (Drafting(), {}, {}, ""),
        (Drafting(note="too large"), {}, {}, "too large"),
        (Drafting(kind="model", tokens=4), {"draft": "model"}, {"draft": "model"}, ""),
        (Drafting(kind="model", tokens=4), {"draft": "model"}, {"note": "another vocabulary"}, "another vocabulary"),
        (Drafting(kind="model", tokens=4), {}, {}, "no memory to guess ahead"),
    ],
)
def test_why_nobody_guesses_is_said(
    drafting: Drafting, options: dict[str, str], loaded: dict[str, str], told: str
) -> None:
    given = LoadOptions(context_length=512, **options)  # type: ignore[arg-type]  # the words are those of Draft
    became = Loaded(context_length=512, parallel=1, memory_bytes=0, **loaded)  # type: ignore[arg-type]  # as above
    assert drafts.reasons(drafting, given, became) == told


def test_the_memory_of_a_draft_counts_and_is_the_first_to_be_saved() -> None:
    plain, drafted = a_need(num_ctx=4096), a_need(num_ctx=4096, draft="/d")
    without, claim = (placement.claim(need, Settings(), MACHINE) for need in (plain, drafted))
    cache = 4096 * sum(DRAFT.kv_heads) * (DRAFT.head_k + DRAFT.head_v) * 2
    assert claim.memory_bytes - without.memory_bytes > DRAFT.weights_bytes + cache
    tight = msgspec.structs.replace(MACHINE, free_bytes=claim.memory_bytes - 1)
    fitted = placement.fitted(drafted, claim, tight)
    assert (fitted.options.draft, fitted.options.context_length) == ("", 4096)
    assert fitted.memory_bytes == without.memory_bytes


def test_what_is_seen_with_a_draft_is_not_what_is_seen_without() -> None:
    need, footprints = a_need(drafting=drafts.by_ngram(key="k", tokens=6, seen=None)), Footprints()
    guessed = LoadOptions(context_length=512, draft="ngram", draft_tokens=6)
    plain = LoadOptions(context_length=512)
    guessing, without = (placement.chosen_settings(need, options, MACHINE) for options in (guessed, plain))
    footprints.measured(need, guessed, guessing, 5, 2)
    assert footprints.seen(need, plain, without) == 0
    assert footprints.seen(need, guessed, guessing) == 7
