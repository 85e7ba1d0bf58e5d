"""Named renderers: families whose prompts are written by code instead of a template. A new one is a line here."""

from collections.abc import Callable
from importlib import import_module
from typing import Final, cast

import msgspec

from a3s_power.prompt.families.conversation import Conversation


class Renderer(msgspec.Struct, frozen=True):
    """Where a family's prompt is written, as `module:function` of this package, and the parser of its answers.

    The parser counts where a model names none. Reading the table imports no family.
    """

    target: str
    parser: str

    def load(self) -> Callable[[Conversation], str]:
        """The function that writes the prompt."""
        module, _, name = self.target.partition(":")
        return cast("Callable[[Conversation], str]", getattr(import_module(f"{__name__}.{module}"), name))


RENDERERS: Final[dict[str, Renderer]] = {
    "cogito": Renderer("deepseek:cogito", "cogito"),
    "deepseek3.1": Renderer("deepseek:deepseek", "deepseek3"),
    "functiongemma": Renderer("functiongemma:functiongemma", "functiongemma"),
    "glm-4.7": Renderer("glm:glm", "glm-4.7"),
    "lfm2": Renderer("lfm2:lfm2", "lfm2"),
    "lfm2-thinking": Renderer("lfm2:lfm2_thinking", "lfm2-thinking"),
    "nemotron-3-nano": Renderer("nemotron:nemotron", "nemotron-3-nano"),
    "olmo3": Renderer("olmo:olmo3", "olmo3"),
    "olmo3-32b-think": Renderer("olmo:olmo3_32b_think", "olmo3-think"),
    "olmo3-think": Renderer("olmo:olmo3_think", "olmo3-think"),
    "olmo3.1": Renderer("olmo:olmo31", "olmo3"),
    "ornith": Renderer("qwen:ornith", "ornith"),
    "qwen3-coder": Renderer("qwen:coder", "qwen3-coder"),
    "qwen3-vl-instruct": Renderer("qwen:vision", "qwen3-vl-instruct"),
    "qwen3-vl-thinking": Renderer("qwen:vision_thinking", "qwen3-vl-thinking"),
    "qwen3.5": Renderer("qwen:qwen35", "qwen3.5"),
}
"""Those of Ollama's names that are written here."""

NAMES: Final = frozenset(
    {
        *("qwen3-coder", "qwen3-vl-instruct", "qwen3-vl-thinking", "qwen3.5", "qwen3.8", "ornith", "cogito"),
        *("deepseek3.1", "olmo3", "olmo3.1", "olmo3-think", "olmo3-32b-think", "nemotron-3-nano", "nemotron-3.5-nano"),
        *("gemma4", "gemma4-small", "gemma4-large", "functiongemma", "glm-4.7", "glm-ocr", "lfm2", "lfm2-thinking"),
        *("laguna", "poolside-v1", "cohere", "glimmer"),
    }
)
"""All of Ollama's names. A model that names one which is not written here is given its own file's template."""
