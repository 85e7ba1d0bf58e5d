"""What the requests of Ollama's dialect share: messages, tools, options and names, and what they become."""

import binascii
import re
from typing import Annotated, Any, ClassVar, Final, TypeVar

import msgspec

from a3s_power.aio import in_thread
from a3s_power.api.bodies import check_json, read_body
from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.goform import quoted
from a3s_power.api.ollama.gojson import GoStruct, Integer, Place, check, go, read
from a3s_power.core import limits, messages
from a3s_power.core.durations import keep_alive
from a3s_power.core.errors import BadRequest, NotAllowed
from a3s_power.core.messages import Format, Think
from a3s_power.core.names import ModelName, Reference
from a3s_power.core.options import Asked

ImageData = Annotated[str, go("api.ImageData")]

T = TypeVar("T", bound=GoStruct)

_LARGE_BYTES: Final = 256 * 1024
"""A body over this is decoded in a thread, so that others need not wait."""

_LEVELS: Final = ("high", "medium", "low", "max")
_THINK_WORDS: Final = '"high", "medium", "low", "max", true, or false'
_PARAMETERS: Final = Place("ToolFunction", "tools.function.parameters")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/\r\n]*+")
_PADDING: Final = {2: re.compile(rb"=[\r\n]*=[\r\n]*"), 3: re.compile(rb"=[\r\n]*")}
_NO_CLOUD: Final = "ollama cloud is disabled: remote model is unavailable"


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
            "truncate": self.truncate,
            "shift": self.shift,
            "render_only": self.debug_render_only,
        }


async def sent(call: Call, kind: type[T], limit: int = limits.OTHER_BODY_BYTES) -> T:
    """The body of a request.

    Raises:
        TooLarge: over `limit` bytes.
        BadRequest: over another limit, no JSON, or not of this kind.
    """
    body = await read_body(call, limit)
    if len(body) > _LARGE_BYTES:
        return await in_thread(_decoded, body, kind)
    return _decoded(body, kind)


def _decoded(body: bytes, kind: type[T]) -> T:
    check_json(body)
    return read(body, kind)


def images(texts: tuple[str, ...]) -> tuple[bytes, ...]:
    """Files sent as base64. Raises BadRequest, in Go's words, for a text that is none."""
    if len(texts) > limits.IMAGES:
        raise BadRequest(f"too many images: the limit is {limits.IMAGES}")
    return tuple(map(_image, texts))


def _image(text: str) -> bytes:
    if len(text) > limits.IMAGE_BYTES:
        raise BadRequest(f"image too large: the limit is {limits.IMAGE_BYTES // limits.MIB} MiB of base64")
    try:
        return binascii.a2b_base64(text.replace("\r", "").replace("\n", ""), strict_mode=True)
    except ValueError:
        raise BadRequest(f"illegal base64 data at input byte {_illegal_byte(text.encode())}") from None


def _illegal_byte(text: bytes) -> int:
    """Where Go's decoder gives up: at the first byte that cannot be, or where a last group without padding begins."""
    good = _BASE64.match(text)
    end = good.end() if good else 0
    group = sum(byte not in b"\r\n" for byte in text[:end]) % 4
    if end == len(text):
        return end - group
    if text[end] != ord("=") or group < 2:
        return end
    padding = _PADDING[group].match(text, end)
    if padding is not None:
        return padding.end()
    second = end + 1 + len(text[end + 1 :]) - len(text[end + 1 :].lstrip(b"\r\n"))
    return len(text) if second == len(text) else second - 1


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


def stays(value: object) -> float | None:
    """Seconds of the request's `keep_alive`, `None` when it has none. Raises BadRequest for what is no duration."""
    return None if value is None else keep_alive(value)


def options(values: dict[str, Any]) -> Asked:
    """The request's options. Raises BadRequest for more stop texts than are allowed, or longer ones."""
    stops = values.get("stop")
    if isinstance(stops, list):
        if len(stops) > limits.STOPS:
            raise BadRequest(f"too many stop strings: the limit is {limits.STOPS}")
        if any(isinstance(stop, str) and len(stop.encode()) > limits.STOP_BYTES for stop in stops):
            raise BadRequest(f"stop string too long: the limit is {limits.STOP_BYTES} bytes")
    return Asked.read(values)


def logprobs(*, wanted: bool, top: int) -> int | None:
    """Alternatives per token, `None` for no log-probabilities. Raises BadRequest for too many."""
    if not 0 <= top <= limits.TOP_LOGPROBS:
        raise BadRequest(f"top_logprobs must be between 0 and {limits.TOP_LOGPROBS}")
    return top if wanted else None


def local_name(text: str, when_cloud: str = _NO_CLOUD) -> ModelName:
    """The model of this machine that a request names.

    Raises:
        InvalidName: it is no name.
        BadRequest: it asks for the cloud and for this machine.
        NotAllowed: it asks for the cloud.
    """
    reference = Reference.parse(text)
    if reference.source == "cloud":
        raise NotAllowed(when_cloud)
    return reference.name
