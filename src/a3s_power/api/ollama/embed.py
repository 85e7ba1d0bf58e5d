"""`POST /api/embed` and the older `POST /api/embeddings`: vectors of texts."""

from typing import Any, Final

import msgspec
from starlette.responses import Response

from a3s_power.api.asked import local_name, options, stays
from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.gofloats import float32s, float64
from a3s_power.api.ollama.goform import JSON_UTF8, answer, refusal
from a3s_power.api.ollama.gojson import GoStruct, Integer
from a3s_power.api.ollama.wire import sent
from a3s_power.api.slices import written
from a3s_power.api.streams import while_here
from a3s_power.core import limits
from a3s_power.core.errors import (
    BadRequest,
    EngineFailed,
    EngineMissing,
    EngineRefused,
    LoadFailed,
    ModelNotFound,
    NotFound,
    PowerError,
    PromptTooLong,
)
from a3s_power.core.manifest import go_json
from a3s_power.core.requests import Embed, Embeddings

_NO_VECTORS: Final = b'"embeddings":[]'


async def embed(call: Call) -> Response:
    """Vectors of one text or many."""
    body = await sent(call, EmbedRequest, limits.EMBED_BODY_BYTES)
    try:
        made = await _made(call, body.to_domain())
    except EngineFailed as error:
        raise _as_bad_request(error) from error
    answered = EmbedAnswer(
        model=body.model,
        embeddings=[],
        total_duration=made.total_ns,
        load_duration=made.load_ns,
        prompt_eval_count=made.prompt_tokens,
        truncated=made.cut,
    )
    # Put in behind the encoder, which looks through all it writes.
    numbers = await written(made.vectors, float32s)
    written_out = go_json(answered).replace(_NO_VECTORS, _NO_VECTORS[:-2] + numbers, 1)
    return Response(written_out, media_type=JSON_UTF8)


async def embeddings(call: Call) -> Response:
    """The vector of one text; an empty text has none."""
    body = await sent(call, EmbeddingRequest, limits.EMBED_BODY_BYTES)
    try:
        made = await _made(call, body.to_domain())
    except (PromptTooLong, EngineRefused) as error:
        return refusal(error, status=PowerError.status)
    numbers = b",".join(float64(number) for vector in made.vectors for number in vector)
    return answer({"embedding": msgspec.Raw(b"[%b]" % numbers)})


class EmbedRequest(GoStruct, frozen=True, kw_only=True):
    """The body of embed."""

    model: str = ""
    input: Any = None
    keep_alive: Any = None
    truncate: bool = True
    dimensions: Integer = 0
    options: dict[str, Any] = msgspec.field(default_factory=dict)

    def to_domain(self) -> Embed:
        """What is asked for. Raises BadRequest, ModelNotFound and NotAllowed, in Ollama's order."""
        keep_alive, asked, texts = stays(self.keep_alive), options(self.options), _texts(self.input)
        if not self.model.strip():
            raise ModelNotFound(self.model)
        return Embed(
            model=local_name(self.model),
            shown=self.model,
            asked=asked,
            keep_alive=keep_alive,
            texts=texts,
            truncate=self.truncate,
            dimensions=max(0, self.dimensions),
        )


class EmbeddingRequest(GoStruct, frozen=True, kw_only=True):
    """The body of embeddings."""

    model: str = ""
    prompt: str = ""
    keep_alive: Any = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)

    def to_domain(self) -> Embed:
        """What is asked for. Raises BadRequest and NotAllowed, in Ollama's order."""
        keep_alive, asked = stays(self.keep_alive), options(self.options)
        if not self.model.strip():
            raise BadRequest("model is required")
        return Embed(
            model=local_name(self.model),
            shown=self.model,
            asked=asked,
            keep_alive=keep_alive,
            texts=(self.prompt,) if self.prompt else (),
            truncate=False,
            exact=True,
        )


class EmbedAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of embed. `truncated` is ours: the places of the texts that lost their ends."""

    model: str
    embeddings: list[list[float]]
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    truncated: tuple[int, ...] = ()


def _texts(value: object) -> tuple[str, ...]:
    match value:
        case None | "" | []:
            return ()
        case str():
            return (value,)
        case list() if all(isinstance(each, str) for each in value):
            if len(value) > limits.EMBED_INPUTS:
                raise BadRequest(f"too many inputs: the limit is {limits.EMBED_INPUTS}")
            return tuple(value)
    raise BadRequest("invalid input type")


async def _made(call: Call, request: Embed) -> Embeddings:
    try:
        return await while_here(call.receive, lambda: call.service.inference.embed(request))
    except ModelNotFound as error:
        raise NotFound(f'model "{request.shown}" not found, try pulling it first') from error


def _as_bad_request(error: EngineFailed) -> PowerError:
    """A failure while it runs is the request's fault here, as with Ollama; one of loading the model is not."""
    kept = isinstance(error, LoadFailed | EngineMissing | EngineRefused)
    return error if kept else BadRequest(error.message)
