"""Push and pull against a real CNCF distribution registry, where it is installed."""

import hashlib
import os
import threading
from pathlib import Path

import pytest

from a3s_power.core.errors import Cancelled, NotThere, Unauthorized
from a3s_power.core.manifest import LICENSE, PARAMS, SYSTEM, TEMPLATE
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.settings import Cutting, Login
from a3s_power.registry.supply import Supply
from tests.pulling import pull, push, supply
from tests.registries import real_registry
from tests.stores import add_model, files_below, gguf, named

_CUTTING = Cutting(least=1_000_000)


def _contents(world: Supply) -> dict[str, str]:
    """Every file of the store with its content's digest."""
    root = world.store.root
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in files_below(root)}


def test_a_model_goes_push_delete_pull_and_is_byte_for_byte_the_same(tmp_path: Path) -> None:
    with real_registry(tmp_path) as host:
        name, world = f"{host}/ns/m:v1", supply(tmp_path, cutting=_CUTTING)
        layers = (
            (TEMPLATE, b"{{ .Prompt }}"),
            (SYSTEM, b"Be brief."),
            (PARAMS, b"{}"),
            (LICENSE, os.urandom(3_500_000)),
        )
        add_model(world.store, name, *layers, weights=gguf())
        before = _contents(world)
        assert push(world, name).lines[-1] == "success"
        world.store.delete(named(name))
        assert _contents(world) == {}
        assert pull(world, name).lines[-1] == "success"
        assert _contents(world) == before


def test_what_is_there_is_not_sent_again_and_layers_are_mounted(tmp_path: Path) -> None:
    with real_registry(tmp_path) as host:
        world, weights = supply(tmp_path, cutting=_CUTTING), os.urandom(2_000_000)
        add_model(world.store, f"{host}/ns/base", weights=weights)
        push(world, f"{host}/ns/base")
        add_model(world.store, f"{host}/ns/child", (SYSTEM, b"more"), weights=weights, source=f"{host}/ns/base:latest")
        told = push(world, f"{host}/ns/child")
        digest = f"sha256:{hashlib.sha256(weights).hexdigest()}"
        assert [progress.completed for progress in told if progress.digest == digest] == [len(weights)]
        world.store.delete(named(f"{host}/ns/child"))
        pull(world, f"{host}/ns/child")


def test_passwords_are_asked_for_and_given(tmp_path: Path) -> None:
    with real_registry(tmp_path, password=True) as host:
        name, world = f"{host}/ns/m", supply(tmp_path)
        add_model(world.store, name)
        with pytest.raises(Unauthorized, match="unauthorized: access denied"):
            push(world, name)
        push(world, name, username="power", password="secret")
        with pytest.raises(Unauthorized):
            pull(supply(tmp_path / "other"), name)
        known = supply(tmp_path / "other", logins={host: Login("power", "secret")})
        assert pull(known, name).lines[-1] == "success"


def test_what_it_does_not_have_is_not_there(tmp_path: Path) -> None:
    with real_registry(tmp_path) as host:
        for name in ("ns/nope", "ns/nope:v9"):
            with pytest.raises(NotThere, match=r"^pull model manifest: file does not exist$"):
                pull(supply(tmp_path), f"{host}/{name}")


def test_a_cancelled_push_is_gone_on_with(tmp_path: Path) -> None:
    with real_registry(tmp_path) as host:
        name, world = f"{host}/ns/m", supply(tmp_path, cutting=_CUTTING, bandwidth=20_000_000)
        add_model(world.store, name, weights=os.urandom(10_000_000))
        cancel = Cancel()
        timer = threading.Timer(0.15, cancel.ask)
        timer.start()
        with pytest.raises(Cancelled):
            push(world, name, cancel)
        timer.join()
        assert push(supply(tmp_path, cutting=_CUTTING), name).lines[-1] == "success"
        world.store.delete(named(name))
        assert pull(world, name).lines[-1] == "success"
