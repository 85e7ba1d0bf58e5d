"""What a model can do, and which of its templates makes its prompts: read from texts, nothing is rendered."""

import re
from collections.abc import Iterator
from typing import Final, Literal, get_args

import msgspec

from a3s_power.core.errors import BadRequest, BadTemplate
from a3s_power.core.manifest import ConfigBlob
from a3s_power.core.model import Capability, Facts
from a3s_power.prompt import tags
from a3s_power.prompt.families import NAMES, RENDERERS
from a3s_power.prompt.gotemplate import nodes
from a3s_power.prompt.gotemplate.prompt import compiled
from a3s_power.prompt.readings import READINGS

_NO_TEMPLATE: Final = "the model has no chat template: ChatML is used"
_KNOWN: Final[dict[str, Capability]] = {name: name for name in get_args(Capability)}
_HARMONY_FAMILIES: Final = frozenset({"gptoss", "gpt-oss"})
_GO_TOOL_ROLE = re.compile(r'eq\s+\.Role\s+"tool"|tool_response|TOOL_RESULTS')
_JINJA_TOOL_ROLE = re.compile(
    r"""tool_response|tool_results|role['"]\]\s*==\s*['"]tool['"]|message\.role\s*==\s*['"]tool['"]|ipython"""
)


class Way(msgspec.Struct, frozen=True):
    """How a model's prompts are made and its answers read.

    `kind` is a named `renderer`, the Go template or a Jinja one; a named `parser` reads the answers, without one the
    template says how. `note` is a sentence for the log.
    """

    kind: Literal["renderer", "go", "jinja"]
    renderer: str = ""
    parser: str = ""
    note: str = ""


def way(config: ConfigBlob, template: str, chat_template: str, *, prefer_go: bool | None = None) -> Way:
    """What makes the prompts: the first of a named renderer, the Go template (`template`), the GGUF's own Jinja.

    `prefer_go` is what `OLLAMA_GO_TEMPLATE` says, `None` when it is not set. A renderer that is not written here stands
    for the same format as the GGUF's own template, which is taken in its stead where there is one.
    """
    parser = config.parser if config.parser in READINGS else ""
    if config.renderer in RENDERERS:
        return Way("renderer", config.renderer, parser)
    if config.renderer:
        kind: Literal["go", "jinja"] = "go" if template and not chat_template else "jinja"
        stead = f"the model asks for {config.renderer}; its {kind} template is used in its stead"
        return Way(kind, "", parser, stead if chat_template or template else _NO_TEMPLATE)
    if parser and template:
        return Way("go", "", parser)
    if _is_harmony(config, template):
        return Way("go", "", "harmony")
    if prefer_go is None:
        kind = "go" if template and not _prefers_jinja(template, chat_template) else "jinja"
    else:
        kind = "go" if template and prefer_go else "jinja"
    return Way(kind, "", parser, _NO_TEMPLATE if kind == "jinja" and not chat_template else "")


def check_names(config: ConfigBlob) -> None:
    """Raise BadRequest for a renderer or parser that nobody knows, which no template can stand for."""
    if config.renderer and config.renderer not in NAMES:
        raise BadRequest(f'unknown renderer "{config.renderer}"')
    if config.parser and config.parser not in READINGS:
        raise BadRequest(f'unknown parser "{config.parser}"')


def _is_harmony(config: ConfigBlob, template: str) -> bool:
    return config.model_family in _HARMONY_FAMILIES and "<|start|>" in template and "<|end|>" in template


def _prefers_jinja(template: str, chat_template: str) -> bool:
    """Whether the GGUF's own template can do more, or the same with a better round trip of tools."""
    if not chat_template:
        return False
    go, jinja = set(_go_capabilities(template)), set(_jinja_capabilities(chat_template))
    go_trip, jinja_trip = _go_round_trip(template), _jinja_round_trip(chat_template)
    if len(jinja) > len(go):
        return jinja_trip or not go_trip
    return jinja == go and "tools" in go and jinja_trip and not go_trip


def capabilities(
    facts: Facts,
    config: ConfigBlob,
    template: str = "",
    projector: Facts | None = None,
    *,
    prefer_go: bool | None = None,
) -> tuple[Capability, ...]:
    """What a model can do, each once.

    `facts` is of its weights (with the chat template), `projector` of its image or audio encoder where it has one,
    `template` the text of its Go template, `prefer_go` as for `way`.
    """
    found = [_KNOWN[name] for name in config.capabilities if name in _KNOWN]
    found += _of_files(facts, projector)
    chosen = way(config, template, facts.chat_template, prefer_go=prefer_go)
    if chosen.kind == "jinja":
        found += _jinja_capabilities(facts.chat_template)
    elif template:
        found += _go_capabilities(template)
    else:
        found += READINGS[RENDERERS[chosen.renderer].parser].can
    reading = READINGS.get(config.parser)
    found += reading.can if reading is not None else ()
    found += ["thinking"] if config.model_family in _HARMONY_FAMILIES else []
    lacking = _lacking(config)
    return tuple(name for name in dict.fromkeys(found) if name not in lacking)


def _of_files(facts: Facts, projector: Facts | None) -> Iterator[Capability]:
    if facts.ranks:
        yield "rerank"
    else:
        yield "embedding" if facts.pooling is not None else "completion"
    if facts.vision or projector is not None:
        yield "vision"
    if facts.audio or (projector is not None and projector.audio):
        yield "audio"


def _lacking(config: ConfigBlob) -> tuple[Capability, ...]:
    """What the weights hold and Ollama does not offer."""
    if config.model_family == "nemotron_h_omni":
        return ("audio",)
    if config.model_format != "safetensors":
        return ()
    if config.renderer.startswith("gemma4") or config.renderer == "nemotron-3-nano":
        return ("vision", "audio")
    return ("audio",) if config.renderer == "glimmer" else ()


def _jinja_capabilities(chat_template: str) -> tuple[Capability, ...]:
    tools: tuple[Capability, ...] = ("tools",) if "tools" in chat_template or "tool_call" in chat_template else ()
    return (*tools, "thinking") if tags.thinking_of_jinja(chat_template) else tools


def _jinja_round_trip(chat_template: str) -> bool:
    """Whether the template shows the model its tools, its own calls and their results."""
    offers = "tools" in chat_template or "tool_call" in chat_template
    calls = "tool_calls" in chat_template or "assistant_tool_call" in chat_template
    return offers and calls and _JINJA_TOOL_ROLE.search(chat_template) is not None


def _go_capabilities(text: str) -> tuple[Capability, ...]:
    template = _parsed(text)
    names = nodes.variables(template)
    found: tuple[tuple[Capability, bool], ...] = (
        ("tools", "tools" in names),
        ("insert", "suffix" in names),
        ("thinking", tags.thinking_of_go(template) is not None),
    )
    return tuple(capability for capability, has in found if has)


def _go_round_trip(text: str) -> bool:
    return {"tools", "toolcalls"} <= nodes.variables(_parsed(text)) and _GO_TOOL_ROLE.search(text) is not None


def _parsed(text: str) -> nodes.Template:
    """The template; one that cannot be parsed can do nothing, and says so when it is rendered."""
    try:
        return compiled(text)
    except BadTemplate:
        return nodes.Template((), {})
