"""`POST /v1/messages` and `POST /v1/messages/count_tokens`: a conversation answered, or its prompt counted."""

from typing import Final

from starlette.responses import Response

from a3s_power.api import sse
from a3s_power.api.anthropic.answers import Whole, answer, error_event, refusal, stream_headers
from a3s_power.api.anthropic.events import Stream
from a3s_power.api.anthropic.wire import CountRequest, MessagesRequest
from a3s_power.api.asked import decoded, reader
from a3s_power.api.endpoint import Call
from a3s_power.api.streams import EventResponse, Form
from a3s_power.core import limits
from a3s_power.core.events import Event, Rendered
from a3s_power.core.requests import Chat

_FORM: Final = Form(sse.MEDIA_TYPE, refusal, error_event)

_read_messages: Final = reader(MessagesRequest)
_read_count: Final = reader(CountRequest)


async def messages(call: Call) -> Response:
    """Answer a conversation."""
    body, chat = await decoded(call, _asked, limits.CHAT_BODY_BYTES)
    events = call.service.inference.chat(chat)
    stops = body.stop_sequences or ()
    if not body.stream:
        return EventResponse(events, Whole(body.model or "", stops, searches=body.searches).say, _FORM)
    stream = Stream(body.model or "", stops, searches=body.searches, estimate=body.estimate)
    return EventResponse(events, stream.say, _FORM, beat=stream.beat, headers=stream_headers())


async def count_tokens(call: Call) -> Response:
    """The tokens of the prompt that a conversation becomes, by the model's own template and vocabulary."""
    chat = await decoded(call, _counted, limits.CHAT_BODY_BYTES)
    return EventResponse(call.service.inference.chat(chat), _count, _FORM)


def _asked(content: bytes) -> tuple[MessagesRequest, Chat]:
    """What is asked for, with all its pictures decoded: what takes long does not take it from others."""
    body = _read_messages(content)
    return body, body.to_domain()


def _counted(content: bytes) -> Chat:
    return _read_count(content).to_domain()


def _count(event: Event) -> Response | None:
    return answer({"input_tokens": event.tokens}) if isinstance(event, Rendered) else None
