"""Devices: which graphics processors a model goes to, how many of its layers, and who fits beside whom; pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Self

import msgspec

from a3s_power.core.errors import BadConfig
from a3s_power.core.names import ModelName
from a3s_power.engines.llamacpp_layers import Shape
from a3s_power.hardware.gpus import Gpu

_TOLD: Final = frozenset({"cuda", "rocm"})
"""The kinds of which the system tells what cards there are; of all others only the engine knows."""
_FLAGS: Final[Mapping[str, tuple[str, bool]]] = {
    "require": ("require", True),
    "spread": ("spread", True),
    "pack": ("spread", False),
}


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator wants of graphics processors, for all models or for one.

    `devices` are numbers, `cuda:1`, names or beginnings of UUIDs, none for all; `reserve` are bytes left free on each.
    A model goes to the card with the most room, or over all with `spread`. With `require` it runs on one or not at all.
    """

    devices: tuple[str, ...] = ()
    require: bool = False
    reserve: int = 0
    spread: bool = False

    def with_words(self, words: Iterable[str]) -> Self:
        """These, changed by a model's own words: cards, `require`, `spread`, `pack`, `reserve:BYTES`."""
        changed: dict[str, object] = {}
        devices: list[str] = []
        for word in words:
            if word in _FLAGS:
                name, value = _FLAGS[word]
                changed[name] = value
            elif word.startswith("reserve:"):
                changed["reserve"] = int(word.removeprefix("reserve:"))
            else:
                devices.append(word)
        return msgspec.structs.replace(self, **changed, **({"devices": tuple(devices)} if devices else {}))


def models(words: Iterable[str]) -> dict[ModelName, tuple[str, ...]]:
    """What single models want, from texts as `MODEL=WORD+WORD`. Raises BadConfig."""
    found = {}
    for text in words:
        name, _, wants = text.rpartition("=")
        each = tuple(word.strip() for word in wants.split("+"))
        reserves = [word.removeprefix("reserve:") for word in each if word.startswith("reserve:")]
        if not name or not all(each) or not all(reserve.isdecimal() for reserve in reserves):
            raise BadConfig(f"gpu.models: {text!r} is not of the form MODEL=WORD+WORD")
        found[ModelName.parse(name)] = each
    return found


class Gpus(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's wishes, for all and for single models, and what kinds of cards each engine here is built for.

    While a model lies on a card, it is seen every `watch_seconds` whether the card is still there; after it has left,
    the card has up to `settle_seconds` to give its memory back (Ollama's five).
    """

    wishes: Wishes = Wishes()
    models: Mapping[ModelName, tuple[str, ...]] = {}
    kinds: Mapping[str, frozenset[str]] = {}
    watch_seconds: float = 15.0
    settle_seconds: float = 5.0

    def of(self, name: ModelName) -> Wishes:
        """What holds for this model."""
        words = self.models.get(name)
        return self.wishes.with_words(words) if words else self.wishes


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim wants of cards: so many layers of this shape, on these cards, by their ids, leaving so much free.

    Without a shape it wants nothing.
    """

    shape: Shape | None = None
    layers: int = 0
    cards: tuple[str, ...] = ()
    reserve: int = 0
    spread: bool = False
    required: bool = False


class Lay(msgspec.Struct, frozen=True, kw_only=True):
    """How layers lie: on which cards, how many, and the bytes of each card; none of that where sizes are unknown."""

    layers: int = 0
    cards: tuple[str, ...] = ()
    bytes: Mapping[str, int] = {}


NOWHERE: Final = Wish()

HIDDEN: Final[Mapping[str, str]] = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "HIP_VISIBLE_DEVICES": "-1",
    "GGML_VK_VISIBLE_DEVICES": "",
}
"""What a child sees that is to use processors only, whatever its engine is built for."""


def named(gpus: Sequence[Gpu], words: Sequence[str]) -> tuple[Gpu, ...]:
    """The cards that words mean, in the order of the words; what means none is passed over. All, for no words."""
    if not words:
        return tuple(gpus)
    meant = (next((gpu for gpu in gpus if _means(word, gpu, gpus)), None) for word in words)
    return tuple(dict.fromkeys(gpu for gpu in meant if gpu is not None))


def _means(word: str, gpu: Gpu, gpus: Sequence[Gpu]) -> bool:
    if word.isdecimal():
        return int(word) < len(gpus) and gpus[int(word)] == gpu
    low = word.lower()
    return bool(low) and (low in (f"{gpu.kind}:{gpu.index}", gpu.name.lower()) or gpu.uuid.lower().startswith(low))


def told(kinds: Iterable[str]) -> bool:
    """Whether the system tells of all cards of these kinds, so that none seen means none there."""
    return _TOLD.issuperset(kinds)


def rooms(gpus: Sequence[Gpu], reserve: int, *, empty: bool = False) -> dict[str, int | None]:
    """The bytes for models on each card, as it is now or when it is empty; `None` for one of unknown size."""
    return {
        gpu.id: max(0, (gpu.total_bytes if empty else gpu.free_bytes) - reserve) if gpu.total_bytes else None
        for gpu in gpus
    }


def lay(shape: Shape, rooms: Mapping[str, int | None], *, spread: bool, most: int | None = None) -> Lay:
    """Put layers on cards: all of them on as few cards as hold them, the roomiest first; what does not fit stays away.

    With `spread` they go over all. Cards of unknown size take everything: the engine looks what fits.
    """
    want = shape.layers if most is None else min(most, shape.layers)
    if want <= 0 or not rooms:
        return Lay()
    if any(room is None for room in rooms.values()):
        return Lay(layers=want, cards=tuple(rooms))
    left = {card: max(0, (room or 0) - shape.each_bytes) for card, room in rooms.items()}
    ranked = sorted((card for card in left if left[card]), key=lambda card: -left[card])
    # A layer lies on one card, so each more of them has a part of one that nothing fits into.
    holds = {
        count: shape.fitting(sum(left[card] for card in ranked[:count]) - (count - 1) * shape.layer_bytes)
        for count in ((len(ranked),) if spread else range(1, len(ranked) + 1))
    }
    best = max(holds.values(), default=0)
    count = next((count for count, layers in holds.items() if layers >= min(want, best)), 0)
    layers, taken = min(want, best), ranked[:count]
    cards = tuple(card for card in rooms if card in taken)
    return Lay(layers=layers, cards=cards, bytes=_shared(shape, layers, cards, left)) if layers else Lay()


def _shared(shape: Shape, layers: int, cards: Sequence[str], left: Mapping[str, int]) -> dict[str, int]:
    """What each card takes, where they share by their room."""
    total, taken = sum(left[card] for card in cards), shape.bytes_of(layers)
    return {card: shape.each_bytes + taken * left[card] // total for card in cards}


def fits(rooms: Mapping[str, int], lying: Iterable[Mapping[str, int]], wish: Wish) -> bool:
    """Whether a wish gets as much beside the models that lie there as it would get alone.

    `rooms` are the bytes of each card for all models. Where nothing is known of a card nobody is in the way.
    """
    if wish.shape is None:
        return True
    alone = {card: max(0, rooms[card] - wish.reserve) for card in wish.cards if card in rooms}
    taken = [*lying]
    beside = {card: max(0, room - sum(one.get(card, 0) for one in taken)) for card, room in alone.items()}
    had, gets = (
        lay(wish.shape, {**each}, spread=wish.spread, most=wish.layers).layers if each else 0
        for each in (alone, beside)
    )
    return gets >= had


def shares(lay: Lay) -> tuple[float, ...]:
    """How the engine is to split layers over the cards, where there are several."""
    return tuple(float(lay.bytes[card]) for card in lay.cards) if len(lay.cards) > 1 and lay.bytes else ()


def visibility(
    kinds: Iterable[str], cards: Sequence[Gpu], *, hidden: bool, numbers: Sequence[str] = ()
) -> dict[str, str]:
    """The variables by which a child sees these cards and no others, or none at all.

    Without cards a child sees what its engine finds, by `numbers` where Vulkan is to count them.
    """
    said: dict[str, str] = {}
    cuda, rocm = ([gpu for gpu in cards if gpu.kind == kind] for kind in ("cuda", "rocm"))
    if "cuda" in kinds and (hidden or cards):
        said["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        said["CUDA_VISIBLE_DEVICES"] = (
            ",".join(gpu.uuid or str(gpu.index) for gpu in cuda) if cuda and not hidden else "-1"
        )
    if "rocm" in kinds and (hidden or cards):
        if rocm and not hidden:
            said["ROCR_VISIBLE_DEVICES"] = ",".join(gpu.uuid or str(gpu.index) for gpu in rocm)
        # This one counts among those that the other one leaves.
        said["HIP_VISIBLE_DEVICES"] = ",".join(map(str, range(len(rocm)))) if rocm and not hidden else "-1"
    if "vulkan" in kinds and (hidden or numbers):
        said["GGML_VK_VISIBLE_DEVICES"] = "" if hidden else ",".join(numbers)
    return said


def gone(cards: Iterable[str], gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """The cards of these ids that are not there any more."""
    there = {gpu.id for gpu in gpus} | {f"{gpu.kind}:{gpu.index}" for gpu in gpus}
    return tuple(card for card in cards if card not in there)
