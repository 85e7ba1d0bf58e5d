"""Ranking on every path and in every shape, on a real server with a small random model that ranks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.core.errors import PowerError, QueueFull
from a3s_power.core.manifest import ConfigBlob
from a3s_power.core.requests import Ranked, Ranking, Rerank
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.fakes import FakeInference, client, service
from tests.models import tiny_reranker
from tests.running import DEADLINE, running
from tests.stores import add_model

_PATHS = ["/v1/rerank", "/v1/reranking", "/rerank", "/v2/rerank", "/api/rerank"]
_DOCUMENTS = ["the cat sat", "dogs bark", "a cat", "rain and wind"]
_ASKED = {"model": "r", "query": "cat", "documents": _DOCUMENTS}
_PLAYED = Ranking(
    results=(Ranked(index=1, score=0.75, logit=1.25, truncated=True), Ranked(index=0, score=0.5, logit=0.0)),
    prompt_tokens=9,
    load_ns=3,
    total_ns=7,
)


@pytest.fixture(scope="module")
def ranking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a server whose model `r` ranks."""
    folder = tmp_path_factory.mktemp("models")
    file = folder.parent / "r.gguf"
    tiny_reranker(file)
    config = ConfigBlob(model_format="gguf", model_family="bert")
    add_model(Store(folder), "r", weights=file.read_bytes(), config=config)
    with (
        running(lambda: open_local(LocalSettings(models=folder))) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as opened,
    ):
        yield opened


def _played(folder: Path, path: str, **body: Any) -> httpx2.Response:
    http = client(folder, service(folder, FakeInference(ranking=_PLAYED)))
    return http.post(path, json=_ASKED | {"documents": ["a", {"text": "b", "title": "t"}]} | body)


@pytest.mark.parametrize("path", _PATHS)
def test_documents_are_ranked_best_first(ranking: httpx2.Client, path: str) -> None:
    answer = ranking.post(path, json=_ASKED)
    results = answer.json()["results"]
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert sorted(result["index"] for result in results) == [0, 1, 2, 3]
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    raw = [result["raw_score"] for result in results]
    assert raw == sorted(raw, reverse=True)
    assert len(set(raw)) == 4
    assert all("document" not in result for result in results)


def test_all_paths_rank_alike(ranking: httpx2.Client) -> None:
    answers = [ranking.post(path, json=_ASKED).json()["results"] for path in _PATHS]
    assert answers == [answers[0]] * len(_PATHS)


@pytest.mark.parametrize("path", _PATHS)
def test_only_the_best_come_back_with_their_texts(ranking: httpx2.Client, path: str) -> None:
    documents = [_DOCUMENTS[0], *({"text": text} for text in _DOCUMENTS[1:])]
    whole = ranking.post(path, json=_ASKED).json()["results"]
    asked = _ASKED | {"documents": documents, "top_n": 2, "return_documents": True}
    best = ranking.post(path, json=asked).json()["results"]
    assert [result["index"] for result in best] == [result["index"] for result in whole[:2]]
    assert [result["document"]["text"] for result in best] == [_DOCUMENTS[result["index"]] for result in best]
    more = ranking.post(path, json=_ASKED | {"top_n": 99, "return_documents": False}).json()["results"]
    assert more == whole


def test_a_document_that_is_cut_is_told(ranking: httpx2.Client) -> None:
    asked = _ASKED | {"documents": ["short", "word " * 300]}
    cut = {
        result["index"]: result.get("truncated", False)
        for result in ranking.post("/rerank", json=asked).json()["results"]
    }
    assert cut == {0: False, 1: True}
    refused = ranking.post("/rerank", json=asked | {"truncate": False})
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")


def test_the_first_version_answers_as_jina_does(tmp_path: Path) -> None:
    for path in ("/v1/rerank", "/v1/reranking", "/rerank"):
        answer = _played(tmp_path, path, return_documents=True).json()
        assert answer.pop("id").startswith("rerank-")
        assert answer == {
            "object": "list",
            "model": "r",
            "results": [
                {
                    "index": 1,
                    "relevance_score": 0.75,
                    "raw_score": 1.25,
                    "document": {"text": "b"},
                    "truncated": True,
                },
                {"index": 0, "relevance_score": 0.5, "raw_score": 0.0, "document": {"text": "a"}},
            ],
            "usage": {"prompt_tokens": 9, "total_tokens": 9},
        }


def test_the_second_version_answers_as_cohere_does(tmp_path: Path) -> None:
    answer = _played(tmp_path, "/v2/rerank").json()
    assert list(answer) == ["id", "results", "meta"]
    assert answer["meta"] == {"api_version": {"version": "2"}, "tokens": {"input_tokens": 9}}
    assert [result["index"] for result in answer["results"]] == [1, 0]


def test_our_own_answers_with_times(tmp_path: Path) -> None:
    answer = _played(tmp_path, "/api/rerank").json()
    assert list(answer) == ["model", "results", "total_duration", "load_duration", "prompt_eval_count"]
    assert (answer["total_duration"], answer["load_duration"], answer["prompt_eval_count"]) == (7, 3, 9)


def test_a_request_reaches_the_model_as_it_is(tmp_path: Path) -> None:
    inference = FakeInference(ranking=_PLAYED)
    asked = _ASKED | {"top_n": 2, "truncate": False, "keep_alive": "5m", "options": {"num_ctx": 99}, "unknown": 1}
    client(tmp_path, service(tmp_path, inference)).post("/v1/rerank", json=asked)
    (request,) = inference.asked
    assert isinstance(request, Rerank)
    assert (request.query, list(request.documents), request.top, request.truncate) == ("cat", _DOCUMENTS, 2, False)
    assert (request.keep_alive, request.asked.checked().num_ctx) == (300.0, 99)


def _message(path: str, answer: httpx2.Response) -> str:
    body = answer.json()
    match path:
        case "/v2/rerank":
            assert list(body) == ["message"]
            return str(body["message"])
        case "/api/rerank":
            assert list(body) == ["error"]
            return str(body["error"])
    assert list(body["error"]) == ["message", "type", "param", "code"]
    return str(body["error"]["message"])


@pytest.mark.parametrize("path", _PATHS)
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"model": None}, "model is required"),
        ({"query": ""}, "query is required"),
        ({"documents": []}, "documents is required"),
        ({"documents": ["x"] * 2049}, "too many documents: the limit is 2048"),
        ({"top_n": 0}, "top_n must be at least 1"),
        ({"top_n": -1}, "top_n must be at least 1"),
        ({"documents": [1]}, "invalid request body: Expected `str | object`, got `int` - at `$.documents[0]`"),
        ({"documents": [{}]}, "invalid request body: Object missing required field `text` - at `$.documents[0]`"),
        ({"model": "bad name"}, "invalid model name"),
    ],
)
def test_a_wrong_request_is_refused(tmp_path: Path, path: str, body: dict[str, Any], message: str) -> None:
    inference = FakeInference()
    answer = client(tmp_path, service(tmp_path, inference)).post(path, json=_ASKED | body)
    assert (answer.status_code, _message(path, answer)) == (400, message)
    assert inference.asked == []


@pytest.mark.parametrize("path", _PATHS)
def test_a_model_must_be_there_and_rank(http: httpx2.Client, path: str) -> None:
    missing = http.post(path, json=_ASKED | {"model": "nope"})
    assert (missing.status_code, _message(path, missing)) == (404, "model 'nope' not found")
    other = http.post(path, json=_ASKED | {"model": "m"})
    assert (other.status_code, _message(path, other)) == (501, '"m" does not support reranking')


class Full(FakeInference):
    """A machine whose queue is full."""

    async def rerank(self, request: Rerank) -> Ranking:
        """Not now."""
        error: PowerError = QueueFull()
        raise error


@pytest.mark.parametrize("path", _PATHS)
def test_a_full_queue_says_when_to_come_again(tmp_path: Path, path: str) -> None:
    answer = client(tmp_path, service(tmp_path, Full())).post(path, json=_ASKED)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert _message(path, answer).startswith("server busy")
