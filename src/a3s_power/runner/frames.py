"""The messages that server and child speak, and how they become bytes: msgpack behind a four-byte length."""

import struct
import sys
from collections.abc import Iterator
from typing import Any, Final, Generic, NamedTuple, Self, TypeVar

import msgspec

from a3s_power.core.errors import EngineFailed, PowerError, PromptTooLong, revive
from a3s_power.core.events import Event
from a3s_power.core.messages import Format, Message, Think, Tool, ToolChoice
from a3s_power.core.model import ModelFiles
from a3s_power.core.options import Options
from a3s_power.engines.engine import Forecast, Loaded, LoadOptions, Scores

MAX_FRAME_BYTES: Final = 1 << 30
_LENGTH: Final = struct.Struct("!I")


class Load(msgspec.Struct, frozen=True, tag="load"):
    """The first frame a child gets, and the only one of its kind."""

    files: ModelFiles
    options: LoadOptions


class Run(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """Generate. Either `text` goes to the engine as it is (raw), or `messages` are rendered.

    `messages` is the whole conversation: the model's system message and history first. `template` is the Go template
    to render with, empty for the model's own Jinja; a named `renderer` goes before both, a named `parser` reads the
    answer. With a `suffix` the last message is what comes before it.
    `context` is put before the prompt; `want_context` asks for the token ids at the end. `options` are complete.
    `limit` is the context a request is held to, 0 for what the engine does by itself with the whole.
    `clean_thinking` removes thinking from earlier answers. `images` belong to `text`; messages have their own.
    """

    job: int = 0
    text: str | None = None
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    template: str = ""
    renderer: str = ""
    parser: str = ""
    suffix: str = ""
    think: Think = None
    context: tuple[int, ...] = ()
    want_context: bool = False
    options: Options = Options()
    truncate: bool = True
    shift: bool = True
    top_logprobs: int | None = None
    render_only: bool = False
    clean_thinking: bool = False
    parse_tools: bool = True
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True
    format: Format = None
    grammar: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    logit_bias: tuple[tuple[int, float], ...] = ()
    images: tuple[bytes, ...] = ()
    limit: int = 0


class Embed(msgspec.Struct, frozen=True, kw_only=True, tag="embed"):
    """Vectors of texts."""

    job: int = 0
    texts: tuple[str, ...]
    truncate: bool = True
    normalize: bool = True


class Rerank(msgspec.Struct, frozen=True, kw_only=True, tag="rerank"):
    """How well documents answer a query."""

    job: int = 0
    query: str
    documents: tuple[str, ...]
    truncate: bool = True


class Tokenize(msgspec.Struct, frozen=True, kw_only=True, tag="tokenize"):
    """Token ids of a text; `first` and `special` as in the request."""

    job: int = 0
    text: str
    first: bool = False
    special: bool = True


class Detokenize(msgspec.Struct, frozen=True, kw_only=True, tag="detokenize"):
    """The text of token ids."""

    job: int = 0
    tokens: tuple[int, ...]


class Keep(msgspec.Struct, frozen=True, kw_only=True, tag="keep"):
    """Write what the slots hold, at most about so many bytes, for the next load of the model."""

    job: int = 0
    limit: int


class Measure(msgspec.Struct, frozen=True, kw_only=True, tag="measure"):
    """Have the engine alone generate so many tokens behind each of these prompts, all at once."""

    job: int = 0
    prompts: tuple[str, ...]
    tokens: int


class Foretell(msgspec.Struct, frozen=True, kw_only=True, tag="foretell"):
    """Find out what a load would take, in a child that loads nothing."""

    job: int = 0
    files: ModelFiles
    options: LoadOptions


class Crowd(msgspec.Struct, frozen=True, tag="crowd"):
    """Whether other children compute on the same processors from now on."""

    others: bool


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Nobody waits for this job any more."""

    job: int


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown"):
    """End now."""


Question = Embed | Rerank | Tokenize | Detokenize | Keep | Measure | Foretell
"""A job with a single answer."""
ToRunner = Load | Run | Question | Crowd | Cancel | Shutdown


class Loading(msgspec.Struct, frozen=True, tag="L", array_like=True):
    """The load goes on: the fraction done, 0 to 1."""

    fraction: float


class Ready(msgspec.Struct, frozen=True, tag="R", array_like=True):
    """The model is there."""

    loaded: Loaded


class Said(msgspec.Struct, frozen=True, tag="S", array_like=True):
    """What a generation said. Done is its last word; Rendered is the only one of a Run that asked for no more."""

    job: int
    event: Event


class Went(msgspec.Struct, frozen=True, tag="W", array_like=True):
    """A generation has gone forward, whether or not there was anything to say."""

    job: int


class Vectors(msgspec.Struct, frozen=True, tag="V", array_like=True):
    """The answer to Embed, or a part of it: 32-bit floats in the machine's order, `dimensions` a row."""

    job: int
    dimensions: int
    floats: bytes
    prompt_tokens: int
    cut: tuple[int, ...] = ()
    last: bool = True


class Scored(msgspec.Struct, frozen=True, tag="K", array_like=True):
    """The answer to Rerank."""

    job: int
    scores: Scores


class Tokens(msgspec.Struct, frozen=True, tag="T", array_like=True):
    """The answer to Tokenize."""

    job: int
    tokens: tuple[int, ...]


class Detokenized(msgspec.Struct, frozen=True, tag="D", array_like=True):
    """The answer to Detokenize."""

    job: int
    text: str


class Kept(msgspec.Struct, frozen=True, tag="P", array_like=True):
    """The answer to Keep: so many tokens were written."""

    job: int
    tokens: int


class Stream(NamedTuple):
    """How one generation went: its tokens, and nanoseconds to its first piece and to its end."""

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    first_ns: int
    whole_ns: int


class Measured(msgspec.Struct, frozen=True, tag="M", array_like=True):
    """The answer to Measure, in the order in which the generations ended."""

    job: int
    streams: tuple[Stream, ...]


class Foretold(msgspec.Struct, frozen=True, tag="Y", array_like=True):
    """The answer to Foretell."""

    job: int
    forecast: Forecast


class Failed(msgspec.Struct, frozen=True, tag="F", array_like=True):
    """A job that ended in an error (`error` makes it again). Job 0 is the load.

    `poisoned` says that the child must be replaced: something of the job still runs in it. `tokens` and `limit` are
    those of a prompt that was too long.
    """

    job: int
    kind: str
    message: str
    poisoned: bool = False
    tokens: int = 0
    limit: int = 0

    @classmethod
    def of(cls, job: int, error: PowerError) -> Self:
        """A job that ended in this error."""
        if isinstance(error, PromptTooLong):
            return cls(job, error.kind, error.message, tokens=error.tokens, limit=error.limit)
        return cls(job, error.kind, error.message)

    @property
    def error(self) -> PowerError:
        """The error again."""
        error = revive(self.kind, self.message)
        if isinstance(error, PromptTooLong):
            error.tokens, error.limit = self.tokens, self.limit
        return error


class Stopped(msgspec.Struct, frozen=True, tag="X", array_like=True):
    """A cancelled job has let go of its slot."""

    job: int


Answered = Vectors | Scored | Tokens | Detokenized | Kept | Measured | Foretold
"""Answers to a Question: one each, but Embed's may come in parts."""

FromRunner = Loading | Ready | Said | Went | Answered | Failed | Stopped


def encode(message: ToRunner | FromRunner) -> bytes:
    """A message as its frame. An integer of more than 64 bits becomes the nearest float, as in Go's JSON."""
    try:
        body = msgspec.msgpack.encode(message)
    except OverflowError:
        body = msgspec.msgpack.encode(_narrowed(msgspec.to_builtins(message, builtin_types=(bytes,))))
    return _LENGTH.pack(len(body)) + body


def _narrowed(value: Any) -> Any:  # noqa: ANN401 -- whatever a message is made of
    match value:
        case int() if not -(2**63) <= value < 2**64:
            largest = int(sys.float_info.max)
            return float(max(-largest, min(largest, value)))
        case dict():
            return {key: _narrowed(each) for key, each in value.items()}
        case list() | tuple():
            return [_narrowed(each) for each in value]
    return value


M = TypeVar("M")


class FrameReader(Generic[M]):
    """Fed bytes however they were cut; hands out whole messages.

    `kind` is the union that the other side speaks. Raises EngineFailed on a frame that is none.
    """

    def __init__(self, kind: type[M]) -> None:
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[M]:
        """The messages that `data` completes, in order."""
        held = self._held
        held += data
        at = 0
        try:
            while len(held) - at >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(held, at)
                if length > MAX_FRAME_BYTES:
                    raise EngineFailed(f"frame of {length} bytes is over the limit")
                end = at + _LENGTH.size + length
                if len(held) < end:
                    break
                message = self._message(bytes(held[at + _LENGTH.size : end]))
                at = end
                yield message
        finally:
            del held[:at]

    def _message(self, body: bytes) -> M:
        try:
            return self._decode(body)
        # A text that is no UTF-8 is Python's own error.
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise EngineFailed(f"frame cannot be read: {error}") from error
