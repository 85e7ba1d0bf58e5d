"""`POST /v1/completions`: prompts gone on with, each once or several times."""

from itertools import accumulate
from typing import Any, ClassVar, Final

import msgspec
from starlette.responses import Response

from a3s_power.api import sse
from a3s_power.api.asked import few, local_name
from a3s_power.api.endpoint import Call
from a3s_power.api.openai.answers import DONE, Counted, Head, cut_of, progress, reason
from a3s_power.api.openai.errors import WrongField
from a3s_power.api.openai.stream import respond
from a3s_power.api.openai.tokens import TextOrTokens, as_texts, texts_or_tokens
from a3s_power.api.openai.whole import Form, Whole, rendered
from a3s_power.api.openai.wire import Sampled, StreamOptions, other_seed, sent, thinks, top_logprobs
from a3s_power.core import limits
from a3s_power.core.errors import ModelNotFound
from a3s_power.core.events import Done, Event, Rendered, Text, Waiting
from a3s_power.core.requests import Generate

_OBJECT: Final = "text_completion"
_WHOLE: Final = Form("cmpl", _OBJECT, {"text": "", "index": 0, "finish_reason": None})


async def completions(call: Call) -> Response:
    """Go on with prompts."""
    body = await sent(call, _decoder, limits.CHAT_BODY_BYTES)
    prompts, request, wanted = body.prompts(), body.to_domain(), body.wanted
    few("choices", len(prompts) * wanted, limits.CHOICES)
    texts = await as_texts(call, request, prompts)
    events = [
        [call.service.inference.generate(_asking(request, prompt, text, choice)) for choice in range(wanted)]
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    echoes = [text if body.echo else "" for text in texts for _ in range(wanted)]
    if body.stream:
        chunks = Chunks(body.model or "", echoes, wanted, body.stream_options or StreamOptions())
        return respond(events, chunks.tell, stream=True)
    kept = [_Kept(index, echoed) for index, echoed in enumerate(echoes)]
    return respond(events, Whole(_WHOLE, body.model or "", kept, wanted).tell, stream=False)


def _asking(request: Generate, prompt: TextOrTokens, text: str, choice: int) -> Generate:
    """The request for one choice of one prompt. Token ids are a whole prompt: no template is put around them."""
    raw = not isinstance(prompt, str)
    return msgspec.structs.replace(request, prompt=text, raw=raw, asked=other_seed(request.asked, choice))


class CompletionRequest(Sampled, frozen=True, kw_only=True):
    """The body. `prompt` is a text, a list of token ids, or a list of either."""

    stated: ClassVar[dict[str, Any]] = Sampled.stated | {"frequency_penalty": 0.0, "presence_penalty": 0.0}

    prompt: Any = None
    suffix: str | None = None
    echo: bool | None = None
    logprobs: int | None = None
    debug_render_only: bool | None = msgspec.field(default=None, name="_debug_render_only")

    def to_domain(self) -> Generate:
        """What is asked for, all but the prompt. Raises BadRequest, ModelNotFound and NotAllowed."""
        said = {
            "num_predict": self.most,
            "stop": _stops(self.stop),
            # As in the reference: a 0 is as absent.
            "top_p": self.top_p or None,
        }
        shared = self.shared(said)
        think = thinks(self.think)
        wanted = top_logprobs(self.logprobs or 0)
        if not (self.model or "").strip():
            raise ModelNotFound(self.model or "")
        return Generate(
            model=local_name(self.model or ""),
            suffix=self.suffix or "",
            think=think,
            top_logprobs=wanted or None,
            render_only=bool(self.debug_render_only),
            **shared,
        )

    def prompts(self) -> list[TextOrTokens]:
        """What to go on with. Raises WrongField for what is no prompt."""
        prompts = texts_or_tokens("" if self.prompt is None else self.prompt)
        if not prompts:
            raise WrongField("prompt must be a text, a list of token ids, or a list of either", "prompt")
        if self.suffix and not all(isinstance(prompt, str) for prompt in prompts):
            raise WrongField("a suffix needs the prompt as a text", "prompt")
        return prompts


_decoder: Final = msgspec.json.Decoder(CompletionRequest)


def _stops(stop: object) -> list[str] | None:
    match stop:
        case None:
            return None
        case str():
            return [stop]
        case list() if all(isinstance(each, str) for each in stop):
            return stop
    raise WrongField("invalid type for 'stop' field: float64", "stop")


class _Offsets:
    """Log-probabilities in the form of completions, which tells of each token where in the text it begins."""

    def __init__(self, echoed: str) -> None:
        self._at = len(echoed)

    def shown(self, said: Text) -> dict[str, list[Any]]:
        """Those of the next piece. A token that is not part of the text (one of a thought) begins where it would."""
        found, begins, end = said.logprobs, self._at, self._at + len(said.text)
        self._at = end
        lengths = accumulate((len(each.said.token) for each in found), initial=begins)
        return {
            "tokens": [each.said.token for each in found],
            "token_logprobs": [each.said.logprob for each in found],
            "top_logprobs": [{other.token: other.logprob for other in each.top} for each in found],
            "text_offset": [min(at, end) for at, _ in zip(lengths, found, strict=False)],
        }


class Chunks:
    """The stream. With counts wanted each chunk says that they are still to come."""

    def __init__(self, model: str, echoes: list[str], wanted: int, told: StreamOptions) -> None:
        self._head = Head("cmpl", model)
        self._opened = self._head.opened(_OBJECT)
        self._with_usage = bool(told.include_usage)
        self._begins = [b'%b"choices":[{"index":%d,"text":' % (self._opened, index) for index in range(len(echoes))]
        self._end = b',"usage":null}\n\n' if self._with_usage else b"}\n\n"
        self._echoes = echoes
        self._offsets = [_Offsets(echoed) for echoed in echoes]
        self._running = len(echoes)
        self._counted = Counted(wanted)

    def tell(self, choice: int, event: Event) -> bytes | Response | None:
        """The chunk of an event, or the whole answer where one object is all of it."""
        match event:
            case Text():
                return self._chunk(choice, event, b"null")
            case Waiting():
                return progress(self._opened, event)
            case Rendered():
                return rendered(_WHOLE, self._head, event)
            case Done():
                last = self._chunk(choice, Text(""), b'"%b"' % reason(event).encode(), cut_of(event.usage))
                return last + self._ended(choice, event)
        return None

    def _chunk(self, choice: int, said: Text, ended: bytes, left_out: bytes = b"") -> bytes:
        text = said.text
        if self._echoes[choice]:
            text, self._echoes[choice] = self._echoes[choice] + text, ""
        shown = b',"logprobs":%b' % sse.json(self._offsets[choice].shown(said)) if said.logprobs else b""
        begun = b'%b%b,"finish_reason":%b%b}]' % (self._begins[choice], sse.json(text), ended, shown)
        return begun + left_out + self._end

    def _ended(self, choice: int, done: Done) -> bytes:
        """What follows the end of a choice: nothing before the last one."""
        self._counted.add(choice, done.usage)
        self._running -= 1
        if self._running:
            return b""
        usage = b'%b"choices":[],"usage":%b}\n\n' % (self._opened, sse.json(self._counted.shown()))
        return usage + DONE if self._with_usage else DONE


class _Kept:
    """What one choice has said so far."""

    def __init__(self, index: int, echoed: str) -> None:
        self._index = index
        self._texts = [echoed]
        self._offsets = _Offsets(echoed)
        self._logprobs: dict[str, list[Any]] = {}
        self._reason = ""

    def take(self, event: Event) -> None:
        """Keep what is said; what is thought has no place here."""
        match event:
            case Text():
                self._texts.append(event.text)
                if event.logprobs:
                    for name, found in self._offsets.shown(event).items():
                        self._logprobs.setdefault(name, []).extend(found)
            case Done():
                self._reason = reason(event)

    def shown(self) -> dict[str, Any]:
        """The choice as it is shown."""
        shown = {"text": "".join(self._texts), "index": self._index, "finish_reason": self._reason}
        return shown | ({"logprobs": self._logprobs} if self._logprobs else {})
