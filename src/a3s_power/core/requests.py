"""Chat, Generate, Embed, Rerank and more: what a client wants, with nothing left of the dialect it said it in."""

from collections.abc import Sequence
from typing import Any

import msgspec

from a3s_power.core.messages import Format, Message, Think, Tool, ToolChoice
from a3s_power.core.names import ModelName
from a3s_power.core.options import Asked


class _Inference(msgspec.Struct, frozen=True, kw_only=True):
    """What every request to a model has. `shown` is the name exactly as the client wrote it, for error texts.

    `keep_alive` is in seconds, `None` when the request does not say.
    """

    model: ModelName
    shown: str
    asked: Asked = Asked()
    keep_alive: float | None = None


class _Generation(_Inference, frozen=True, kw_only=True):
    """What chat and generate share. `truncate` allows cutting a prompt, `shift` dropping early tokens meanwhile."""

    format: Format = None
    think: Think = None
    think_if_able: bool = False
    """A model that cannot think answers without, instead of being refused."""
    truncate: bool = True
    shift: bool | None = None
    top_logprobs: int | None = None
    """Alternatives wanted per token, 0 for none but the token's own; `None` for no log-probabilities."""
    render_only: bool = False
    """Answer the rendered prompt and do not run it."""
    bad_format: str = ""
    """What is wrong with the format, as the sentence of the BadFormat that generation starts with; else empty."""
    grammar: str = ""
    """A GBNF grammar that the answer must follow; empty for none. At most one of format, grammar, choices, pattern."""
    choices: tuple[str, ...] = ()
    """The answer must be one of these texts; none when empty."""
    pattern: str = ""
    """A regular expression that the whole answer must match; empty for none."""
    progress: bool = False
    """Tell what is waited for, as Waiting before all other events."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token ids and what is added to their logits; minus infinity forbids a token."""


class Chat(_Generation, frozen=True, kw_only=True):
    """Answer a conversation. Without messages: load the model, or with a keep-alive of 0 unload it."""

    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True


class Generate(_Generation, frozen=True, kw_only=True):
    """Go on with a prompt. An empty one: load the model, or with a keep-alive of 0 unload it.

    `context` is the token ids of an earlier answer, to go on from; `None` when the request has none.
    """

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    raw: bool = False
    images: tuple[bytes, ...] = ()
    context: tuple[int, ...] | None = None


class Embed(_Inference, frozen=True, kw_only=True):
    """Vectors of texts. `dimensions` cuts them; 0 leaves them whole. `exact` finds a name in its own case only."""

    texts: tuple[str, ...]
    truncate: bool = True
    dimensions: int = 0
    normalize: bool = True
    exact: bool = False


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an Embed: one vector of 32-bit floats per text; times in nanoseconds.

    `cut` are the places of the texts that were too long and lost their ends.
    """

    vectors: tuple[Sequence[float], ...]
    prompt_tokens: int = 0
    cut: tuple[int, ...] = ()
    load_ns: int = 0
    total_ns: int = 0


class Rerank(_Inference, frozen=True, kw_only=True):
    """How well documents answer a query. `top` asks for the best ones only, 0 for all.

    With `truncate` a document that is too long is cut, else the whole request is refused.
    """

    query: str
    documents: tuple[str, ...]
    top: int = 0
    truncate: bool = True


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A document by its place in the request. `logit` is what the model says, `score` the same between 0 and 1."""

    index: int
    score: float
    logit: float
    truncated: bool = False


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a Rerank, best first, the earlier one of equals first; times in nanoseconds."""

    results: tuple[Ranked, ...]
    prompt_tokens: int = 0
    load_ns: int = 0
    total_ns: int = 0


class Tokenize(_Inference, frozen=True, kw_only=True):
    """Token ids of a text. `first` puts the vocabulary's own first token before it, once, as before every prompt.

    Without `special` the names of special tokens are read as plain text.
    """

    text: str
    first: bool = False
    special: bool = True


class Detokenize(_Inference, frozen=True, kw_only=True):
    """The text of token ids; `wanted_for` is the request that it becomes part of, where there is one.

    What keeps the model from following that is raised here already, before it is loaded.
    """

    tokens: tuple[int, ...]
    wanted_for: Generate | Embed | None = None


Request = Chat | Generate | Embed | Rerank | Tokenize | Detokenize
"""What needs a model's child."""


class Tokenized(msgspec.Struct, frozen=True, kw_only=True):
    """A text and its token ids, whichever was asked for; times in nanoseconds."""

    text: str
    tokens: tuple[int, ...]
    load_ns: int = 0
    total_ns: int = 0


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """Make a model: from another (`source`) or from uploaded files (file name to digest).

    Beside a source, files can be projectors and adapters. `files` is `None` when the request names none. Empty texts
    say nothing, as in the request. `messages` replace those of the source when there are any, `parameters` override key
    by key, licenses are added.
    """

    model: ModelName
    source: ModelName | None = None
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    draft_files: dict[str, str] | None = None
    template: str = ""
    system: str = ""
    licenses: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    messages: tuple[Message, ...] = ()
    quantize: str = ""
    draft_quantize: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    info: dict[str, Any] = {}


class Pull(msgspec.Struct, frozen=True, kw_only=True):
    """Bring a model here. `source` is what the user typed: a model name, `hf.co/user/repo[:quant]` or a URL.

    `insecure` allows plain http. `consent` allows taking a stranger's file that a search of the hub found.
    """

    source: str
    insecure: bool = False
    consent: bool = False


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """Publish a model. `destination` is the registry's URL, empty for the one that the name says.

    `username` and `password` are for registries that ask for them; Ollama's own go by the key pair.
    """

    model: ModelName
    destination: str = ""
    insecure: bool = False
    username: str = ""
    password: str = ""
