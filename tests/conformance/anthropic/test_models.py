"""The list of models has two forms on one path: clients of Anthropic are known by a header of theirs."""

from pathlib import Path

import pytest

from a3s_power.store import Store
from tests.fakes import client
from tests.stores import add_model

_VERSION = {"anthropic-version": "2023-06-01"}
_NAMES = ("a", "b", "ns/c:q4", "hf.co/org/repo:Q8_0")


def _stored(folder: Path) -> None:
    for name in _NAMES:
        add_model(Store(folder), name)


def test_the_header_decides_the_form(tmp_path: Path) -> None:
    """Row 50."""
    _stored(tmp_path)
    http = client(tmp_path)
    theirs, others = http.get("/v1/models", headers=_VERSION).json(), http.get("/v1/models").json()
    assert list(theirs) == ["data", "has_more", "first_id", "last_id"]
    assert list(theirs["data"][0]) == ["id", "type", "display_name", "created_at"]
    assert sorted(model["id"] for model in theirs["data"]) == ["a:latest", "b:latest", "hf.co/org/repo:Q8_0", "ns/c:q4"]
    assert (theirs["has_more"], theirs["first_id"]) == (False, theirs["data"][0]["id"])
    assert others["object"] == "list"


@pytest.mark.parametrize("name", _NAMES)
def test_a_model_is_shown_by_any_name_it_has(tmp_path: Path, name: str) -> None:
    _stored(tmp_path)
    model = client(tmp_path).get(f"/v1/models/{name}", headers=_VERSION).json()
    assert model["type"] == "model"
    assert model["id"].removesuffix(":latest") == name
    assert model["created_at"].endswith("Z")


def test_pages_are_walked_both_ways(tmp_path: Path) -> None:
    """Row 50."""
    _stored(tmp_path)
    http = client(tmp_path)
    every = [model["id"] for model in http.get("/v1/models", headers=_VERSION).json()["data"]]
    first = http.get("/v1/models", params={"limit": 3}, headers=_VERSION).json()
    assert ([model["id"] for model in first["data"]], first["has_more"]) == (every[:3], True)
    rest = http.get("/v1/models", params={"limit": 3, "after_id": first["last_id"]}, headers=_VERSION).json()
    assert ([model["id"] for model in rest["data"]], rest["has_more"]) == (every[3:], False)
    back = http.get("/v1/models", params={"limit": 2, "before_id": every[3]}, headers=_VERSION).json()
    assert ([model["id"] for model in back["data"]], back["has_more"]) == (every[1:3], True)


@pytest.mark.parametrize("limit", ["0", "1001", "x", "-1"])
def test_a_limit_must_be_one(tmp_path: Path, limit: str) -> None:
    answer = client(tmp_path).get("/v1/models", params={"limit": limit}, headers=_VERSION)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_no_models_are_an_empty_page(tmp_path: Path) -> None:
    """The model that comes with the program is not in this store."""
    answer = client(tmp_path).get("/v1/models", headers=_VERSION).json()
    assert answer == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(("path", "status"), [("/v1/models/nope", 404), ("/v1/models/bad%20name", 400)])
def test_a_refusal_has_the_form_of_the_header(tmp_path: Path, path: str, status: int) -> None:
    http = client(tmp_path)
    theirs, others = http.get(path, headers=_VERSION), http.get(path)
    assert (theirs.status_code, others.status_code) == (status, status)
    assert theirs.json()["type"] == "error"
    assert list(others.json()) == ["error"]
