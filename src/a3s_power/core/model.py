"""Model: a manifest read in full, ready to be asked what the model is and can do."""

from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.core.errors import NotCapable, PowerError
from a3s_power.core.manifest import ConfigBlob, Manifest
from a3s_power.core.messages import Message
from a3s_power.core.names import ModelName
from a3s_power.core.options import Asked

Capability = Literal["completion", "embedding", "tools", "insert", "vision", "audio", "thinking", "image", "rerank"]

RANK_POOLING: Final = 4
"""What `pooling_type` says in the weights of a re-ranker."""

DEFAULT_TEMPLATE: Final = "{{ .Prompt }}"
"""What show prints for a model that has no template at all."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a weights file says of itself. Counts are plain numbers, 0 where the file says nothing.

    `kv_heads` is the number of key-value heads of each layer; `head_k`/`head_v` their lengths in elements.
    `weights_bytes` is the sum of all tensors, `rearranged_bytes` the part that an engine may copy in another order;
    `merges` are the vocabulary's, for one that has them.
    """

    architecture: str
    type: str = "model"
    parameters: int = 0
    file_type: str = "unknown"
    context_length: int = 0
    embedding_length: int = 0
    block_count: int = 0
    feed_forward: int = 0
    heads: int = 0
    kv_heads: tuple[int, ...] = ()
    head_k: int = 0
    head_v: int = 0
    sliding_window: int = 0
    vocabulary: int = 0
    weights_bytes: int = 0
    rearranged_bytes: int = 0
    merges: int = 0
    pooling: int | None = None
    chat_template: str = ""
    vision: bool = False
    audio: bool = False
    causal: bool = True

    @property
    def ranks(self) -> bool:
        """Whether it makes one score of a text, and so no vector."""
        return self.pooling == RANK_POOLING


class ModelFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Absolute paths of what an engine opens; adapters with their scale.

    `prompts` is a folder for what its slots hold at the end, to go on from at the next load; empty to forget that.
    """

    weights: str
    projectors: tuple[str, ...] = ()
    adapters: tuple[tuple[str, float], ...] = ()
    draft: str = ""
    prompts: str = ""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a list shows it: its manifest and config, nothing of its weights.

    `digest` is that of the manifest file; `size` is in bytes; `modified` is the manifest's time, with its zone.
    """

    name: ModelName
    digest: Digest
    size: int
    modified: datetime
    config: ConfigBlob
    parent: str = ""


class Model(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A model read in full. `template` is the Go template of its TEMPLATE layer, empty without one.

    `weights` is the digest under which a runner is shared; `parameters` is the params layer as it stands there, read
    into options by `asked`.
    """

    name: ModelName
    digest: Digest
    modified: datetime
    manifest: Manifest
    config: ConfigBlob
    weights: Digest
    files: ModelFiles
    facts: Facts
    template: str = ""
    system: str = ""
    licenses: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    messages: tuple[Message, ...] = ()
    capabilities: tuple[Capability, ...] = ()

    @cached_property
    def asked(self) -> Asked:
        """The options of the Modelfile's PARAMETER lines."""
        return Asked.read(self.parameters)

    def can(self, capability: Capability) -> bool:
        """Whether the model can do this."""
        return capability in self.capabilities

    def require(self, capability: Capability, complaint: str) -> None:
        """Raise NotCapable with `complaint` unless the model can do this."""
        if capability not in self.capabilities:
            raise NotCapable(complaint)


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A model as show shows it. `info` is the weights' metadata by key, `tensors` their names, types and shapes."""

    model: Model
    info: dict[str, Any]
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    projector_info: dict[str, Any] | None = None


class Resident(msgspec.Struct, frozen=True, kw_only=True):
    """A model in memory, under the name that loaded it.

    `memory_bytes` is all it takes, `gpu_bytes` the part on GPUs; `context_length` is what one request may use;
    `expires` is when it leaves, `None` when it stays; `load_ns` is what its load took, in nanoseconds. `placement` is
    where and how it lies, `reason` why that is not what was asked for, empty when it is; `options` are those of its
    load by `engine`, by name.
    """

    model: Model
    memory_bytes: int
    gpu_bytes: int
    context_length: int
    expires: datetime | None
    load_ns: int = 0
    placement: str = ""
    reason: str = ""
    options: dict[str, Any] = {}
    engine: str = ""


class FailedLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A model that could not be brought into memory when it was tried last: why, and when."""

    model: ModelName
    error: PowerError
    moment: datetime


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """An engine of the table. `version` is that of its library, empty where that is not installed."""

    name: str
    formats: tuple[str, ...]
    library: str
    version: str
