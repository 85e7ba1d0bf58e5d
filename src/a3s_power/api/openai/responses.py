"""`POST /v1/responses`: items answered with items, in one piece or as a stream, and kept where that is wanted."""

from functools import partial
from secrets import token_hex
from typing import Any, Final, NamedTuple

import msgspec
from starlette.responses import Response

from a3s_power.aio import in_thread
from a3s_power.api import sse
from a3s_power.api.asked import decoded
from a3s_power.api.endpoint import Call
from a3s_power.api.openai.answers import answer
from a3s_power.api.openai.errors import error_event, refusal
from a3s_power.api.openai.responses_events import Told
from a3s_power.api.openai.responses_items import listed
from a3s_power.api.openai.responses_kept import Keeping, earlier, refers, resolved
from a3s_power.api.openai.responses_wire import ResponsesRequest
from a3s_power.api.openai.wire import read
from a3s_power.api.openai.zstd import UNPACKERS
from a3s_power.api.streams import EventResponse, Form
from a3s_power.core import limits
from a3s_power.core.events import Done, Event, Rendered
from a3s_power.core.requests import Chat

_FORM: Final = Form(sse.MEDIA_TYPE, refusal, error_event)

_decoder: Final = msgspec.json.Decoder(ResponsesRequest)


async def responses(call: Call) -> Response:
    """Answer items."""
    body, items, request = await _asked(call)
    number = token_hex(24)
    told = Told(body.begun(number), number)
    events, kept = call.service.inference.chat(request), call.service.responses
    if kept is not None and body.store is not False:
        told.response["store"] = True
        events = Keeping(kept, items, number).watched(events, told)
    form = Form(sse.MEDIA_TYPE, refusal, told.failed)
    if body.stream:
        return EventResponse(events, told.say, form, beat=lambda: sse.COMMENT, headers=sse.HEADERS)
    return EventResponse(events, partial(_whole, told), form)


def _whole(told: Told, event: Event) -> Response | None:
    """The whole answer, once the last event has come."""
    if isinstance(event, Done):
        told.finish(event)
        return answer(told.response)
    told.say(event)
    return None


async def input_tokens(call: Call) -> Response:
    """`POST /v1/responses/input_tokens`: how many tokens the prompt has that such a request becomes."""
    _, _, request = await _asked(call)
    events = call.service.inference.chat(msgspec.structs.replace(request, render_only=True))
    return EventResponse(events, _counted, _FORM)


def _counted(event: Event) -> Response | None:
    """Of a conversation without any message there is no prompt."""
    if not isinstance(event, Rendered | Done):
        return None
    tokens = event.tokens if isinstance(event, Rendered) else 0
    return answer({"object": "response.input_tokens", "input_tokens": tokens})


class _Asked(NamedTuple):
    """A body, the items in it, and the chat that they ask for, unless that is to be made of others, too."""

    body: ResponsesRequest
    items: list[Any]
    chat: Chat | None


async def _asked(call: Call) -> tuple[ResponsesRequest, list[Any], Chat]:
    """The body, the items in it, and the chat that they ask for together with those before them."""
    body, items, chat = await decoded(call, _read, limits.CHAT_BODY_BYTES, UNPACKERS)
    if chat is None:
        kept = call.service.responses
        items = await resolved(kept, items)
        chat = await in_thread(body.to_domain, [*await earlier(kept, body.previous_response_id), *items])
    return body, items, chat


def _read(content: bytes) -> _Asked:
    """What is asked for, with all its pictures decoded: what takes long does not take it from others."""
    body = read(_decoder, content)
    items = listed(body.input)
    alone = not body.previous_response_id and not any(map(refers, items))
    return _Asked(body, items, body.to_domain(items) if alone else None)
