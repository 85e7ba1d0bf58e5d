"""`/v1/rerank` and its other paths: documents by how well they answer a query, in the shapes of Cohere and Jina."""

from collections.abc import Callable
from secrets import token_hex
from typing import Any, Final

import msgspec
from starlette.responses import Response

from a3s_power.api.asked import decoded, few, local_name, options, reader, stays
from a3s_power.api.endpoint import Call, Endpoint
from a3s_power.api.ollama import goform
from a3s_power.api.openai import errors as openai
from a3s_power.api.sentences import sentence
from a3s_power.api.streams import while_here
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest, PowerError
from a3s_power.core.requests import Ranked, Ranking, Rerank

_JSON: Final = "application/json"
_COHERE: Final = {"api_version": {"version": "2"}}


class Document(msgspec.Struct, frozen=True):
    """A document that is an object; of its fields the text is ranked."""

    text: str


class RerankRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body. Unknown fields are ignored, and `null` is as absent.

    `truncate` says whether a document that is too long may be cut; it and the last two are ours.
    """

    model: str | None = None
    query: str | None = None
    documents: tuple[str | Document, ...] | None = None
    top_n: int | None = None
    return_documents: bool | None = None
    truncate: bool | None = None
    options: dict[str, Any] | None = None
    keep_alive: Any = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The documents' texts."""
        return tuple([each if isinstance(each, str) else each.text for each in self.documents or ()])

    def to_domain(self) -> Rerank:
        """What is asked for. Raises BadRequest and NotAllowed, in the order of the fields."""
        if not self.model:
            raise BadRequest("model is required")
        if not self.query:
            raise BadRequest("query is required")
        if not self.documents:
            raise BadRequest("documents is required")
        few("documents", len(self.documents), limits.RERANK_DOCUMENTS)
        if self.top_n is not None and self.top_n < 1:
            raise BadRequest("top_n must be at least 1")
        return Rerank(
            model=local_name(self.model),
            shown=self.model,
            asked=options(self.options or {}),
            keep_alive=stays(self.keep_alive),
            query=self.query,
            documents=self.texts,
            top=self.top_n or 0,
            truncate=self.truncate is not False,
        )


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A document by its place in the request: its score between 0 and 1, and what the model itself said."""

    index: int
    relevance_score: float
    raw_score: float
    document: dict[str, str] | None = None
    truncated: bool = False


_read: Final = reader(RerankRequest)


async def _ranked(call: Call) -> tuple[RerankRequest, Ranking]:
    body = await decoded(call, _read, limits.EMBED_BODY_BYTES)
    request = body.to_domain()
    return body, await while_here(call.receive, lambda: call.service.inference.rerank(request))


def _results(body: RerankRequest, ranking: Ranking) -> list[Result]:
    texts = body.texts if body.return_documents else None
    return [_result(ranked, texts) for ranked in ranking.results]


def _result(ranked: Ranked, texts: tuple[str, ...] | None) -> Result:
    return Result(
        index=ranked.index,
        relevance_score=ranked.score,
        raw_score=ranked.logit,
        document={"text": texts[ranked.index]} if texts is not None else None,
        truncated=ranked.truncated,
    )


async def rerank(call: Call) -> Response:
    """The ranking, in the shape that Jina's clients and Cohere's older ones read."""
    body, ranking = await _ranked(call)
    return _answer(
        {
            "id": f"rerank-{token_hex(12)}",
            "object": "list",
            "model": body.model,
            "results": _results(body, ranking),
            "usage": {"prompt_tokens": ranking.prompt_tokens, "total_tokens": ranking.prompt_tokens},
        }
    )


async def rerank_v2(call: Call) -> Response:
    """The ranking, in the shape of the second version of Cohere's API."""
    body, ranking = await _ranked(call)
    meta = _COHERE | {"tokens": {"input_tokens": ranking.prompt_tokens}}
    return _answer({"id": f"rerank-{token_hex(12)}", "results": _results(body, ranking), "meta": meta})


async def rerank_ollama(call: Call) -> Response:
    """The ranking, with times and counts as Ollama tells them."""
    body, ranking = await _ranked(call)
    return _answer(
        {
            "model": body.model,
            "results": _results(body, ranking),
            "total_duration": ranking.total_ns,
            "load_duration": ranking.load_ns,
            "prompt_eval_count": ranking.prompt_tokens,
        }
    )


def _answer(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type=_JSON)


def _refusal_v2(error: PowerError) -> Response:
    """An error as Cohere's clients read it, with the status and headers of any other dialect's."""
    response = openai.refusal(error)
    whole = msgspec.json.encode({"message": sentence(error)})
    kept = {name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")}
    return Response(whole, response.status_code, media_type=_JSON, headers=kept)


def _at(path: str, handler: Callable[..., Any], dress: Callable[[PowerError], Response]) -> Endpoint:
    return Endpoint(("POST",), path, "infer", handler, dress, RerankRequest)


ENDPOINTS: Final = (
    *(_at(path, rerank, openai.refusal) for path in ("/v1/rerank", "/v1/reranking", "/rerank")),
    _at("/v2/rerank", rerank_v2, _refusal_v2),
    _at("/api/rerank", rerank_ollama, goform.refusal),
)
