"""The old `modelfile` field of create: what it becomes, and that it names no file of the server."""

from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.events import Progress
from a3s_power.core.messages import Message
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from tests.fakes import FakeTransfers, client, service

_HEX = "ab" * 32
_FILE = {f"sha256-{_HEX}": f"sha256:{_HEX}"}
_NAME = ModelName.parse("made")
_WHOLE = (
    "FROM m\nTEMPLATE t\nSYSTEM s\nRENDERER r\nPARSER p\nREQUIRES 0.1.0\nLICENSE one\nLICENSE two\nPARAMETER top_k 3\n"
    f"PARAMETER stop a\nPARAMETER low_vram true\nMESSAGE user hi\nADAPTER @sha256:{_HEX}\nDRAFT @sha256:{_HEX}\n"
)


def _created(folder: Path, **body: Any) -> tuple[int, dict[str, Any], list[Any]]:
    """Status and body of the answer, and what the service was asked."""
    transfers = FakeTransfers(Progress("success"))
    http = client(folder, service(folder, transfers=transfers))
    answer = http.post("/api/create", json={"model": "made", "stream": False} | body)
    return answer.status_code, answer.json(), transfers.asked


def _asked(folder: Path, **body: Any) -> Create:
    status, _, asked = _created(folder, **body)
    assert status == 200
    (create,) = asked
    assert isinstance(create, Create)
    return create


def test_all_of_it_counts(tmp_path: Path) -> None:
    assert _asked(tmp_path, modelfile=_WHOLE) == Create(
        model=_NAME,
        source=ModelName.parse("m"),
        adapters=_FILE,
        draft_files=_FILE,
        template="t",
        system="s",
        licenses=("one", "two"),
        parameters={"top_k": 3, "stop": ["a"]},
        messages=(Message(role="user", content="hi"),),
        renderer="r",
        parser="p",
        requires="0.1.0",
    )


@pytest.mark.parametrize(
    "value",
    [
        f"@sha256:{_HEX}",
        f"@sha256-{_HEX}",
        f"/root/.ollama/models/blobs/sha256-{_HEX}",
        f"C:\\Users\\x\\blobs\\sha256-{_HEX}",
    ],
)
def test_a_blob_is_named_by_its_digest_alone(tmp_path: Path, value: str) -> None:
    made = _asked(tmp_path, modelfile=f"FROM {value}")
    assert (made.source, made.files) == (None, _FILE)


def test_several_blobs_are_files_together(tmp_path: Path) -> None:
    other = "cd" * 32
    made = _asked(tmp_path, modelfile=f"FROM @sha256:{_HEX}\nFROM @sha256:{other}")
    assert made.files == {**_FILE, f"sha256-{other}": f"sha256:{other}"}


def test_the_request_goes_before_it(tmp_path: Path) -> None:
    made = _asked(tmp_path, modelfile=_WHOLE, system="own", parameters={"top_k": 5}, license="mine")
    assert (made.system, made.template, made.licenses) == ("own", "t", ("mine",))
    assert made.parameters == {"top_k": 5, "stop": ["a"]}


@pytest.mark.parametrize("source", [{"from": "m"}, {"files": _FILE}])
def test_beside_a_source_it_does_not_count(tmp_path: Path, source: dict[str, Any]) -> None:
    assert _asked(tmp_path, modelfile="nonsense", **source).system == ""


_UPLOAD = "upload the file to /api/blobs and name it @sha256:…"


@pytest.mark.parametrize(
    ("modelfile", "status", "error"),
    [
        *(
            (f"FROM {path}", 400, f'FROM "{path}" is neither a model\'s name nor a blob: {_UPLOAD}')
            for path in ("/etc/passwd", "/nope", "./x", "~/x", "file:///etc/passwd", "@sha256:abc", "/x/sha256-abc")
        ),
        ("FROM m\nADAPTER ./lora.gguf", 400, f'ADAPTER "./lora.gguf" is no blob: {_UPLOAD}'),
        (f"FROM m\nFROM @sha256:{_HEX}", 400, "several FROM must all name blobs, as @sha256:…"),
        ("FROM m\nFROM n", 400, "several FROM must all name blobs, as @sha256:…"),
        ("FROM m:cloud", 403, "ollama cloud is disabled: remote model is unavailable"),
        ("FROM m\nDRAFT d", 400, f'DRAFT "d" is no blob: {_UPLOAD}'),
        ("FROM m\nPARAMETER bogus 1", 400, "unknown parameter 'bogus'"),
        ("SYSTEM s", 400, "no FROM line"),
        ("FROM  \n", 400, f'FROM "" is neither a model\'s name nor a blob: {_UPLOAD}'),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, modelfile: str, status: int, error: str) -> None:
    """PATH-04: nothing tells whether a path exists."""
    assert _created(tmp_path, modelfile=modelfile) == (status, {"error": error}, [])
