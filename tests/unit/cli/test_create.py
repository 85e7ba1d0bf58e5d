"""Create: from a Modelfile and the files it names to blobs and one request."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.scripted import Answer, Asked, Ran, Scripted, Shell, scripted

_GGUF = b"GGUF\3\0\0\0 and more"
_DIGEST = f"sha256:{hashlib.sha256(_GGUF).hexdigest()}"
_SUCCESS = Answer(lines=({"status": "parsing GGUF"}, {"status": "success"}))


def _absent(*contents: bytes) -> dict[str, Any]:
    """Answers of a server that makes any model, and has none of these blobs yet."""
    answers: dict[str, Any] = {"GET /": Answer(), "POST /api/create": _SUCCESS}
    for content in contents:
        path = f"/api/blobs/sha256:{hashlib.sha256(content).hexdigest()}"
        answers |= {f"HEAD {path}": Answer(status=404), f"POST {path}": Answer(status=201)}
    return answers


def _created(shell: Shell, server: Scripted, *args: str) -> tuple[Ran, dict[str, Any]]:
    """What the command did, and the one request it made."""
    ran = shell("create", *args, server=server)
    (request,) = server.bodies("/api/create")
    return ran, request


def test_a_file_is_sent_and_named(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(_GGUF)
    (tmp_path / "Modelfile").write_text("FROM ./tiny.gguf\nSYSTEM hi\n")
    with scripted(_absent(_GGUF)) as server:
        ran, request = _created(shell, server, "mine")
    assert request == {"model": "mine", "files": {"tiny.gguf": _DIGEST}, "system": "hi"}
    assert server.bodies(f"/api/blobs/{_DIGEST}") == [b"", _GGUF]
    assert ran == Ran(0, "", f"gathering model components\ncopying file {_DIGEST} 100%\nparsing GGUF\nsuccess\n")


def test_a_file_the_server_has_is_not_sent(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(_GGUF)
    (tmp_path / "Modelfile").write_text("FROM tiny.gguf")
    answers = _absent() | {f"HEAD /api/blobs/{_DIGEST}": Answer()}
    with scripted(answers) as server:
        _created(shell, server, "mine")
    assert [asked.method for asked in server.asked if _DIGEST in asked.path] == ["HEAD"]


def test_everything_of_a_modelfile_is_in_the_request(shell: Shell, tmp_path: Path) -> None:
    lora = b"GGUF adapter"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/lora.gguf").write_bytes(lora)
    (tmp_path / "sub/M").write_text(
        'FROM base:1b\nADAPTER lora.gguf\nTEMPLATE """{{ .Prompt }}\n"""\nSYSTEM s\nRENDERER r\nPARSER p\n'
        "REQUIRES v0.14.0\nLICENSE one\nLICENSE two\nPARAMETER temperature 0.5\nPARAMETER top_k 1\nPARAMETER stop a\n"
        "PARAMETER stop b\n"
        "PARAMETER low_vram true\nMESSAGE user hi\nMESSAGE assistant ho\n"
    )
    with scripted(_absent(lora)) as server:
        ran, request = _created(shell, server, "mine", "--file", "sub/M", "-q", "q4_K_M")
    assert ran.out == "warning: parameter low_vram is deprecated\n"
    assert request == {
        "model": "mine",
        "from": "base:1b",
        "adapters": {"lora.gguf": f"sha256:{hashlib.sha256(lora).hexdigest()}"},
        "template": "{{ .Prompt }}\n",
        "system": "s",
        "renderer": "r",
        "parser": "p",
        "requires": "0.14.0",
        "license": ["one", "two"],
        "parameters": {"temperature": 0.5, "top_k": 1, "stop": ["a", "b"]},
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
        "quantize": "q4_K_M",
    }


def test_several_files_are_named_below_their_common_folder(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/one.gguf").write_bytes(_GGUF)
    (tmp_path / "a/b/two.gguf").write_bytes(b"GGUF two")
    (tmp_path / "Modelfile").write_text(f"FROM a/one.gguf\nFROM {tmp_path}/a/b/two.gguf")
    with scripted(_absent(_GGUF, b"GGUF two")) as server:
        _, request = _created(shell, server, "mine")
    assert set(request["files"]) == {"one.gguf", "b/two.gguf"}


def test_a_folder_gives_its_ggufs(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "one.gguf").write_bytes(_GGUF)
    (tmp_path / "notes.txt").write_text("x")
    with scripted(_absent(_GGUF)) as server:
        _, request = _created(shell, server, "mine")
    assert request["files"] == {"one.gguf": _DIGEST}


def test_home_folders_are_found(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me").mkdir()
    (tmp_path / "me/one.gguf").write_bytes(_GGUF)
    (tmp_path / "Modelfile").write_text("FROM ~/one.gguf")
    with scripted(_absent(_GGUF)) as server:
        _, request = _created(shell, server, "mine")
    assert request["files"] == {"one.gguf": _DIGEST}


@pytest.mark.parametrize(
    ("modelfile", "complaint"),
    [
        ("FROM ./nope.gguf", "stat {here}/nope.gguf: no such file or directory"),
        ("FROM m\nADAPTER nope", "stat {here}/nope: no such file or directory"),
        ("FROM empty", "no Modelfile or safetensors files found"),
        ("FROM ~no.such.user/x", "failed to find user 'no.such.user': "),
        ("FROM linked", "insecure path: ../secret"),
        ("FROM m\nFROM n", "FROM names two models, m and n: they cannot be put together"),
        ("FROM /dev/zero", "/dev/zero is not a regular file"),
        ("FROM pipe", "{here}/pipe is not a regular file"),
        ("FROM m\nPARAMETER bogus 1", "unknown parameter 'bogus'"),
        ("FROM m\nPARAMETER num_ctx x", "invalid int value [x]"),
        ("FROM m\nREQUIRES new", "requires must be a valid semver (e.g. 0.14.0)"),
        ("FROM m\nDRAFT d", "stat {here}/d: no such file or directory"),
        ("FROM one.gguf\nDRAFT ./one.gguf", "DRAFT must not reference the same local path as FROM: {here}/one.gguf"),
        ("SYSTEM x", "no FROM line"),
    ],
)
def test_a_modelfile_that_cannot_be_is_refused(shell: Shell, tmp_path: Path, modelfile: str, complaint: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "secret").write_bytes(_GGUF)
    (tmp_path / "one.gguf").write_bytes(_GGUF)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "linked/out.gguf").symlink_to(tmp_path / "secret")
    (tmp_path / "Modelfile").write_text(modelfile)
    with scripted(_absent()) as server:
        ran = shell("create", "mine", server=server)
    assert (ran.status, ran.out, server.bodies("/api/create")) == (1, "", [])
    assert f"Error: {complaint.format(here=tmp_path)}" in ran.err


def test_a_name_that_is_none_is_refused_first(shell: Shell) -> None:
    assert shell("create", "a b") == Ran(1, "", "Error: invalid model name: a b\n")


def test_a_file_that_was_named_must_be_there(shell: Shell) -> None:
    assert shell("create", "mine", "-f", "nope").err == "Error: specified Modelfile wasn't found: nope\n"


def test_a_folder_is_no_modelfile(shell: Shell, tmp_path: Path) -> None:
    assert shell("create", "mine", "-f", str(tmp_path)).err == f"Error: open {tmp_path}: Is a directory\n"


def test_without_a_server_nothing_is_begun(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text("FROM m")
    ran = shell("create", "mine")
    assert ran == Ran(1, "", "Error: could not connect to a3s-power, run 'a3s-power serve' to start it\n")


def test_layers_on_their_way_are_told_once_each(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text("FROM m")
    digest = "sha256:" + "ab" * 32
    lines = (
        {"status": "pulling manifest"},
        {"status": "pulling abababababab", "digest": digest, "total": 10},
        {"status": "pulling abababababab", "digest": digest, "total": 10, "completed": 5},
        {"status": "pulling abababababab", "digest": digest, "total": 10, "completed": 10},
        {"status": "success"},
    )
    with scripted(_absent() | {"POST /api/create": Answer(lines=lines)}) as server:
        ran, _ = _created(shell, server, "mine")
    assert ran.err == "gathering model components\npulling manifest\npulling abababababab\nsuccess\n"


def test_an_error_of_the_server_ends_it(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text("FROM m")

    def refuse(asked: Asked) -> Answer:
        return Answer(lines=({"status": "parsing GGUF"}, {"error": "unknown type"}))

    with scripted(_absent() | {"POST /api/create": refuse}) as server:
        ran, _ = _created(shell, server, "mine")
    assert (ran.status, ran.err) == (1, "gathering model components\nparsing GGUF\nError: unknown type\n")
