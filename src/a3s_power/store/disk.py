"""Disk: the bytes that each model takes, alone and together with others, and what lies there beside them."""

import math
from collections import Counter

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.core.names import ModelName
from a3s_power.store.prune import Unused
from a3s_power.store.store import Store


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A model's bytes: `unique` go when it is deleted, `shared` are another model's, too."""

    name: ModelName
    unique: int
    shared: int

    @property
    def size(self) -> int:
        """All of them."""
        return self.unique + self.shared


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A models folder. `models` has the largest first; `total` counts each blob once."""

    models: tuple[Share, ...]
    total: int
    partials: tuple[Unused, ...]
    unused: tuple[Unused, ...]


def disk(store: Store, now: float) -> Disk:
    """What takes the room; `now` in seconds since 1970. Raises StoreFailed."""
    blobs: dict[ModelName, dict[Digest, int]] = {}
    for stored in store.manifests.scan().stored:
        layers = (stored.manifest.config, *stored.manifest.layers)
        blobs[stored.name] = {
            layer.blob: store.blobs.size(layer.blob) for layer in layers if store.blobs.has(layer.blob)
        }
    users = Counter(digest for each in blobs.values() for digest in each)
    shares = [_share(name, sizes, users) for name, sizes in blobs.items()]
    beside = store.unused(now, -math.inf, partials=True)
    return Disk(
        models=tuple(sorted(shares, key=lambda share: (-share.size, share.name))),
        total=sum({digest: size for each in blobs.values() for digest, size in each.items()}.values()),
        partials=tuple(file for file in beside if file.partial),
        unused=tuple(file for file in beside if not file.partial),
    )


def _share(name: ModelName, sizes: dict[Digest, int], users: Counter[Digest]) -> Share:
    unique = sum(size for digest, size in sizes.items() if users[digest] == 1)
    return Share(name=name, unique=unique, shared=sum(sizes.values()) - unique)
