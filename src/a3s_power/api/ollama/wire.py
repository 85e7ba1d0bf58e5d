"""What the requests of Ollama's dialect share: messages, tools, options and names, and what they become."""

from typing import Annotated, Any, ClassVar, Final, TypeVar

import msgspec

from a3s_power.api.asked import decoded, few, file, options, stays
from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.goform import quoted
from a3s_power.api.ollama.gojson import GoStruct, Integer, Place, check, go, read
from a3s_power.core import limits, messages
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Format, Think, ToolChoice

ImageData = Annotated[str, go("api.ImageData")]

T = TypeVar("T", bound=GoStruct)

_LEVELS: Final = ("high", "medium", "low", "max")
_THINK_WORDS: Final = '"high", "medium", "low", "max", true, or false'
_PARAMETERS: Final = Place("ToolFunction", "tools.function.parameters")


class ToolCallFunction(GoStruct, frozen=True, kw_only=True):
    """Which tool, and with what."""

    index: Integer = 0
    name: str = ""
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)


class ToolCall(GoStruct, frozen=True, kw_only=True):
    """A call of a tool in an earlier answer. `type` is what OpenAI's clients send along."""

    id: str = ""
    type: Any = None
    function: ToolCallFunction = ToolCallFunction()


class Message(GoStruct, frozen=True, kw_only=True):
    """One turn."""

    alias: ClassVar[str] = "Alias"

    role: str = ""
    content: str = ""
    thinking: str = ""
    images: tuple[ImageData, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""

    def to_domain(self) -> messages.Message:
        """The turn, its images decoded. Raises BadRequest for one that is no base64."""
        return messages.Message(
            role=self.role.lower(),
            content=self.content,
            thinking=self.thinking,
            images=images(self.images),
            tool_calls=tuple(
                messages.ToolCall(
                    name=call.function.name, arguments=call.function.arguments, id=call.id, index=call.function.index
                )
                for call in self.tool_calls
            ),
            tool_name=self.tool_name,
            tool_call_id=self.tool_call_id,
        )


class ToolProperty(msgspec.Struct, frozen=True, kw_only=True):
    """What must be of a type in the schema of one argument."""

    description: str = ""
    enum: list[Any] = []
    required: list[str] = []


class ToolFunctionParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What must be of a type in the schema of a tool's arguments."""

    type: str = ""
    required: list[str] = []
    properties: dict[str, ToolProperty] = {}


class ToolFunction(GoStruct, frozen=True, kw_only=True):
    """What a tool is called and takes."""

    name: str = ""
    description: str = ""
    parameters: Annotated[dict[str, Any], go("api.ToolFunctionParameters")] = msgspec.field(default_factory=dict)


class Tool(GoStruct, frozen=True, kw_only=True):
    """A tool the model may call."""

    type: str = ""
    items: Any = None
    function: ToolFunction = ToolFunction()

    def to_domain(self) -> messages.Tool:
        """The tool, its parameters just as they were sent. Raises BadRequest where those are no schema of Ollama's."""
        check(self.function.parameters, ToolFunctionParameters, _PARAMETERS)
        return messages.Tool(
            name=self.function.name,
            description=self.function.description,
            parameters=self.function.parameters,
            type=self.type or "function",
        )


class GenerationRequest(GoStruct, frozen=True, kw_only=True):
    """What the bodies of generate and chat share."""

    model: str = ""
    stream: bool = True
    format: Any = None
    keep_alive: Any = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    think: Any = None
    truncate: bool = True
    shift: bool | None = None
    logprobs: bool = False
    top_logprobs: Integer = 0
    grammar: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    progress: bool = False
    debug_render_only: bool = msgspec.field(default=False, name="_debug_render_only")

    def asked(self) -> dict[str, Any]:
        """What the domain's requests share, in the order in which Ollama finds fault; all but the model."""
        sent_form, bad_format = form(self.format)
        return {
            "shown": self.model,
            "keep_alive": stays(self.keep_alive),
            "think": think(self.think),
            "top_logprobs": logprobs(wanted=self.logprobs, top=self.top_logprobs),
            "asked": options(self.options),
            "format": sent_form,
            "bad_format": bad_format,
            "grammar": self.grammar,
            "choices": self.choices,
            "pattern": self.pattern,
            "truncate": self.truncate,
            "shift": self.shift,
            "progress": self.progress and self.stream,
            "render_only": self.debug_render_only,
        }


async def sent(call: Call, kind: type[T], limit: int = limits.OTHER_BODY_BYTES) -> T:
    """The body of a request.

    Raises:
        TooLarge: over `limit` bytes.
        BadRequest: over another limit, no JSON, or not of this kind.
    """
    return await decoded(call, lambda body: read(body, kind), limit)


def images(texts: tuple[str, ...]) -> tuple[bytes, ...]:
    """Files sent as base64. Raises BadRequest, in Go's words, for a text that is none."""
    few("images", len(texts), limits.IMAGES)
    return tuple(map(file, texts))


def think(value: object) -> Think:
    """The request's `think`. Raises BadRequest for what is no level."""
    match value:
        case None | bool():
            return value
        case str():
            level = next((level for level in _LEVELS if level == value), None)
            if level is None:
                raise BadRequest(f"invalid think value: {quoted(value)} (must be {_THINK_WORDS})")
            return level
    raise BadRequest(f"think must be a boolean or string ({_THINK_WORDS})")


def form(value: object) -> tuple[Format, str]:
    """The request's `format`, and what is wrong with it: that is an answer only once generation starts."""
    match value:
        case None | "":
            return None, ""
        case "json":
            return "json", ""
        case dict():
            return value, ""
    sent = msgspec.json.encode(value).decode()
    return None, f'invalid format: {quoted(sent)}; expected "json" or a valid JSON Schema object'


def tool_choice(value: object) -> ToolChoice:
    """The request's `tool_choice`, in OpenAI's forms. Raises BadRequest for another."""
    match value:
        case None | "":
            return ToolChoice()
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case {"function": {"name": str(name)}} if name:
            return ToolChoice("required", name)
    raise BadRequest('tool_choice must be "auto", "none", "required" or {"type":"function","function":{"name":"…"}}')


def logprobs(*, wanted: bool, top: int) -> int | None:
    """Alternatives per token, `None` for no log-probabilities. Raises BadRequest for too many."""
    if not 0 <= top <= limits.TOP_LOGPROBS:
        raise BadRequest(f"top_logprobs must be between 0 and {limits.TOP_LOGPROBS}")
    return top if wanted else None
