"""Texts as token ids and back, and the prompt that a conversation becomes: in our words and in llama.cpp's."""

from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from a3s_power.api.asked import local_name, options, stays
from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.goform import answer
from a3s_power.api.ollama.gojson import GoStruct, Integer, go
from a3s_power.api.ollama.wire import Message, Tool, sent, think
from a3s_power.api.streams import while_here
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.events import Rendered
from a3s_power.core.requests import Chat, Detokenize, Tokenize, Tokenized


async def tokenize(call: Call) -> Response:
    """The token ids of a text, or of the prompt that messages become."""
    body = await sent(call, TokenizeRequest, limits.CHAT_BODY_BYTES)
    made, prompt = await while_here(call.receive, lambda: _tokenized(call, body))
    return answer(
        TokenizeAnswer(
            model=body.model,
            tokens=made.tokens,
            count=len(made.tokens),
            prompt=prompt,
            total_duration=made.total_ns,
            load_duration=made.load_ns,
        )
    )


async def detokenize(call: Call) -> Response:
    """The text of token ids."""
    body = await sent(call, DetokenizeRequest, limits.EMBED_BODY_BYTES)
    request = body.to_domain()
    made = await while_here(call.receive, lambda: call.service.inference.detokenize(request))
    return answer(
        DetokenizeAnswer(
            model=body.model,
            text=made.text,
            content=made.text,
            total_duration=made.total_ns,
            load_duration=made.load_ns,
        )
    )


async def apply_template(call: Call) -> Response:
    """The prompt that messages become, and how many tokens that is."""
    body = await sent(call, TemplateRequest, limits.CHAT_BODY_BYTES)
    rendered = await while_here(call.receive, lambda: _rendered(call, body.to_domain()))
    return answer({"prompt": rendered.prompt, "count": rendered.tokens})


class _ModelRequest(GoStruct, frozen=True, kw_only=True):
    """What the bodies share."""

    model: str = ""
    keep_alive: Any = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)

    def asked(self) -> dict[str, Any]:
        """What the domain's requests share. Raises BadRequest and NotAllowed."""
        if not self.model.strip():
            raise BadRequest("model is required")
        return {
            "model": local_name(self.model),
            "shown": self.model,
            "keep_alive": stays(self.keep_alive),
            "asked": options(self.options),
        }


class TemplateRequest(_ModelRequest, frozen=True, kw_only=True):
    """The body of a conversation to render."""

    messages: tuple[Message, ...] = ()
    tools: Annotated[tuple[Tool, ...], go("api.Tools")] = ()
    think: Any = None

    def to_domain(self) -> Chat:
        """What is asked for. Raises BadRequest and NotAllowed."""
        if not self.messages:
            raise BadRequest("messages is required")
        if len(self.messages) > limits.MESSAGES or len(self.tools) > limits.TOOLS:
            raise BadRequest(f"too many messages or tools: the limits are {limits.MESSAGES} and {limits.TOOLS}")
        return Chat(
            messages=tuple([message.to_domain() for message in self.messages]),
            tools=tuple([tool.to_domain() for tool in self.tools]),
            think=think(self.think),
            render_only=True,
            **self.asked(),
        )


class TokenizeRequest(TemplateRequest, frozen=True, kw_only=True):
    """The body of tokenize: `text`, or llama.cpp's `content`, or messages.

    `add_special` puts the vocabulary's first token before a text, as before every prompt; without `parse_special` the
    names of special tokens are plain text.
    """

    text: str | None = None
    content: str | None = None
    add_special: bool = False
    parse_special: bool = True

    def of_text(self) -> Tokenize:
        """What is asked for where there are no messages. Raises BadRequest and NotAllowed."""
        text = self.content if self.text is None else self.text
        if text is None:
            raise BadRequest("text or messages is required")
        return Tokenize(text=text, first=self.add_special, special=self.parse_special, **self.asked())


class DetokenizeRequest(_ModelRequest, frozen=True, kw_only=True):
    """The body of detokenize."""

    tokens: tuple[Integer, ...] = ()

    def to_domain(self) -> Detokenize:
        """What is asked for. Raises BadRequest and NotAllowed."""
        return Detokenize(tokens=self.tokens, **self.asked())


class TokenizeAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of tokenize; `prompt` is what messages became."""

    model: str
    tokens: tuple[int, ...]
    count: int
    prompt: str | None = None
    total_duration: int = 0
    load_duration: int = 0


class DetokenizeAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of detokenize: the text under our name and under llama.cpp's."""

    model: str
    text: str
    content: str
    total_duration: int = 0
    load_duration: int = 0


async def _tokenized(call: Call, body: TokenizeRequest) -> tuple[Tokenized, str | None]:
    if not body.messages:
        return await call.service.inference.tokenize(body.of_text()), None
    chat = body.to_domain()
    prompt = (await _rendered(call, chat)).prompt
    text = Tokenize(text=prompt, first=True, model=chat.model, shown=chat.shown, asked=chat.asked)
    return await call.service.inference.tokenize(text), prompt


async def _rendered(call: Call, chat: Chat) -> Rendered:
    async with call.service.inference.chat(chat) as events:
        async for event in events:
            if isinstance(event, Rendered):
                return event
    raise BadRequest("the conversation has no prompt")
