"""Prompter: a model's conversations as prompt texts, with what its output parser has to know of them."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from a3s_power.core.errors import BadTemplate
from a3s_power.core.messages import Message, Think, Tool
from a3s_power.prompt import tags
from a3s_power.prompt.conversation import message_value, tool_value, without_thinking
from a3s_power.prompt.gotemplate import prompt as go
from a3s_power.prompt.jinja import JinjaTemplate, local_time
from a3s_power.prompt.tags import Tags

CHATML: Final = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' -}}
"""
"""What llama.cpp falls back to, and we with it, for a model without any template."""

_NONE_CONTENT = re.compile(r"""content['"]?\]?\s+is\s+(?:not\s+)?none""")
_THINKING_KEYS: Final = ("reasoning_content", "thinking", "reasoning")


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as text, and how to read the answer to it.

    `thinking` is the pair of tags between which the model thinks; `opened` says that the text ends inside them.
    `tool_tag` announces calls, empty when no tools were given. `visible` are the special tokens that the engine must
    hand out as text for that.
    """

    text: str
    thinking: Tags | None = None
    opened: bool = False
    tool_tag: str = ""
    visible: tuple[str, ...] = ()

    @classmethod
    def ending_in(cls, text: str, thinking: Tags | None, tool_tag: str) -> "Prompt":
        """The prompt of this text, whose end tells whether the model thinks already."""
        opened = thinking is not None and text.rstrip().endswith(thinking[0])
        shown = tags.visible(*(thinking or ()), *((tool_tag,) if tool_tag else ()))
        return cls(text=text, thinking=thinking, opened=opened, tool_tag=tool_tag, visible=shown)


class Prompter:
    """Makes one model's prompts. Threads may share it.

    `chat_template` is the GGUF's own Jinja, empty when it has none; `bos` and `eos` are the texts of those tokens.
    """

    def __init__(
        self, chat_template: str = "", *, bos: str = "", eos: str = "", now: Callable[[], datetime] = local_time
    ) -> None:
        self._source = chat_template
        self._jinja = JinjaTemplate(chat_template or CHATML, now=now)
        self._special = {"bos_token": bos, "eos_token": eos}
        self._thinking = tags.thinking_of_jinja(chat_template)
        self._tool_tag = tags.calls_of_jinja(chat_template)
        self._thinking_key = _thinking_key(chat_template)
        self._none_content = _NONE_CONTENT.search(chat_template) is not None

    def prepare(self) -> str:
        """Compile the Jinja template, so that the first request need not.

        What is wrong with it comes back as a sentence for the log, empty when nothing is.
        """
        try:
            _ = self._jinja.names
        except BadTemplate as error:
            return f"the model's chat template cannot be used: {error}"
        return ""

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        think: Think = None,
        template: str = "",
        suffix: str = "",
        clean_thinking: bool = False,
    ) -> Prompt:
        """The prompt of a whole conversation: by the Go `template` where one is given, else by the model's own Jinja.

        A last message of the assistant is the beginning of the answer. A model that can think does so unless `think`
        says no. With a `suffix` the prompt, which is the last message, is what comes before it. `clean_thinking` takes
        thinking out of earlier answers.

        Raises:
            BadTemplate: the template is wrong or hostile, or refuses the conversation.
        """
        if not template:
            if suffix:
                raise BadTemplate("the model's chat template has no place for a suffix")
            return self._by_jinja(_cleaned(messages, self._thinking) if clean_thinking else messages, tools, think)
        thinking, tool_tag = _marks(template)
        think = True if think is None and thinking is not None else think
        if suffix:
            return Prompt.ending_in(go.render_suffix(template, messages[-1].content, suffix, think=think), None, "")
        shown = _cleaned(messages, thinking) if clean_thinking else messages
        text = go.render(template, shown, tools=tools, think=think)
        # Ollama splits nothing that was not asked for, so that a model that thinks all the same shows its tags.
        return Prompt.ending_in(text, thinking if think else None, tool_tag if tools else "")

    def _by_jinja(self, messages: Sequence[Message], tools: Sequence[Tool], think: Think) -> Prompt:
        begun = messages[-1] if messages and messages[-1].role == "assistant" and not messages[-1].tool_calls else None
        text = self._jinja.render(self._values(messages if begun is None else messages[:-1], tools, think))
        prompt = Prompt.ending_in(text, self._thinking, self._tool_tag if tools else "")
        return prompt if begun is None else _continued(prompt, begun)

    def _values(self, messages: Sequence[Message], tools: Sequence[Tool], think: Think) -> dict[str, Any]:
        shown = [
            message_value(message, thinking_key=self._thinking_key, empty_is_none=self._none_content)
            for message in messages
        ]
        return {
            "messages": shown,
            "tools": [tool_value(tool) for tool in tools] or None,
            "documents": None,
            "add_generation_prompt": True,
            **self._special,
            **self._thinking_values(think),
        }

    def _thinking_values(self, think: Think) -> dict[str, Any]:
        if think is None and self._thinking is not None:
            think = True
        if think is None:
            return {}
        values: dict[str, Any] = {"enable_thinking": bool(think)}
        # Some templates call the switch `thinking`; in others that is a variable of their own.
        if "enable_thinking" not in self._jinja.names and "thinking" in self._jinja.names:
            values["thinking"] = bool(think)
        if isinstance(think, str):
            harmony = "<|channel|>" in self._source
            values["reasoning_effort"] = "high" if think == "max" and harmony else think
        return values


def _cleaned(messages: Sequence[Message], thinking: Tags | None) -> Sequence[Message]:
    return without_thinking(messages, thinking or tags.THINK)


def _continued(prompt: Prompt, begun: Message) -> Prompt:
    """The prompt with the beginning of the answer behind it; thinking that it leaves open is closed first."""
    if not begun.content:
        return prompt
    closed = f"{begun.thinking}{prompt.thinking[1]}\n\n" if prompt.opened and prompt.thinking else ""
    return msgspec.structs.replace(prompt, text=prompt.text + closed + begun.content, opened=False)


@lru_cache(maxsize=64)
def _marks(template: str) -> tuple[Tags | None, str]:
    parsed = go.compiled(template)
    return tags.thinking_of_go(parsed), tags.calls_of_go(parsed)


def _thinking_key(chat_template: str) -> str:
    """The name under which a template looks for what a message's author thought."""
    used = (key for key in _THINKING_KEYS if re.search(rf"""\.{key}\b|\[['"]{key}['"]\]""", chat_template))
    return next(used, _THINKING_KEYS[0])
