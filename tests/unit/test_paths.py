"""Places: the base folder and what is in it."""

from pathlib import Path

import pytest

from a3s_power import paths


def test_the_base_folder_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A3S_POWER_HOME", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert paths.base_folder() == Path("/somewhere/.a3s/power")
    assert paths.config_file() == Path("/somewhere/.a3s/power/config.toml")


@pytest.mark.parametrize("text", ["/base", ' "/base" ', "'/base'"])
def test_a_variable_names_another(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("A3S_POWER_HOME", text)
    assert paths.places() == paths.Places(Path("/base"), Path("/base/models"))


def test_settings_name_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.chdir(tmp_path)
    assert paths.places(data_dir="~/data") == paths.Places(Path("/somewhere/data"), Path("/somewhere/data/models"))
    assert paths.places(data_dir="/d", models="m") == paths.Places(Path("/d"), tmp_path / "m")


def test_what_is_kept_beside_the_models_is_in_the_base_folder() -> None:
    places = paths.places(data_dir="/d", models="/m")
    assert (places.logs, places.speeds) == (Path("/d/logs"), Path("/d/speeds.json"))


def test_the_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_NAME", "x")
    environment = paths.environment()
    environment["SOME_NAME"] = "y"
    assert (paths.variable("SOME_NAME"), environment["SOME_NAME"]) == ("x", "y")
