"""`POST /v1/embeddings`: vectors of texts, or of token ids."""

import itertools
import sys
from array import array
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from starlette.responses import Response

from a3s_power.api.asked import few, local_name, options, stays
from a3s_power.api.endpoint import Call
from a3s_power.api.openai.answers import answer
from a3s_power.api.openai.tokens import TextOrTokens, as_texts, texts_or_tokens
from a3s_power.api.openai.wire import sent
from a3s_power.api.slices import written
from a3s_power.api.streams import while_here
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest, ModelNotFound, NotFound
from a3s_power.core.requests import Embed

_MEDIA: Final = ("float", "base64")


async def embeddings(call: Call) -> Response:
    """Vectors of one text or many."""
    body = await sent(call, _decoder, limits.EMBED_BODY_BYTES)
    in_base64 = body.in_base64()
    inputs, request = body.inputs(), body.to_domain()
    try:
        request = msgspec.structs.replace(request, texts=tuple(await as_texts(call, request, inputs)))
        made = await while_here(call.receive, lambda: call.service.inference.embed(request))
    except ModelNotFound as error:
        raise NotFound(f'model "{request.shown}" not found, try pulling it first') from error
    count = itertools.count()
    encode = _encoded if in_base64 else _numbers
    data = await written(
        made.vectors,
        lambda vector: b'{"object":"embedding","embedding":%b,"index":%d}' % (encode(vector), next(count)),
    )
    usage = {"prompt_tokens": made.prompt_tokens, "total_tokens": made.prompt_tokens}
    cut = {"truncated": made.cut} if made.cut else {}
    return answer({"object": "list", "data": msgspec.Raw(data), "model": body.model, "usage": usage} | cut)


class EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body. `input` is a text, a list of token ids, or a list of either; `options` and `keep_alive` are ours."""

    model: str | None = None
    input: Any = None
    dimensions: int | None = None
    encoding_format: str | None = None
    options: dict[str, Any] | None = None
    num_ctx: int | None = None
    keep_alive: Any = None

    def in_base64(self) -> bool:
        """Whether vectors are wanted as 32-bit floats in base64. Raises BadRequest for a form that is none."""
        form = (self.encoding_format or "float").lower()
        if form not in _MEDIA:
            wrong = f"Invalid value for 'encoding_format' = {self.encoding_format}."
            raise BadRequest(f"{wrong} Supported values: {list(_MEDIA)}.")
        return form == "base64"

    def to_domain(self) -> Embed:
        """What is asked for, all but the texts. Raises BadRequest, ModelNotFound and NotAllowed."""
        asked = self.options or {}
        if not (self.model or "").strip():
            raise ModelNotFound(self.model or "")
        return Embed(
            model=local_name(self.model or ""),
            shown=self.model or "",
            asked=options(asked if self.num_ctx is None else asked | {"num_ctx": self.num_ctx}),
            keep_alive=stays(self.keep_alive),
            texts=(),
            dimensions=max(0, self.dimensions or 0),
        )

    def inputs(self) -> list[TextOrTokens]:
        """What vectors are wanted of. Raises BadRequest."""
        if self.input is None or self.input == []:
            raise BadRequest("invalid input")
        found = texts_or_tokens(self.input)
        if found is None:
            raise BadRequest("invalid input type")
        few("inputs", len(found), limits.EMBED_INPUTS)
        return found


_decoder: Final = msgspec.json.Decoder(EmbeddingsRequest)


def _numbers(vector: Sequence[float]) -> bytes:
    return msgspec.json.encode(list(vector))


def _encoded(vector: Sequence[float]) -> bytes:
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return b'"%b"' % b64encode(floats.tobytes())
