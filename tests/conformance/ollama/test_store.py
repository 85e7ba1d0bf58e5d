"""Rows of the sheet of Ollama's API on what lies on disk: blobs, create, copy, delete, show and the list."""

import hashlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.core.manifest import LICENSE, MESSAGES, PARAMS, SYSTEM, TEMPLATE, ConfigBlob
from a3s_power.store import Store
from tests.fakes import client, lines
from tests.shared import BUILTIN_MODEL
from tests.stores import LLAMA, add_model, gguf


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _create(http: httpx2.Client, **body: Any) -> httpx2.Response:
    return http.post("/api/create", json={"model": "made"} | body)


def test_an_empty_store_is_an_empty_list(tmp_path: Path) -> None:
    """Row 4."""
    answer = client(tmp_path).get("/api/tags")
    assert (answer.status_code, answer.text) == (200, '{"models":[]}')
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_the_list_has_all_keys_in_order(http: httpx2.Client) -> None:
    """Section 2.6."""
    model = next(model for model in http.get("/api/tags").json()["models"] if model["name"] == "m:latest")
    assert list(model) == ["name", "model", "modified_at", "size", "digest", "details"]
    assert list(model["details"]) == [
        *("parent_model", "format", "family", "families", "parameter_size", "quantization_level"),
    ]
    assert (model["model"], model["details"]["families"], len(model["digest"])) == ("m:latest", None, 64)


def test_a_blob_is_there_or_not(http: httpx2.Client) -> None:
    """Rows 119, 120: and our own ways to read and remove one."""
    content = b"a blob"
    path = f"/api/blobs/{_digest(content)}"
    assert (http.head(path).status_code, http.get(path).status_code) == (404, 404)
    assert http.get(path).json() == {"error": f'blob "{_digest(content)}" not found'}
    first, second = http.post(path, content=content), http.post(path, content=b"not read")
    assert (first.status_code, first.content, second.status_code, second.content) == (201, b"", 200, b"")
    assert (http.head(path).status_code, http.get(path).content) == (200, content)
    assert (http.delete(path).status_code, http.head(path).status_code) == (200, 404)


def test_wrong_content_leaves_no_blob(http: httpx2.Client) -> None:
    """Row 121."""
    answer = http.post(f"/api/blobs/{_digest(b'right')}", content=b"wrong")
    assert answer.status_code == 400
    assert answer.json() == {"error": f'digest mismatch, expected "{_digest(b"right")}", got "{_digest(b"wrong")}"'}
    assert http.head(f"/api/blobs/{_digest(b'wrong')}").status_code == 404


def test_a_blob_in_use_stays(http: httpx2.Client) -> None:
    model = http.post("/api/show", json={"model": "m"}).json()["modelfile"]
    digest = model.partition("sha256-")[2].partition("\n")[0]
    assert http.delete(f"/api/blobs/sha256:{digest}").status_code == 409


def test_a_model_is_made_from_another(http: httpx2.Client) -> None:
    """Row 128."""
    answer = _create(http, **{"from": "m", "system": "Be brief.", "parameters": {"stop": ["a", "b"], "top_k": 3}})
    assert answer.headers["content-type"] == "application/x-ndjson"
    said = [line["status"].split(" sha256:")[0] for line in lines(answer.text)]
    assert said == [
        *("using existing layer", "creating new layer", "creating new layer"),
        *("writing manifest", "success"),
    ]
    shown = http.post("/api/show", json={"model": "made"}).json()
    assert shown["system"] == "Be brief."
    assert sorted(shown["parameters"].split("\n")) == [
        'stop                           "a"',
        'stop                           "b"',
        "top_k                          3",
    ]
    assert http.request("DELETE", "/api/delete", json={"name": "made"}).content == b""


@pytest.mark.parametrize("given", [{"from": "m"}, {"from": "M:latest", "license": "free"}])
def test_a_create_can_be_one_answer(http: httpx2.Client, given: dict[str, Any]) -> None:
    """Row 129."""
    answer = _create(http, stream=False, **given)
    assert (answer.text, answer.headers["content-type"]) == ('{"status":"success"}', "application/json")
    http.request("DELETE", "/api/delete", json={"model": "made"})


def test_a_model_is_made_from_an_uploaded_file(http: httpx2.Client) -> None:
    """Section 2.9."""
    content = BUILTIN_MODEL.read_bytes()
    http.post(f"/api/blobs/{_digest(content)}", content=content)
    answer = _create(http, files={"power.gguf": _digest(content)})
    assert lines(answer.text)[0] == {"status": "parsing GGUF"}
    assert lines(answer.text)[-1] == {"status": "success"}
    http.request("DELETE", "/api/delete", json={"model": "made"})


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"license": 1}, 500, "json: cannot unmarshal number into Go value of type []string"),
        ({"license": [1]}, 500, "json: cannot unmarshal number into Go value of type string"),
        ({"draft_quantize": "Q8_0"}, 400, "--draft-quantize requires a DRAFT model"),
        ({"model": "bad name"}, 400, "invalid model name"),
        ({"from": "/etc/passwd"}, 400, "invalid model name"),
        ({"info": {"context_length": "x"}}, 400, 'info field "context_length" must be a number'),
        (
            {"files": {"a": 1}},
            400,
            "json: cannot unmarshal number into Go struct field CreateRequest.files of type string",
        ),
    ],
)
def test_a_create_is_refused(http: httpx2.Client, body: dict[str, Any], status: int, error: str) -> None:
    """Section 2.9."""
    answer = _create(http, **{"from": "m"} | body)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_a_draft_model_is_kept_and_shown(http: httpx2.Client) -> None:
    """Section 2.9."""
    content = BUILTIN_MODEL.read_bytes()
    assert http.post(f"/api/blobs/{_digest(content)}", content=content).status_code in (200, 201)
    answer = _create(http, draft_files={"d.gguf": _digest(content)}, **{"from": "m"})
    assert lines(answer.text)[-1] == {"status": "success"}
    shown = http.post("/api/show", json={"model": "made"}).json()["modelfile"].splitlines()
    (draft,) = [line for line in shown if line.startswith("DRAFT ")]
    assert draft.endswith(_digest(content).replace(":", "-"))
    assert http.request("DELETE", "/api/delete", json={"model": "made"}).status_code == 200


def test_files_beside_a_source_cannot_be_another_model(http: httpx2.Client) -> None:
    """Section 2.9: where Ollama leaves them out without a word."""
    content = BUILTIN_MODEL.read_bytes()
    assert http.post(f"/api/blobs/{_digest(content)}", content=content).status_code in (200, 201)
    answer = _create(http, stream=False, files={"m.gguf": _digest(content)}, **{"from": "m"})
    error = "'from' names a model, and the file \"m.gguf\" is another one"
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_copy_answers_with_nothing(http: httpx2.Client) -> None:
    """Rows 134, 138."""
    for destination in ("copied", "copied", "m"):
        answer = http.post("/api/copy", json={"source": "m", "destination": destination})
        assert (answer.status_code, answer.content) == (200, b"")
    answer = http.request("DELETE", "/api/delete", json={"name": "copied"})
    assert (answer.status_code, answer.content) == (200, b"")


def test_show_takes_the_older_key(http: httpx2.Client) -> None:
    """Row 145."""
    assert http.post("/api/show", json={"name": "m"}).status_code == 200


def test_show_leaves_long_lists_out_unless_told_not_to(http: httpx2.Client) -> None:
    """Row 146."""
    brief = http.post("/api/show", json={"model": "m"}).json()
    verbose = http.post("/api/show", json={"model": "m", "verbose": True}).json()
    assert brief["model_info"]["tokenizer.ggml.tokens"] is None
    assert len(verbose["model_info"]["tokenizer.ggml.tokens"]) > 100
    assert brief["tensors"] == verbose["tensors"]
    assert list(brief["tensors"][0]) == ["name", "type", "shape"]


def test_show_answers_copilot_with_the_name_it_asked_for(http: httpx2.Client) -> None:
    """Row 147."""
    answer = http.post("/api/show", json={"model": "M"}, headers={"User-Agent": "GitHubCopilotChat/1.2"})
    assert answer.json()["model_info"]["general.basename"] == "M"


def test_show_tells_all_of_a_model(tmp_path: Path) -> None:
    """Section 2.8: keys in their order, texts as they are written."""
    config = ConfigBlob(model_format="gguf", model_family="llama", renderer="r", parser="p", requires="0.1.0")
    add_model(
        Store(tmp_path),
        "full",
        (TEMPLATE, b"{{ .Prompt }}!"),
        (SYSTEM, b"Be brief."),
        (PARAMS, b'{"stop":["a\\"b"],"temperature":0.7,"num_ctx":131072,"seed":1048576,"use_mmap":true}'),
        (LICENSE, b"one"),
        (LICENSE, b"two"),
        (MESSAGES, b'[{"role":"user","content":"hi"}]'),
        weights=gguf({**LLAMA, "llama.rope.freq_base": 10000.0, "llama.attention.layer_norm_rms_epsilon": 1e-5}),
        config=config,
    )
    answer = client(tmp_path).post("/api/show", json={"model": "full", "system": "Be <long>.", "options": {"top_k": 5}})
    shown = answer.json()
    assert list(shown) == [
        *("license", "modelfile", "parameters", "template", "system", "details", "messages", "model_info"),
        *("capabilities", "modified_at", "requires"),
    ]
    assert shown["license"] == "one\ntwo"
    assert shown["template"] == "{{ .Prompt }}!"
    assert shown["system"] == "Be <long>."
    assert shown["messages"] == [{"role": "user", "content": "hi"}]
    assert sorted(shown["parameters"].split("\n")) == [
        "num_ctx                        131072",
        "seed                           1048576",
        'stop                           "a\\"b"',
        "temperature                    0.7",
        "top_k                          5",
        "use_mmap                       true",
    ]
    assert b'"llama.rope.freq_base":10000}' in answer.content
    assert b'"llama.attention.layer_norm_rms_epsilon":0.00001' in answer.content
    assert "general.name" not in shown["model_info"]
    modelfile = shown["modelfile"].splitlines()
    assert modelfile[:4] == [
        '# Modelfile generated by "ollama show"',
        "# To build a new Modelfile based on this, replace FROM with:",
        "# FROM full:latest",
        "",
    ]
    assert [line.split()[0] for line in modelfile[4:]] == [
        *("FROM", "TEMPLATE", "SYSTEM", "RENDERER", "PARSER"),
        *["PARAMETER"] * 6,
        *("LICENSE", "LICENSE", "MESSAGE"),
    ]
