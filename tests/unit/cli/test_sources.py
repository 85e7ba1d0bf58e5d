"""Which files of a folder FROM and ADAPTER take, and by what names: section 4 of the sheet of Modelfiles."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from a3s_power.cli.sources import adapters, sources
from a3s_power.core.errors import BadModelfile

_BINARY = b"\0\1\2 anything"
_ZIP = b"PK\x03\x04 anything"
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
_JSON = b'{"a": 1}'


def _fill(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_JSON if name.endswith(("json", "jinja")) else _BINARY)


def _taken(folder: Path, *names: str) -> set[str]:
    """What `FROM .` takes of a folder with these files."""
    _fill(folder, names)
    return set(sources(["."], folder)[1])


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ("model.safetensors config.json notes.txt", "model.safetensors config.json"),
        ("model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json", "all"),
        ("model.safetensors 2_Dense/model.safetensors 2_Dense/config.json a/b/model.safetensors a/b/c.json", "notdeep"),
        ("consolidated.safetensors params.json pytorch_model.bin", "consolidated.safetensors params.json"),
        ("model.safetensors m.gguf", "model.safetensors"),
        ("m.gguf projector.gguf other.bin", "m.gguf projector.gguf"),
        ("old.bin config.json", "all"),
        ("model.safetensors tokenizer.model tokenizer.json chat_template.jinja README.md", "norm"),
        ("model.safetensors original/tokenizer.model", "all"),
        ("model.safetensors tokenizer.model original/tokenizer.model", "model.safetensors tokenizer.model"),
    ],
)
def test_the_first_group_that_is_there_is_the_model(tmp_path: Path, there: str, taken: str) -> None:
    left_out = {"all": set(), "norm": {"README.md"}, "notdeep": {"a/b/model.safetensors", "a/b/c.json"}}
    wanted = set(there.split()) - left_out[taken] if taken in left_out else set(taken.split())
    assert _taken(tmp_path, *there.split()) == wanted


def test_a_pointer_that_git_left_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(_POINTER)
    with pytest.raises(BadModelfile, match="no Modelfile or safetensors files found"):
        _taken(tmp_path, "n.gguf")
    assert _taken(tmp_path, "consolidated.safetensors") == {"consolidated.safetensors"}


def test_a_pointer_is_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(_POINTER)
    assert _taken(tmp_path, "model.safetensors") == {"model.safetensors"}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "consolidated.00.pth"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    """ST-03."""
    (tmp_path / name).write_bytes(_ZIP)
    with pytest.raises(BadModelfile, match=f"{name} holds pickled weights: only safetensors and GGUF files are taken"):
        _taken(tmp_path, "config.json")


def test_a_configuration_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(_BINARY)
    complaint = f"invalid content type: expected application/octet-stream for {tmp_path}/config.json"
    with pytest.raises(BadModelfile) as caught:
        _taken(tmp_path, "model.safetensors")
    assert str(caught.value) == complaint


@pytest.mark.parametrize(("place", "hint"), [("out", ""), (".cache/hub", "\n\nUse --local-dir <dir> when")])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, place: str, hint: str) -> None:
    _fill(tmp_path, [f"{place}/blob"])
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(tmp_path / place / "blob")
    with pytest.raises(BadModelfile) as caught:
        _taken(folder)
    assert str(caught.value).startswith(f"insecure path: ../{place}/blob{hint}")


def test_a_folder_may_be_a_link_and_hold_links_to_itself(tmp_path: Path) -> None:
    _fill(tmp_path, ["real/weights"])
    (tmp_path / "real/model.safetensors").symlink_to("weights")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    assert set(sources(["linked"], tmp_path)[1]) == {"model.safetensors"}


def test_a_folder_or_file_goes_before_a_model_of_its_name(tmp_path: Path) -> None:
    _fill(tmp_path, ["m/model.safetensors", "n"])
    assert sources(["m"], tmp_path)[0] == ""
    assert sources(["n"], tmp_path) == ("", {"n": tmp_path / "n"})
    assert sources(["o"], tmp_path) == ("o", {})


def test_files_of_several_lines_are_named_from_the_folder_they_share(tmp_path: Path) -> None:
    _fill(tmp_path, ["m/model-00001-of-00002.gguf", "m/model-00002-of-00002.gguf", "p/mmproj.gguf"])
    values = ["m/model-00001-of-00002.gguf", "m/model-00002-of-00002.gguf", "p/mmproj.gguf", "p/../p/mmproj.gguf"]
    assert set(sources(values, tmp_path)[1]) == {*values[:3]}


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ("adapter_model.safetensors adapter_config.json", "adapter_model.safetensors adapter_config.json"),
        ("adapters.safetensors adapter_config.json", "adapters.safetensors adapter_config.json"),
        ("lora.gguf", "lora.gguf"),
        ("model.safetensors adapter_config.json", "model.safetensors adapter_config.json"),
    ],
)
def test_an_adapter_may_be_a_folder(tmp_path: Path, there: str, taken: str) -> None:
    _fill(tmp_path / "lora", there.split())
    assert set(adapters(["lora"], tmp_path)) == set(taken.split())


def test_of_several_adapters_the_last_counts(tmp_path: Path) -> None:
    _fill(tmp_path, ["one.gguf", "two.gguf"])
    assert adapters(["one.gguf", "two.gguf"], tmp_path) == {"two.gguf": tmp_path / "two.gguf"}
    assert adapters([], tmp_path) == {}


def test_what_is_no_file_is_passed_over_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to("/dev/zero")
    (tmp_path / "model.safetensors").write_bytes(_BINARY)
    assert set(sources(["."], tmp_path)[1]) == {"model.safetensors"}
