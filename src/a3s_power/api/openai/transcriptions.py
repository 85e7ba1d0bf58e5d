"""`POST /v1/audio/transcriptions`: the words of a recording, by a chat with a model that takes audio."""

from typing import Final

from starlette.responses import PlainTextResponse, Response

from a3s_power.api.asked import local_name, options
from a3s_power.api.endpoint import Call
from a3s_power.api.openai.answers import answer
from a3s_power.api.openai.forms import Sent, read_form
from a3s_power.api.openai.stream import FORM
from a3s_power.api.streams import EventResponse
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.events import Done, Event, Text
from a3s_power.core.media import is_audio
from a3s_power.core.messages import Message
from a3s_power.core.requests import Chat

_BYTES: Final = 25 * limits.MIB
_TASK: Final = "Write down what is said in the recording, word for word. Answer with these words and nothing else."


async def transcriptions(call: Call) -> Response:
    """The words of a recording."""
    form = await read_form(call, _BYTES)
    events = call.service.inference.chat(to_domain(form))
    plain = form.fields.get("response_format", "").strip().lower() == "text"
    return EventResponse(events, _Whole(plain=plain).say, FORM)


def to_domain(form: Sent) -> Chat:
    """The chat that a form asks for. Raises BadRequest and NotAllowed, in the reference's order."""
    shown = form.fields.get("model", "")
    if not shown.strip():
        raise BadRequest("model is required")
    if "file" not in form.files:
        raise BadRequest("file is required: http: no such file")
    recording = form.files["file"]
    if not recording:
        raise BadRequest("audio file is empty")
    if not is_audio(recording):
        raise BadRequest("audio file is neither WAV nor MP3")
    return Chat(
        model=local_name(shown),
        shown=shown,
        asked=options({"temperature": 0.0}),
        messages=(Message(role="system", content=_task(form)), Message(role="user", images=(recording,))),
    )


def _task(form: Sent) -> str:
    language, hint = form.fields.get("language", "").strip(), form.fields.get("prompt", "").strip()
    said = [_TASK, f"The language is {language}." if language else "", f"Context: {hint}" if hint else ""]
    return " ".join(filter(None, said))


class _Whole:
    """One answer for all events."""

    def __init__(self, *, plain: bool) -> None:
        self._plain = plain
        self._texts: list[str] = []

    def say(self, event: Event) -> Response | None:
        """The whole answer, once the last event has come."""
        match event:
            case Text():
                self._texts.append(event.text)
            case Done():
                text = "".join(self._texts).strip()
                return PlainTextResponse(text) if self._plain else answer({"text": text})
        return None
