"""Which cards a model goes to, who fits beside whom, and what a child sees: tables."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.core.errors import BadConfig
from a3s_power.core.names import ModelName
from a3s_power.engines.llamacpp_layers import Shape
from a3s_power.hardware.gpus import Gpu
from a3s_power.scheduler import devices
from a3s_power.scheduler.devices import Gpus, Lay, Wish, Wishes

SHAPE = Shape(layers=11, layer_bytes=10, output_bytes=50, each_bytes=5)
"""Whole, 150 bytes; 5 more on each card."""

CARDS = tuple(
    Gpu(kind="cuda", index=index, uuid=f"GPU-{letter}", name=name, total_bytes=100, free_bytes=free)
    for index, (letter, name, free) in enumerate((("aa", "Small", 60), ("bb", "Large", 90), ("ab", "Small", 30)))
)


@pytest.mark.parametrize(
    ("rooms", "spread", "cards", "layers"),
    [
        pytest.param({"a": 155, "b": 200}, False, "b", 11, id="whole on the roomiest"),
        pytest.param({"a": 155, "b": 155}, False, "a", 11, id="of equal ones the first"),
        pytest.param({"a": 154}, False, "a", 10, id="one layer too many"),
        pytest.param({"a": 100, "b": 80, "c": 20}, False, "ab", 11, id="on as few as hold it"),
        pytest.param({"a": 100, "b": 80, "c": 20}, True, "abc", 11, id="or over all"),
        pytest.param({"a": 60, "b": 40}, False, "ab", 4, id="in part on all"),
        pytest.param({"a": 60, "b": 5}, False, "a", 1, id="none where only the library would fit"),
        pytest.param({"a": 54}, False, "", 0, id="not even the output"),
        pytest.param({"a": 10, "b": None}, False, "ab", 11, id="of unknown size"),
        pytest.param({}, False, "", 0, id="no card"),
    ],
)
def test_layers_go_to_as_few_cards_as_hold_them(
    rooms: dict[str, int | None], spread: bool, cards: str, layers: int
) -> None:
    lay = devices.lay(SHAPE, rooms, spread=spread)
    assert (lay.cards, lay.layers) == (tuple(cards), layers)


def test_no_more_layers_are_put_than_are_asked_for() -> None:
    assert devices.lay(SHAPE, {"a": 500}, spread=False, most=3) == Lay(layers=3, cards=("a",), bytes={"a": 75})
    assert devices.lay(SHAPE, {"a": 500}, spread=False, most=99).layers == 11
    assert devices.lay(SHAPE, {"a": 500}, spread=False, most=0) == Lay()


@given(
    rooms=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 300), min_size=1),
    spread=st.booleans(),
    most=st.integers(0, 12),
)
def test_no_card_takes_more_than_it_has(rooms: dict[str, int], spread: bool, most: int) -> None:
    lay = devices.lay(SHAPE, dict(rooms), spread=spread, most=most)
    assert lay.layers <= min(most, SHAPE.layers)
    assert set(lay.bytes) == set(lay.cards)
    assert all(lay.bytes[card] <= rooms[card] for card in lay.cards)
    on_cards = sum(lay.bytes.values()) - SHAPE.each_bytes * len(lay.cards)
    assert SHAPE.bytes_of(lay.layers) - len(rooms) <= on_cards <= SHAPE.bytes_of(lay.layers)


def a_wish(cards: str, *, reserve: int = 0, layers: int = 11) -> Wish:
    return Wish(shape=SHAPE, layers=layers, cards=tuple(cards), reserve=reserve)


@pytest.mark.parametrize(
    ("rooms", "lying", "wish", "fits"),
    [
        pytest.param({"a": 160}, [], a_wish("a"), True, id="alone"),
        pytest.param({"a": 160}, [{"a": 10}], a_wish("a"), False, id="too little left"),
        pytest.param({"a": 160}, [{"a": 5}], a_wish("a"), True, id="just enough left"),
        pytest.param({"a": 160}, [{"a": 5}], a_wish("a", reserve=1), False, id="but for the reserve"),
        pytest.param({"a": 160, "b": 160}, [{"a": 100}], a_wish("ab"), True, id="another card is free"),
        pytest.param({"a": 160, "b": 160}, [{"a": 100}], a_wish("a"), False, id="that it may not use"),
        pytest.param({"a": 160, "b": 160}, [{"a": 100}, {"b": 100}], a_wish("ab"), False, id="both are taken"),
        pytest.param({"a": 90}, [{"a": 1}], a_wish("a"), True, id="in part, and as much as it would get alone"),
        pytest.param({"a": 90}, [{"a": 20}], a_wish("a"), False, id="in part, and less than alone"),
        pytest.param({"a": 400}, [{"a": 240}], a_wish("a", layers=3), True, id="a few layers"),
        pytest.param({"a": 10}, [{"a": 10}], Wish(), True, id="who wants no card"),
        pytest.param({}, [{"a": 10}], a_wish("a"), True, id="nothing known of the card"),
    ],
)
def test_a_model_fits_beside_others_when_it_gets_what_it_would_get_alone(
    rooms: dict[str, int], lying: list[dict[str, int]], wish: Wish, fits: bool
) -> None:
    assert devices.fits(rooms, lying, wish) is fits


@given(
    rooms=st.dictionaries(st.sampled_from("abc"), st.integers(0, 400), min_size=1),
    cards=st.lists(st.text("abc", min_size=1, max_size=3), max_size=6),
)
def test_whoever_is_let_in_finds_as_much_as_alone_and_no_card_is_overfull(
    rooms: dict[str, int], cards: list[str]
) -> None:
    lying: list[Mapping[str, int]] = []
    for wish in map(a_wish, cards):
        if devices.fits(rooms, lying, wish):
            mine = [card for card in wish.cards if card in rooms]
            left: dict[str, int | None] = {card: rooms[card] - sum(one.get(card, 0) for one in lying) for card in mine}
            whole: dict[str, int | None] = {card: rooms[card] for card in mine}
            lay = devices.lay(SHAPE, left, spread=False)
            assert lay.layers >= devices.lay(SHAPE, whole, spread=False).layers
            lying.append(lay.bytes)
    assert all(sum(one.get(card, 0) for one in lying) <= room for card, room in rooms.items())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), "aa bb ab"),
        (("1",), "bb"),
        (("cuda:2", "0"), "ab aa"),
        (("GPU-a",), "aa"),
        (("gpu-AB",), "ab"),
        (("large",), "bb"),
        (("7", "rocm:0", ""), ""),
        (("0", "cuda:0"), "aa"),
    ],
)
def test_cards_are_named_by_number_uuid_or_name(words: tuple[str, ...], found: str) -> None:
    assert [gpu.uuid.removeprefix("GPU-") for gpu in devices.named(CARDS, words)] == found.split()


def test_what_is_free_counts_without_the_reserve() -> None:
    unknown = Gpu(kind="cuda", index=3)
    assert devices.rooms((*CARDS, unknown), 40) == {"GPU-aa": 20, "GPU-bb": 50, "GPU-ab": 0, "cuda:3": None}
    assert devices.rooms(CARDS, 40, empty=True) == {"GPU-aa": 60, "GPU-bb": 60, "GPU-ab": 60}


def test_a_models_own_words_go_before_those_for_all() -> None:
    wishes = Wishes(devices=("0",), reserve=5)
    gpus = Gpus(wishes=wishes, models=devices.models(["m=1+GPU-a+require+spread+reserve:7", "n=pack"]))
    own = Wishes(devices=("1", "GPU-a"), require=True, reserve=7, spread=True)
    assert gpus.of(ModelName.parse("m")) == own
    assert gpus.of(ModelName.parse("n")) == gpus.of(ModelName.parse("other")) == wishes


@pytest.mark.parametrize("text", ["m", "=1", "m=", "m=1+", "m=reserve:x", "m=reserve:-1"])
def test_words_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadConfig, match=r"gpu\.models"):
        devices.models([text])


AMD = (
    Gpu(kind="rocm", index=0, uuid="GPU-11"),
    Gpu(kind="rocm", index=1),
)


@pytest.mark.parametrize(
    ("kinds", "cards", "said", "variables"),
    [
        ("", CARDS, {}, {}),
        ("cuda", (), {}, {}),
        ("cuda", CARDS[:2], {}, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-aa,GPU-bb"}),
        ("cuda", CARDS, {"hidden": True}, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "-1"}),
        ("rocm", AMD, {}, {"ROCR_VISIBLE_DEVICES": "GPU-11,1", "HIP_VISIBLE_DEVICES": "0,1"}),
        ("rocm", (), {"hidden": True}, {"HIP_VISIBLE_DEVICES": "-1"}),
        ("vulkan", (), {"numbers": ("0", "2")}, {"GGML_VK_VISIBLE_DEVICES": "0,2"}),
        ("vulkan", (), {"hidden": True}, {"GGML_VK_VISIBLE_DEVICES": ""}),
        ("vulkan", (), {}, {}),
    ],
)
def test_a_child_sees_its_cards_and_no_others(
    kinds: str, cards: tuple[Gpu, ...], said: dict[str, bool], variables: dict[str, str]
) -> None:
    assert devices.visibility(kinds.split(), cards, **({"hidden": False} | said)) == variables  # type: ignore[arg-type]  # a table


def test_several_cards_share_by_their_room() -> None:
    assert devices.shares(devices.lay(SHAPE, {"a": 105, "b": 55}, spread=True)) == (98.0, 51.0)
    assert devices.shares(devices.lay(SHAPE, {"a": 500}, spread=False)) == ()


def test_a_card_is_gone_when_neither_its_uuid_nor_its_place_is_there() -> None:
    assert devices.gone(["GPU-aa", "GPU-bb", "cuda:2", "cuda:3"], CARDS[1:]) == ("GPU-aa", "cuda:3")
