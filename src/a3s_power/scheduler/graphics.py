"""How a model is loaded where there are graphics processors: whole on cards, in part, or not; pure.

Where no engine uses a card, all of this is `placement`'s own answer. Where one does, the same rules are asked as if the
cards' memory were the main memory, and where a model does not fit into that, as if both were one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from a3s_power.core.errors import LoadFailed, OutOfMemory
from a3s_power.core.limits import MIB
from a3s_power.core.manifest import PROJECTOR
from a3s_power.engines import llamacpp_draft, llamacpp_layers, llamacpp_params
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.engines.llamacpp_layers import Shape
from a3s_power.hardware.gpus import Gpu
from a3s_power.hardware.machine import Machine
from a3s_power.scheduler import devices, placement
from a3s_power.scheduler.devices import Lay, Wish, Wishes
from a3s_power.scheduler.footprints import Seen
from a3s_power.scheduler.need import Claim, Need
from a3s_power.scheduler.settings import Settings

_CARD_RATE: Final = 2048.0
"""Tokens of a prompt a second that a card is taken for, before its first: its batches are then as large as pays."""
_MARGIN: Final = 256 * MIB
"""What the engine leaves free on each card when it looks itself what fits; nobody's figure is exact."""


class Fitted(NamedTuple):
    """A claim as it fits now, how its layers lie on cards, and what became otherwise than asked, for the log."""

    claim: Claim
    lay: Lay = Lay()
    reasons: Mapping[str, str] = {}


def claim(need: Need, settings: Settings, machine: Machine, rate: float | None, seen: Seen) -> Claim:
    """As `placement.claim`, and what the need wants of cards.

    Raises:
        LoadFailed: it must run on a card and cannot, besides what `placement.claim` raises.
    """
    wishes, cards = settings.gpus.of(need.model.name), _cards(need, settings, machine)
    most = _layers(need, settings)
    if not cards or most == 0:
        _refuse_without(need, settings, wishes, machine)
        return placement.claim(need, settings, machine, rate, seen)
    wish = Wish(
        cards=tuple(gpu.id for gpu in cards),
        reserve=wishes.reserve,
        spread=wishes.spread,
        required=wishes.require,
    )
    refusal = OutOfMemory("")
    for there, whole in _memories(machine, cards, wishes, explicit=most is not None):
        try:
            asked = placement.claim(need, settings, there, rate or _CARD_RATE, seen)
        except OutOfMemory as error:
            refusal = error
            continue
        wanted = _wanting(need, asked, wish, cards, most)
        lies = _apart(asked, wanted)
        is_whole = wanted.shape is not None and wanted.layers >= wanted.shape.layers
        if (is_whole and asked.options.context_length >= asked.asked_context) if whole else _held(lies, machine):
            return lies
    raise refusal if refusal.message else OutOfMemory("model requires more system memory than is available")


def fitted(need: Need, claim: Claim, machine: Machine, settings: Settings, seen: Seen) -> Fitted:
    """As `placement.fitted`, by what is free on the cards and in main memory now.

    To stay whole on its cards a model gets fewer slots, then a smaller type of cache, then less of an automatic
    context. Where that does not suffice it keeps those, and fewer of its layers go to cards.

    Raises:
        LoadFailed: it must run on a card, and none has room.
        OutOfMemory: what is left for main memory is too large for it.
    """
    wish = claim.wish
    if wish.shape is None:
        return Fitted(placement.fitted(need, claim, machine, seen), reasons=_untold(need, settings, machine))
    rooms = devices.rooms([gpu for gpu in machine.gpus if gpu.id in wish.cards], wish.reserve)
    options, lay = _on_cards(need, claim, rooms)
    if not lay.layers and wish.required:
        raise _refused(need, "and none that it may use has room for any of it")
    total = placement.weighed(need, options, claim.asked_context, machine, seen)
    on_cards = _shape(need, options).bytes_of(lay.layers)
    held = placement.fitted(need, total, _with(machine, on_cards, on_cards), seen)
    shape = _shape(need, held.options)
    wish = msgspec.structs.replace(wish, shape=shape)
    asked = min(shape.layers, _layers(need, settings) or shape.layers)
    reasons = {"num_gpu": f"{asked} -> {lay.layers}"} if lay.layers < asked else {}
    return Fitted(_apart(held, msgspec.structs.replace(wish, layers=lay.layers)), lay, reasons)


def loadable(options: LoadOptions, fit: Fitted, settings: Settings) -> LoadOptions:
    """The options with what the engine is to do on the cards that it sees. Where all layers fit, it looks again."""
    shape, lay = fit.claim.wish.shape, fit.lay
    if shape is None:
        return options
    whole = lay.layers >= shape.layers
    several = settings.tensor_split if len(lay.cards) > 1 else ()
    return msgspec.structs.replace(
        options,
        gpu_layers=-1 if whole else lay.layers,
        main_gpu=None,
        tensor_split=several or (() if whole else devices.shares(lay)),
        gpu_reserve=max(fit.claim.wish.reserve, _MARGIN),
    )


def environment(need: Need, fit: Fitted, machine: Machine, settings: Settings) -> dict[str, str]:
    """The variables by which the child sees its cards only; of a card that it does not use it must not know."""
    kinds, wishes = _kinds(need, settings), settings.gpus.of(need.model.name)
    cards = [gpu for gpu in machine.gpus if gpu.id in fit.lay.cards]
    unused = fit.claim.wish.shape is not None and not fit.lay.layers
    unmeant = bool(wishes.devices) and devices.told(kinds) and not cards
    hidden = unused or unmeant or _layers(need, settings) == 0
    numbers = [word for word in wishes.devices if word.isdecimal()]
    return devices.visibility(kinds, cards, hidden=hidden, numbers=numbers)


def rooms(machine: Machine, lying: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """What all models may take of each card, where the loaded ones lie so."""
    held = {gpu.id: sum(one.get(gpu.id, 0) for one in lying) for gpu in machine.gpus}
    return {gpu.id: min(gpu.total_bytes, gpu.free_bytes + held[gpu.id]) for gpu in machine.gpus if gpu.total_bytes}


def freed(before: Machine, now: Machine, lay: Lay) -> bool:
    """Whether the cards have back what a child took of them, or most of it: nobody's figure is exact."""
    left, free = ({gpu.id: gpu.free_bytes for gpu in machine.gpus} for machine in (before, now))
    return all(
        free[card] >= left[card] + taken // 2 for card, taken in lay.bytes.items() if card in left and card in free
    )


def labels(machine: Machine, lay: Lay) -> tuple[str, ...]:
    """The cards it lies on, as people name them: `cuda:0`."""
    return tuple(f"{gpu.kind}:{gpu.index}" for gpu in machine.gpus if gpu.id in lay.cards)


def lost(known: Mapping[str, Gpu], machine: Machine) -> list[str]:
    """Which of these cards are not there any more, in words. Where no card could be read, that says nothing of them."""
    cards = () if machine.gpus_blind else devices.gone(known, machine.gpus)
    return [f"graphics processor {known[card].name or card} ({card}) is gone" for card in cards]


def check(need: Need, settings: Settings, loaded: Loaded) -> None:
    """Raise LoadFailed where a model that must be on a card is loaded, and is on none."""
    if settings.gpus.of(need.model.name).require and not loaded.gpu_bytes:
        raise _refused(need, "and the engine has found none")


def _kinds(need: Need, settings: Settings) -> frozenset[str]:
    return settings.gpus.kinds.get(need.engine, frozenset())


def _layers(need: Need, settings: Settings) -> int | None:
    """How many layers are asked for at most; `None` for all that fit."""
    said = need.options.num_gpu
    layers = settings.gpu_layers if said is None or said < 0 else said
    return None if layers < 0 else layers


def _cards(need: Need, settings: Settings, machine: Machine) -> tuple[Gpu, ...]:
    """The cards that this model may lie on."""
    kinds = _kinds(need, settings)
    usable = [gpu for gpu in machine.gpus if gpu.kind in kinds]
    cards = devices.named(usable, settings.gpus.of(need.model.name).devices)
    main = settings.main_gpu if need.options.main_gpu is None else need.options.main_gpu
    if main is None or main < 0 or not cards:
        return cards
    if main >= len(cards):
        raise LoadFailed(f"main_gpu is {main}, and of graphics processors to use there are {len(cards)}")
    return (cards[main],)


def _refuse_without(need: Need, settings: Settings, wishes: Wishes, machine: Machine) -> None:
    """Raise LoadFailed for a model that must be on a card where it is clear that it would not be."""
    kinds = _kinds(need, settings)
    if not wishes.require:
        return
    if not kinds:
        raise _refused(need, "and the engine here is built for none; docs/engines.md says which one to install")
    if _layers(need, settings) == 0:
        raise _refused(need, "and num_gpu is 0")
    if devices.told(kinds):
        why = "; ".join(machine.gpu_troubles)
        raise _refused(need, "and none that it may use is there" + (f": {why}" if why else ""))


def _refused(need: Need, why: str) -> LoadFailed:
    return LoadFailed(f"model '{need.model.name}' requires a graphics processor (gpu.require), {why}")


def _untold(need: Need, settings: Settings, machine: Machine) -> dict[str, str]:
    """Why a model that could be on a card is planned without, where something is wrong with the cards."""
    wishes = settings.gpus.of(need.model.name)
    if not _kinds(need, settings) or _layers(need, settings) == 0:
        return {}
    missed = {"devices": f"{'+'.join(wishes.devices)} -> none"} if wishes.devices and machine.gpus else {}
    return missed | ({"gpu": "; ".join(machine.gpu_troubles)} if machine.gpu_troubles else {})


def _memories(
    machine: Machine, cards: Sequence[Gpu], wishes: Wishes, *, explicit: bool
) -> Iterator[tuple[Machine, bool]]:
    """The machines to plan for as if they had main memory only, and whether the model must lie whole on cards then."""
    roomiest = max(cards, key=lambda gpu: gpu.total_bytes)
    groups = [] if explicit else [cards] if wishes.spread or len(cards) == 1 else [[roomiest], cards]
    for group in groups:
        yield (
            msgspec.structs.replace(
                machine, memory_bytes=_sum(group, wishes, empty=True), free_bytes=_sum(group, wishes)
            ),
            True,
        )
    pooled = _with(machine, _sum(cards, wishes, empty=True), _sum(cards, wishes))
    yield from ((each, False) for each in ((machine, pooled) if explicit else (pooled, machine)))


def _sum(cards: Sequence[Gpu], wishes: Wishes, *, empty: bool = False) -> int:
    """The bytes of these cards together; 0 where the size of one is not known."""
    found = devices.rooms(cards, wishes.reserve, empty=empty).values()
    return 0 if None in found else sum(max(0, (room or 0) - llamacpp_layers.LIBRARY_BYTES) for room in found)


def _with(machine: Machine, total: int, free: int) -> Machine:
    """The machine with so many bytes more, where it is known how many it has."""
    return msgspec.structs.replace(
        machine,
        memory_bytes=machine.memory_bytes and machine.memory_bytes + total,
        free_bytes=machine.free_bytes and machine.free_bytes + free,
    )


def _wanting(need: Need, asked: Claim, wish: Wish, cards: Sequence[Gpu], most: int | None) -> Wish:
    """The wish with as many layers as the cards hold when they are empty."""
    shape = _shape(need, asked.options)
    alone = devices.lay(shape, devices.rooms(cards, wish.reserve, empty=True), spread=wish.spread, most=most)
    return msgspec.structs.replace(wish, shape=shape, layers=alone.layers)


def _shape(need: Need, options: LoadOptions) -> Shape:
    facts = need.model.facts
    chosen = llamacpp_params.settings(options, facts, llamacpp_params.Machine(x86=False, gpu_free_bytes=1))
    projectors = () if need.embedding else need.model.manifest.of_type(PROJECTOR)
    draft = llamacpp_draft.memory_bytes(need.drafting.facts, chosen, facts.vocabulary)
    return llamacpp_layers.shape(facts, chosen, 2 * sum(layer.size for layer in projectors) + draft)


def _apart(claim: Claim, wish: Wish) -> Claim:
    """The claim without the bytes that lie on cards."""
    on_cards = wish.shape.bytes_of(wish.layers) if wish.shape is not None else 0
    left = max(0, claim.memory_bytes - on_cards)
    return msgspec.structs.replace(claim, memory_bytes=left, shared_bytes=min(claim.shared_bytes, left), wish=wish)


def _held(claim: Claim, machine: Machine) -> bool:
    """Whether main memory has room for what does not lie on cards."""
    usable = placement.usable_bytes(machine)
    return not usable or claim.memory_bytes <= usable


def _on_cards(need: Need, claim: Claim, rooms: Mapping[str, int | None]) -> tuple[LoadOptions, Lay]:
    """The first of the smaller loads with which as many layers lie on cards as planned, else the planned one."""
    wish, least = claim.wish, min(claim.asked_context, claim.options.context_length)

    def laid(options: LoadOptions) -> Lay:
        return devices.lay(_shape(need, options), rooms, spread=wish.spread, most=wish.layers)

    planned = laid(claim.options)
    if planned.layers < wish.layers:
        for options in placement.shrunk(claim.options):
            if options.context_length >= least and (lay := laid(options)).layers >= wish.layers:
                return options, lay
    return claim.options, planned
