"""Prompter: a model's conversations as prompt texts, with what its output parser has to know of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final

import msgspec

from a3s_power.core.errors import BadTemplate
from a3s_power.core.messages import Message, Think, Tool
from a3s_power.prompt import readings, tags
from a3s_power.prompt.conversation import message_value, tool_value, without_thinking
from a3s_power.prompt.families import RENDERERS, harmony
from a3s_power.prompt.families.conversation import Conversation
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
_PART = re.compile(r"""['"]text['"]""")
_PROBE: Final = "Words"
_END_OF_MESSAGE = re.compile(r"<\|(?:end|call|return|eom|eot)\|>")
_THINKING_KEYS: Final = ("reasoning_content", "thinking", "reasoning")


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as text, and how to read the answer to it.

    `thinking` is the pair of tags between which the model thinks; `opened` says that the answer begins inside them.
    `tool_tag` announces calls, empty when no tools were given. `visible` are the special tokens that the engine must
    hand out as text for that. Where a `parser` is named it reads the answer: `begun` is what of the prompt's end the
    answer goes on with, `names` are the prompt's names of tools with those they were offered by, `think` is false when
    the client wants no thinking. `media` are the files that stand where the engine's marker is in the text, in order.
    `tokens` are what the engine is given in the text's stead, where it would read more into the text than is meant.
    """

    text: str
    thinking: Tags | None = None
    opened: bool = False
    tool_tag: str = ""
    visible: tuple[str, ...] = ()
    parser: str = ""
    begun: str = ""
    names: dict[str, str] = {}
    think: bool = True
    media: tuple[bytes, ...] = ()
    tokens: tuple[int, ...] = ()

    @classmethod
    def ending_in(cls, text: str, thinking: Tags | None, tool_tag: str) -> "Prompt":
        """The prompt of this text, whose end tells whether the model thinks already."""
        shown = tags.visible(*(thinking or ()), *((tool_tag,) if tool_tag else ()))
        return cls(text=text, thinking=thinking, opened=_opened(text, thinking), tool_tag=tool_tag, visible=shown)


def _opened(text: str, thinking: Tags | None) -> bool:
    return thinking is not None and text.rstrip().endswith(thinking[0].rstrip())


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
        self._family = readings.of_jinja(chat_template)
        own = readings.READINGS[self._family].thinking if self._family else None
        self._thinking = tags.thinking_of_jinja(chat_template) or own
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
        renderer: str = "",
        parser: str = "",
    ) -> Prompt:
        """The prompt of a whole conversation: by a named `renderer`, by the Go `template`, or by the model's own Jinja.

        A last message of the assistant is the beginning of the answer. A model that can think does so unless `think`
        says no. With a `suffix` the prompt, which is the last message, is what comes before it. `clean_thinking` takes
        thinking out of earlier answers. A named `parser` reads the answer; without one the template tells how.

        Raises:
            BadTemplate: the template is wrong or hostile, or refuses the conversation.
        """
        if suffix and not template:
            raise BadTemplate("the model's chat template has no place for a suffix")
        parser = parser or ("" if template or renderer else self._family)
        names: dict[str, str] = {}
        if parser == "harmony":
            names = harmony.safe_names([tool.name for tool in tools])
            tools, messages = harmony.renamed_tools(tools, names), harmony.renamed_calls(messages, names)
            think = "high" if think == "max" else think
        chat = _Chat(messages, tools, think, clean_thinking)
        if renderer:
            prompt = _by_name(renderer, chat, template)
        elif template:
            prompt = self._by_go(template, suffix, chat, parser)
        else:
            prompt = self._by_jinja(chat)
        return _read_by(parser, prompt, chat, names, guess=bool(template) and not renderer)

    def _by_go(self, template: str, suffix: str, chat: "_Chat", parser: str) -> Prompt:
        thinking, tool_tag = _marks(template)
        named = readings.READINGS[parser] if parser else None
        thinks = thinking is not None or (named is not None and "thinking" in named.can)
        think = True if chat.think is None and thinks else chat.think
        if suffix:
            text = go.render_suffix(template, chat.messages[-1].content, suffix, think=think)
            return Prompt.ending_in(text, None, "")
        text = go.render(template, chat.cleaned(thinking), tools=chat.tools, think=think)
        # Ollama splits nothing that was not asked for, so that a model that thinks all the same shows its tags.
        return Prompt.ending_in(text, thinking if think else None, tool_tag if chat.tools else "")

    def _by_jinja(self, chat: "_Chat") -> Prompt:
        messages = chat.cleaned(self._thinking)
        begun = messages[-1] if messages and messages[-1].role == "assistant" and not messages[-1].tool_calls else None
        shown = messages if begun is None else messages[:-1]
        text = self._jinja.render(self._values(shown, chat.tools, chat.think))
        prompt = Prompt.ending_in(text, self._thinking, self._tool_tag if chat.tools else "")
        if begun is None:
            return prompt
        return _channelled(prompt, begun) if self._family == "harmony" else _continued(prompt, begun)

    def _values(self, messages: Sequence[Message], tools: Sequence[Tool], think: Think) -> dict[str, Any]:
        shown = [
            message_value(message, thinking_key=self._thinking_key, empty_is_none=self._none_content)
            for message in messages
        ]
        if self._takes_parts:
            for value in shown:
                value["content"] = [{"type": "text", "text": value["content"] or ""}]
        return {
            "messages": shown,
            "tools": [tool_value(tool) for tool in tools] or None,
            "documents": None,
            "add_generation_prompt": True,
            **self._special,
            **self._thinking_values(think),
        }

    @cached_property
    def _takes_parts(self) -> bool:
        """Whether a message's content must be a list of parts, because the template drops a plain text."""
        if not _PART.search(self._source):
            return False
        return not self._shows(_PROBE) and self._shows([{"type": "text", "text": _PROBE}])

    def _shows(self, content: object) -> bool:
        values = {"messages": [{"role": "user", "content": content}], "tools": None, "add_generation_prompt": True}
        try:
            return _PROBE in self._jinja.render(values | self._special)
        except BadTemplate:
            return False

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


class _Chat(msgspec.Struct, frozen=True):
    """A conversation to render."""

    messages: Sequence[Message]
    tools: Sequence[Tool]
    think: Think
    clean: bool

    def cleaned(self, thinking: Tags | None) -> Sequence[Message]:
        """The messages, without what earlier answers thought where that is to be forgotten."""
        return without_thinking(self.messages, thinking or tags.THINK) if self.clean else self.messages


def _by_name(renderer: str, chat: _Chat, template: str) -> Prompt:
    """The prompt by a named renderer; without a named parser, a Go template beside it tells how to read the answer."""
    named = RENDERERS[renderer]
    think = chat.think if chat.think is not None else True
    text = named.load()(Conversation(chat.cleaned(None), chat.tools, think))
    if template:
        thinking, tool_tag = _marks(template)
        return Prompt.ending_in(text, thinking if think else None, tool_tag if chat.tools else "")
    return Prompt(text=text, parser=named.parser)


def _read_by(parser: str, prompt: Prompt, chat: _Chat, names: Mapping[str, str], *, guess: bool) -> Prompt:
    """The prompt, its answer to be read by a named parser; `guess` where the prompt does not show how that begins."""
    name = parser or prompt.parser
    if not name:
        return prompt
    reading, text = readings.READINGS[name], prompt.text
    think = chat.think is None or bool(chat.think)
    begun = bool(chat.messages) and chat.messages[-1].role == "assistant" and bool(chat.messages[-1].content)
    thinking = reading.thinking or prompt.thinking
    opened = _opened(text, thinking)
    if guess and not begun:
        opened = opened or readings.starts_inside(reading, think=think, tools=bool(chat.tools))
    return msgspec.structs.replace(
        prompt,
        thinking=thinking,
        opened=opened,
        tool_tag=prompt.tool_tag if chat.tools else "",
        visible=tuple(dict.fromkeys((*reading.shown, *prompt.visible))),
        parser=name,
        begun=_last_header(text, reading.start) if reading.start else "",
        names={safe: name for name, safe in names.items()},
        think=think,
    )


def _last_header(text: str, start: str) -> str:
    """Of a prompt that ends in a begun message: its header."""
    _, found, message = text.rpartition(start)
    head, mark, body = message.partition("<|message|>")
    return "" if _END_OF_MESSAGE.search(body) else found + head + mark


def _channelled(prompt: Prompt, begun: Message) -> Prompt:
    """As `_continued`, for a model whose answer has a message for what it thinks and one for what it says."""
    text = prompt.text
    if begun.thinking:
        text += f"<|channel|>analysis<|message|>{begun.thinking}"
    if begun.content:
        text += "<|end|><|start|>assistant" if begun.thinking else ""
        text += f"<|channel|>final<|message|>{begun.content}"
    return msgspec.structs.replace(prompt, text=text)


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
