"""Laws of the store: whatever is done to it in whatever order, it holds what a dictionary of models would hold."""

import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BlobNotFound, InUse, ModelNotFound
from a3s_power.core.manifest import CONFIG_TYPE, LICENSE, ConfigBlob, Manifest, write_config, write_manifest
from a3s_power.core.messages import Message, ToolCall
from a3s_power.core.names import ModelName
from a3s_power.store import Store, layers
from tests.stores import files_below

TEXTS = ("a", "A", "a:V", "b:v", "ns/a", "NS/b", "hf.co/ns/a")
NAMES = st.sampled_from(TEXTS).map(ModelName.parse)
CONTENTS = st.sampled_from([b"", b"one", b"two", b"three", b"four"])
CONFIG = write_config(ConfigBlob(model_format="gguf"))


class StoreMachine(RuleBasedStateMachine):
    """A store beside its model: what each name stands for, and which contents lie there at all."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.models: dict[ModelName, frozenset[bytes]] = {}
        self.there: set[bytes] = set()

    @initialize(keep_unused=st.booleans())
    def begin(self, keep_unused: bool) -> None:
        self.keep_unused = keep_unused
        self.store = Store(self.folder / "models", keep_unused=keep_unused)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def used(self) -> set[bytes]:
        return set().union(*self.models.values())

    def replace(self, name: ModelName, contents: frozenset[bytes]) -> None:
        before = self.models.get(name.folded, frozenset())
        self.models[name.folded] = contents
        if not self.keep_unused:
            self.there -= before - self.used()

    @rule(content=CONTENTS)
    def put(self, content: bytes) -> None:
        digest, created = self.store.blobs.put([content])
        assert (digest, created) == (Digest.of(content), content not in self.there)
        self.there.add(content)

    @rule(name=NAMES, contents=st.lists(CONTENTS, max_size=3))
    def create(self, name: ModelName, contents: list[bytes]) -> None:
        made = tuple(layers.put(self.store.blobs, LICENSE, content)[0] for content in contents)
        config, _ = layers.put(self.store.blobs, CONFIG_TYPE, CONFIG)
        self.there |= {*contents, CONFIG}
        written = self.store.write(name, write_manifest(Manifest(config=config, layers=made)))
        assert written.folded == name.folded
        self.replace(name, frozenset({*contents, CONFIG}))

    @rule(source=NAMES, destination=NAMES)
    def copy(self, source: ModelName, destination: ModelName) -> None:
        if source.folded in self.models:
            self.store.copy(source, destination)
            self.replace(destination, self.models[source.folded])
        else:
            with pytest.raises(ModelNotFound):
                self.store.copy(source, destination)

    @rule(name=NAMES)
    def delete(self, name: ModelName) -> None:
        if name.folded in self.models:
            self.store.delete(name)
            self.there -= self.models.pop(name.folded) - self.used()
        else:
            with pytest.raises(ModelNotFound):
                self.store.delete(name)

    @rule(content=CONTENTS)
    def remove_blob(self, content: bytes) -> None:
        if content in self.there - self.used():
            self.store.remove_blob(Digest.of(content))
            self.there.remove(content)
        else:
            with pytest.raises(InUse if content in self.there else BlobNotFound):
                self.store.remove_blob(Digest.of(content))

    @rule(later=st.sampled_from([0.0, 7200.0]))
    def start(self, later: float) -> None:
        self.store.start(time.time() + later)
        if later and not self.keep_unused:
            self.there &= self.used()

    @precondition(lambda self: hasattr(self, "store"))
    @invariant()
    def the_same_models_and_contents_are_there(self) -> None:
        listed = {listing.name.folded: listing.size for listing in self.store.models.list()}
        assert listed.keys() == self.models.keys()
        blobs = {path.rpartition("/")[2] for path in files_below(self.store.root) if path.startswith("blobs/")}
        assert blobs == {Digest.of(content).file_name for content in self.there}
        for name, contents in self.models.items():
            assert self.store.manifests.read(name).manifest.blobs == {Digest.of(content) for content in contents}


def test_a_store_is_a_dictionary_of_models() -> None:
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))


_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_CALLS = st.builds(
    ToolCall, name=_TEXT, arguments=st.dictionaries(_TEXT, _JSON, max_size=3), id=_TEXT, index=st.integers(0, 9)
)
_MESSAGES = st.builds(
    Message,
    role=_TEXT,
    content=_TEXT,
    thinking=_TEXT,
    images=st.lists(st.binary(max_size=20), max_size=2).map(tuple),
    tool_calls=st.lists(_CALLS, max_size=2).map(tuple),
    tool_name=_TEXT,
    tool_call_id=_TEXT,
)


@given(st.lists(_MESSAGES, max_size=4).map(tuple))
def test_messages_are_what_their_layer_says(messages: tuple[Message, ...]) -> None:
    assert layers.read_messages(layers.write_messages(messages)) == messages


@given(st.dictionaries(_TEXT, _JSON, max_size=5))
def test_parameters_are_what_their_layer_says(parameters: dict[str, Any]) -> None:
    written = layers.write_parameters(parameters)
    assert layers.read_parameters(written) == parameters
    assert layers.write_parameters(layers.read_parameters(written)) == written


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_a_blob_is_the_same_however_it_was_cut(content: bytes, cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(content)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        pieces = [content[start:end] for start, end in pairwise(at)]
        assert store.blobs.put(pieces) == (Digest.of(content), True)
        assert store.blobs.read(Digest.of(content), 200) == content
