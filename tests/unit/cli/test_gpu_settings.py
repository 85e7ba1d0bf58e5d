"""How what is said of graphics processors comes to the scheduler."""

from pathlib import Path

import pytest

from a3s_power import config
from a3s_power.cli.serve import local_settings
from a3s_power.config import Config
from a3s_power.core.errors import BadConfig
from a3s_power.core.names import ModelName
from a3s_power.scheduler.devices import Wishes


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own."""
    monkeypatch.setenv("A3S_POWER_HOME", str(tmp_path))


def test_wishes_come_from_the_settings(tmp_path: Path) -> None:
    said = {
        "A3S_POWER_DEVICES": "0, GPU-1a",
        "A3S_POWER_REQUIRE_GPU": "1",
        "OLLAMA_GPU_OVERHEAD": "1000",
        "OLLAMA_SCHED_SPREAD": "true",
        "A3S_POWER_GPU_MODELS": "m=1+pack",
    }
    gpus = local_settings(config.load(tmp_path / "none.toml", said).config).scheduler.gpus
    assert gpus.wishes == Wishes(devices=("0", "GPU-1a"), require=True, reserve=1000, spread=True)
    assert gpus.of(ModelName.parse("m")) == Wishes(devices=("1",), require=True, reserve=1000)


def test_what_is_said_wrongly_of_a_model_is_an_error() -> None:
    with pytest.raises(BadConfig, match=r"gpu\.models: 'm' is not of the form MODEL=WORD\+WORD"):
        local_settings(Config(gpu=config.Gpu(models=("m",))))
