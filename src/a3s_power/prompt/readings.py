"""What Ollama's named parsers mean for a prompt: what the model can do, how its answer begins, which marks it shows."""

from typing import Final, Literal

import msgspec

from a3s_power.core.model import Capability

_THINK: Final = ("<think>", "</think>")
_CALL: Final = ("<tool_call>", "</tool_call>")
_FULL_WIDTH: Final = tuple(
    f"<｜tool▁{name}｜>"
    for name in (
        *("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep"),
        *("outputs▁begin", "outputs▁end", "output▁begin", "output▁end"),
    )
)
_BOTH: Final[tuple[Capability, ...]] = ("tools", "thinking")
_TOOLS: Final[tuple[Capability, ...]] = ("tools",)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A named parser, as far as a prompt is concerned.

    `thinks` says whether an answer begins inside thinking although the prompt does not show it: when thinking is not
    turned off, or unless there are tools. `thinking` are the tags around it, `shown` the special tokens that the
    engine must hand out as text. `start` begins a message where an answer may have several.
    """

    can: tuple[Capability, ...] = ()
    thinks: Literal["no", "unless off", "unless tools", "always"] = "no"
    thinking: tuple[str, str] | None = None
    shown: tuple[str, ...] = ()
    start: str = ""


_CODER: Final = Reading(
    can=_BOTH,
    thinks="unless off",
    thinking=_THINK,
    shown=(*_THINK, *_CALL, "<function=", "</function>", "<parameter=", "</parameter>"),
)
_GLM_SHOWN: Final = (*_THINK, *_CALL, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
_LFM2_SHOWN: Final = (*_THINK, "<|tool_call_start|>", "<|tool_call_end|>")
_GEMMA4_SHOWN: Final = ("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", '<|"|>')
_QWEN3: Final = Reading(can=_TOOLS, thinking=_THINK, shown=(*_THINK, *_CALL))

READINGS: Final[dict[str, Reading]] = {
    "cogito": Reading(can=_BOTH, thinks="unless tools", thinking=_THINK, shown=(*_THINK, *_FULL_WIDTH)),
    "cohere": Reading(
        can=_BOTH,
        thinks="unless off",
        thinking=("<|START_THINKING|>", "<|END_THINKING|>"),
        shown=tuple(
            f"<|{end}_{name}|>" for name in ("THINKING", "ACTION", "TEXT", "RESPONSE") for end in ("START", "END")
        ),
    ),
    "deepseek3": Reading(can=_BOTH, thinks="unless off", thinking=_THINK, shown=(*_THINK, *_FULL_WIDTH)),
    "functiongemma": Reading(can=_TOOLS, shown=("<start_function_call>", "<end_function_call>", "<escape>")),
    "gemma4": Reading(can=_BOTH, thinking=("<|channel>thought\n", "<channel|>"), shown=_GEMMA4_SHOWN),
    "gemma4-no-thinking": Reading(can=_TOOLS, thinking=("<|channel>thought\n", "<channel|>"), shown=_GEMMA4_SHOWN),
    "glimmer": Reading(can=_BOTH, shown=("<|start|>", "<|message|>", "<|eom|>", "<|eot|>"), start="<|start|>"),
    "glm-4.7": Reading(can=_BOTH, thinks="unless off", thinking=_THINK, shown=_GLM_SHOWN),
    "glm-ocr": Reading(can=_TOOLS, thinking=_THINK, shown=_GLM_SHOWN),
    "harmony": Reading(
        can=_BOTH,
        shown=("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|call|>"),
        start="<|start|>",
    ),
    "laguna": Reading(can=_BOTH, thinks="unless off", thinking=_THINK, shown=_GLM_SHOWN),
    "lfm2": Reading(can=_TOOLS, thinking=_THINK, shown=_LFM2_SHOWN),
    "lfm2-thinking": Reading(can=_BOTH, thinking=_THINK, shown=_LFM2_SHOWN),
    "ministral": Reading(
        can=_TOOLS, thinking=("[THINK]", "[/THINK]"), shown=("[THINK]", "[/THINK]", "[TOOL_CALLS]", "[ARGS]")
    ),
    "nemotron-3-nano": _CODER,
    "nemotron-3.5-nano": _CODER,
    "olmo3": Reading(can=_TOOLS, thinking=_THINK, shown=(*_THINK, "<function_calls>", "</function_calls>")),
    "olmo3-think": Reading(can=("thinking",), thinks="always", thinking=_THINK, shown=_THINK),
    "ornith": _CODER,
    "passthrough": Reading(),
    "poolside-v1": Reading(can=_BOTH, thinks="unless off", thinking=_THINK, shown=_GLM_SHOWN),
    "pythonic": Reading(can=_TOOLS, shown=("<|python_start|>", "<|python_end|>")),
    "qwen3": _QWEN3,
    "qwen3-coder": Reading(can=_TOOLS, shown=_CODER.shown),
    "qwen3-thinking": Reading(can=_BOTH, thinks="unless off", thinking=_THINK, shown=_QWEN3.shown),
    "qwen3-vl-instruct": _QWEN3,
    "qwen3-vl-thinking": Reading(can=_BOTH, thinks="always", thinking=_THINK, shown=_QWEN3.shown),
    "qwen3.5": _CODER,
    "seed-oss": Reading(
        can=_BOTH,
        thinking=("<seed:think>", "</seed:think>"),
        shown=("<seed:think>", "</seed:think>", "<seed:tool_call>", "</seed:tool_call>", *_CODER.shown[4:]),
    ),
}
"""Ollama's named parsers, and two of families that it has none for: `pythonic` of Llama 4, and `seed-oss`."""

_TRAITS: Final = (
    ("glimmer", ("<atem:",)),
    ("harmony", ("<|channel|>", "<|message|>")),
    ("gemma4", ("<|tool_call>",)),
    ("functiongemma", ("<start_function_call>",)),
    ("seed-oss", ("<seed:tool_call>", "<function=")),
    ("qwen3.5", ("<tool_call>", "<function=", "</think>")),
    ("qwen3-coder", ("<tool_call>", "<function=", "<parameter=")),
    ("glm-4.7", ("<arg_key>",)),
    ("lfm2", ("<|tool_call_start|>",)),
    ("ministral", ("[ARGS]",)),
    ("deepseek3", ("<｜tool▁sep｜>",)),
    ("cohere", ("<|START_ACTION|>",)),
    ("olmo3", ("<function_calls>",)),
    ("pythonic", ("<|python_start|>",)),
)
"""What a chat template shows of the family whose calls it teaches, the most telling first."""


def of_jinja(chat_template: str) -> str:
    """The parser of the family that a chat template belongs to; empty where the generic ones read it."""
    return next((name for name, marks in _TRAITS if all(mark in chat_template for mark in marks)), "")


def starts_inside(reading: Reading, *, think: bool, tools: bool) -> bool:
    """Whether an answer begins with thinking although nothing in the prompt opens it."""
    match reading.thinks:
        case "always":
            return True
        case "unless off":
            return think
        case "unless tools":
            return think and not tools
        case "no":
            return False
