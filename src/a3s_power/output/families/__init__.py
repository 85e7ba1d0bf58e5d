"""Readers of what named families of models write: a new family is a form, and a line here."""

from collections.abc import Callable
from functools import partial
from typing import Final

from a3s_power.output.families import cohere, deepseek, gemma, glm, ministral, pythonic, qwen
from a3s_power.output.families.blocks import Blocks, Form
from a3s_power.output.families.channels import GLIMMER, HARMONY, Channels
from a3s_power.output.families.reading import Prompted, Reader

PASSTHROUGH: Final = Form(blocks=())

PARSERS: Final[dict[str, Callable[[Prompted], Reader]]] = {
    "cogito": partial(Blocks, deepseek.COGITO),
    "cohere": partial(Blocks, cohere.COHERE),
    "deepseek3": partial(Blocks, deepseek.DEEPSEEK3),
    "functiongemma": partial(Blocks, gemma.FUNCTIONGEMMA),
    "gemma4": partial(Blocks, gemma.GEMMA4),
    "gemma4-no-thinking": partial(Blocks, gemma.GEMMA4),
    "glimmer": partial(Channels, GLIMMER),
    "glm-4.7": partial(Blocks, glm.GLM),
    "glm-ocr": partial(Blocks, glm.GLM),
    "harmony": partial(Channels, HARMONY),
    "laguna": partial(Blocks, glm.LAGUNA),
    "lfm2": partial(Blocks, pythonic.LFM2),
    "lfm2-thinking": partial(Blocks, pythonic.LFM2),
    "ministral": partial(Blocks, ministral.MINISTRAL),
    "nemotron-3-nano": partial(Blocks, qwen.QWEN35),
    "nemotron-3.5-nano": partial(Blocks, qwen.QWEN35),
    "olmo3": partial(Blocks, pythonic.OLMO3),
    "olmo3-think": partial(Blocks, qwen.ONLY_THINKING),
    "ornith": partial(Blocks, qwen.QWEN35),
    "passthrough": partial(Blocks, PASSTHROUGH),
    "poolside-v1": partial(Blocks, glm.LAGUNA),
    "pythonic": partial(Blocks, pythonic.LLAMA4),
    "qwen3": partial(Blocks, qwen.QWEN3),
    "qwen3-coder": partial(Blocks, qwen.QWEN3_CODER),
    "qwen3-thinking": partial(Blocks, qwen.QWEN3),
    "qwen3-vl-instruct": partial(Blocks, qwen.QWEN3),
    "qwen3-vl-thinking": partial(Blocks, qwen.QWEN3),
    "qwen3.5": partial(Blocks, qwen.QWEN35),
    "seed-oss": partial(Blocks, qwen.SEED),
}
"""Ollama's names, `pythonic` of Llama 4 and `seed-oss`, with what makes a reader of an answer."""

__all__ = ["PARSERS", "Prompted", "Reader"]
