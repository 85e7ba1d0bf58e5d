"""Session: what an interactive chat has come to, and the requests that follow from it. Nothing here talks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from a3s_power.core.errors import BadRequest
from a3s_power.core.options import KINDS

_READ: Final = {"integer": int, "float32": float}
_TRUTHS: Final = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
_KIND_WORDS: Final = {"integer": "int", "float32": "float", "boolean": "bool"}


class Shown(NamedTuple):
    """What `/api/show` said of a model, as far as a chat needs it."""

    capabilities: tuple[str, ...]
    answer: Mapping[str, Any]

    @property
    def thinks(self) -> bool:
        """Whether it can be asked to think."""
        return "thinking" in self.capabilities

    @property
    def sees(self) -> bool:
        """Whether it takes files beside text."""
        info = self.answer.get("model_info") or {}
        return bool(
            {"vision", "audio"} & set(self.capabilities)
            or self.answer.get("projector_info")
            or any(".vision." in key for key in info)
        )


class Session:
    """One chat: the model, what was said, and what holds for the next answer.

    `messages` are those of the wire. `think` is what was asked, or what the model suggests while `think_said` is false.
    """

    def __init__(self, model: str, common: Mapping[str, Any], *, wrap: bool, verbose: bool, hide: bool) -> None:
        self.model = model
        self.messages: list[dict[str, Any]] = []
        self.options: dict[str, Any] = dict(common.get("options") or {})
        self.keep_alive = common.get("keep_alive")
        self.format = common.get("format")
        self.template = common.get("template", "")
        self.think: bool | str | None = common.get("think")
        self.think_said = False
        self.wrap = wrap
        self.verbose = verbose
        self.hide_thinking = hide
        self.shown = Shown((), {})
        self.last: dict[str, Any] = {}
        if system := common.get("system"):
            self.set_system(system)

    def opened(self, answer: Mapping[str, Any]) -> None:
        """A model is what this chat is with now; whether it thinks is its own to say unless somebody said."""
        self.shown = Shown(tuple(answer.get("capabilities") or ()), answer)
        if not self.think_said:
            self.think = True if self.shown.thinks else None

    @property
    def path(self) -> str:
        """Where the next request goes: a template of one's own is taken by generate only."""
        return "/api/generate" if self.template else "/api/chat"

    def request(self) -> dict[str, Any]:
        """The body of the next request."""
        body: dict[str, Any] = {"model": self.model} | (
            self._prompt() if self.template else {"messages": self.messages}
        )
        more = {"format": self.format, "options": self.options, "keep_alive": self.keep_alive, "think": self.think}
        return body | {name: value for name, value in more.items() if value is not None and value != {}}

    def _prompt(self) -> dict[str, Any]:
        """The last question as a prompt for the template, going on from the tokens of what was said before."""
        question = self.messages[-1]
        body = {"prompt": question["content"], "template": self.template, "system": self.system}
        more = {"images": question.get("images"), "context": self.last.get("context")}
        return body | {name: value for name, value in more.items() if value}

    def set_template(self, text: str) -> None:
        """A prompt template for what follows; what was said before is forgotten, as that was rendered by another."""
        self.template = text
        self.clear()

    def loading(self) -> dict[str, Any]:
        """The body that brings the model into memory."""
        more = {"options": self.options or None, "keep_alive": self.keep_alive}
        return {"model": self.model, "prompt": ""} | {name: value for name, value in more.items() if value is not None}

    def saving(self, name: str) -> dict[str, Any]:
        """The body that makes a model of this chat."""
        more = {
            "system": self.system,
            "template": self.template,
            "parameters": self.options,
            "messages": [message for message in self.messages if message["role"] != "system"],
        }
        return {"model": name, "from": self.model} | {key: value for key, value in more.items() if value}

    @property
    def system(self) -> str:
        """The session's own system message, empty for none."""
        return str(next((said["content"] for said in reversed(self.messages) if said["role"] == "system"), ""))

    def set_system(self, text: str) -> None:
        """A system message from here on: it takes the place of one that was said last."""
        if self.messages and self.messages[-1]["role"] == "system":
            self.messages.pop()
        self.messages.append({"role": "system", "content": text})

    def ask(self, text: str, images: Sequence[str] = ()) -> None:
        """The user says something."""
        self.messages.append({"role": "user", "content": text} | ({"images": list(images)} if images else {}))

    def answered(self, content: str, thinking: str, calls: Sequence[Any], last: dict[str, Any]) -> None:
        """The model has answered; `last` is the line that said so."""
        message: dict[str, Any] = {"role": "assistant", "content": content}
        message |= {name: value for name, value in (("thinking", thinking), ("tool_calls", list(calls))) if value}
        self.messages.append(message)
        self.last = last

    def clear(self) -> None:
        """Forget what was said; the system message stays."""
        system = self.system
        self.messages = [{"role": "system", "content": system}] if system else []
        self.last = {}

    def undo(self) -> dict[str, Any] | None:
        """Take back the last question and all that followed; the question, `None` when there is none."""
        at = next((at for at, said in reversed(list(enumerate(self.messages))) if said["role"] == "user"), None)
        if at is None:
            return None
        question: dict[str, Any] = self.messages[at]
        del self.messages[at:]
        return question

    def last_answer(self) -> str:
        """What the model said last, empty for nothing."""
        return str(next((said["content"] for said in reversed(self.messages) if said["role"] == "assistant"), ""))

    def set_parameter(self, name: str, values: Sequence[str]) -> None:
        """An option for what follows. Raises BadRequest in Ollama's words for a wrong name or value."""
        if name not in KINDS:
            raise BadRequest(f"unknown parameter '{name}'")
        kind = KINDS[name]
        if kind == "array":
            self.options[name] = list(values)
            return
        try:
            self.options[name] = _TRUTHS[values[0].lower()] if kind == "boolean" else _READ[kind](values[0])
        except (ValueError, KeyError):
            raise BadRequest(f"invalid {_KIND_WORDS[kind]} value [{' '.join(values)}]") from None


def used(last: Mapping[str, Any]) -> int:
    """Tokens of the context that an answer left filled."""
    return int(last.get("prompt_eval_count") or 0) + int(last.get("eval_count") or 0)


def pairs(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Options as texts, a list one line each."""
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            yield name, str(one)
