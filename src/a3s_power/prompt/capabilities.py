"""What a model can do, and which of its templates makes its prompts: read from texts, nothing is rendered."""

import re
from collections.abc import Iterator
from typing import Final, Literal, get_args

import msgspec

from a3s_power.core.errors import BadTemplate
from a3s_power.core.manifest import ConfigBlob
from a3s_power.core.model import Capability, Facts
from a3s_power.prompt import tags
from a3s_power.prompt.gotemplate import nodes
from a3s_power.prompt.gotemplate.prompt import compiled

PARSERS: Final[dict[str, tuple[Capability, ...]]] = {
    **dict.fromkeys(("qwen3", "qwen3-coder", "qwen3-vl-instruct", "ministral", "olmo3"), ("tools",)),
    **dict.fromkeys(("functiongemma", "glm-ocr", "gemma4-no-thinking", "lfm2"), ("tools",)),
    **dict.fromkeys(("qwen3-thinking", "qwen3.5", "ornith", "qwen3-vl-thinking", "harmony"), ("tools", "thinking")),
    **dict.fromkeys(("cogito", "deepseek3", "nemotron-3-nano", "nemotron-3.5-nano"), ("tools", "thinking")),
    **dict.fromkeys(("glm-4.7", "gemma4", "lfm2-thinking", "laguna"), ("tools", "thinking")),
    **dict.fromkeys(("poolside-v1", "cohere", "glimmer"), ("tools", "thinking")),
    "olmo3-think": ("thinking",),
    "passthrough": (),
}
"""Ollama's named parsers, and what each one adds to a model's capabilities."""

_KNOWN: Final[dict[str, Capability]] = {name: name for name in get_args(Capability)}
_HARMONY_FAMILIES: Final = frozenset({"gptoss", "gpt-oss"})
_GO_TOOL_ROLE = re.compile(r'eq\s+\.Role\s+"tool"|tool_response|TOOL_RESULTS')
_JINJA_TOOL_ROLE = re.compile(
    r"""tool_response|tool_results|role['"]\]\s*==\s*['"]tool['"]|message\.role\s*==\s*['"]tool['"]|ipython"""
)


class Way(msgspec.Struct, frozen=True):
    """How a model's prompts are made: by its Go template or by a Jinja one. `note` is a sentence for the log."""

    kind: Literal["go", "jinja"]
    note: str = ""


def way(config: ConfigBlob, template: str, chat_template: str, *, prefer_go: bool | None = None) -> Way:
    """Whether the Go template (`template`, of the TEMPLATE layer) or the GGUF's own Jinja makes the prompts.

    `prefer_go` is what `OLLAMA_GO_TEMPLATE` says, `None` when it is not set. A named renderer or parser stands for the
    same format as the GGUF's own template, which is therefore taken where there is one.
    """
    if config.renderer or config.parser or _is_harmony(config, template):
        kind: Literal["go", "jinja"] = "jinja" if chat_template or not template else "go"
    elif prefer_go is None:
        kind = "go" if template and not _prefers_jinja(template, chat_template) else "jinja"
    else:
        kind = "go" if template and prefer_go else "jinja"
    if kind == "jinja" and not chat_template:
        return Way(kind, "the model has no chat template: ChatML is used")
    named = next((name for name in (config.renderer, config.parser) if name), "")
    return Way(kind, f"the model asks for {named}; its {kind} template is used in its stead" if named else "")


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
    if way(config, template, facts.chat_template, prefer_go=prefer_go).kind == "go":
        found += _go_capabilities(template)
    else:
        found += _jinja_capabilities(facts.chat_template)
    found += PARSERS.get(config.parser, ())
    found += ["thinking"] if config.model_family in _HARMONY_FAMILIES else []
    lacking = _lacking(config)
    return tuple(name for name in dict.fromkeys(found) if name not in lacking)


def _of_files(facts: Facts, projector: Facts | None) -> Iterator[Capability]:
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
