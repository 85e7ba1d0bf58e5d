"""From a request to what the model's child shall run: the options of all layers, and the whole conversation. Pure."""

from typing import Any

from a3s_power.core.messages import Message
from a3s_power.core.model import Model
from a3s_power.core.options import DEFAULTS, Bias, Options
from a3s_power.core.requests import Chat, Generate, Request
from a3s_power.runner.frames import Run


def request_options(request: Request, model: Model) -> Options:
    """Every option of a request, each with a value or automatic: defaults, then the model's, then the request's.

    Raises:
        InvalidOption: the request's or the model's own options are of a wrong type.
    """
    return Options.merged(DEFAULTS, model.asked.checked(), request.asked.checked())


def chat_run(
    request: Chat, model: Model, options: Options, *, template: str, renderer: str = "", parser: str = ""
) -> Run:
    """What the child runs for a chat. `template`, `renderer` and `parser` are as in the Run."""
    return Run(
        messages=conversation(request.messages, model),
        tools=request.tools if request.tool_choice.mode != "none" else (),
        template=template,
        renderer=renderer,
        parser=parser,
        tool_choice=request.tool_choice,
        parallel_tool_calls=request.parallel_tool_calls,
        **_alike(request, model, options),
    )


def generate_run(
    request: Generate, model: Model, options: Options, *, template: str, renderer: str = "", parser: str = ""
) -> Run:
    """What the child runs for a prompt: the text itself when raw, a short conversation otherwise.

    `template`, `renderer` and `parser` are as in the Run. A template of the request's own, or the model's for a
    suffix, is executed whatever else the model names.
    """
    direct = request.template or (model.template if request.suffix else "")
    return Run(
        text=request.prompt if request.raw else None,
        messages=() if request.raw else _prompt_messages(request, model),
        images=request.images if request.raw else (),
        template=direct or template,
        renderer="" if direct else renderer,
        parser="" if direct else parser,
        suffix="" if request.raw else request.suffix,
        context=request.context or (),
        want_context=not request.raw,
        parse_tools=False,
        **_alike(request, model, options),
    )


def _alike(request: Chat | Generate, model: Model, options: Options) -> dict[str, Any]:
    """The fields of a Run that come of a chat and of a prompt in the same way."""
    return {
        "think": request.think,
        "options": options,
        "truncate": request.truncate,
        "shift": _shifts(request, model),
        "top_logprobs": request.top_logprobs,
        "logit_bias": _bias(request, model),
        "render_only": request.render_only,
        "clean_thinking": _forgets_thinking(model),
        "format": request.format,
        "grammar": request.grammar,
        "choices": request.choices,
        "pattern": request.pattern,
    }


def _bias(request: Chat | Generate, model: Model) -> Bias:
    """What the dialect asks for, else the option; of several layers of options the last."""
    return request.logit_bias or request.asked.logit_bias or model.asked.logit_bias


def conversation(messages: tuple[Message, ...], model: Model) -> tuple[Message, ...]:
    """The model's system message, unless the request begins with its own, the model's history, the request."""
    own_system = messages[:1] and messages[0].role == "system"
    system = (Message(role="system", content=model.system),) if model.system and not own_system else ()
    return (*system, *model.messages, *messages)


def _prompt_messages(request: Generate, model: Model) -> tuple[Message, ...]:
    """A context carries the history already, so the model's own is then left out."""
    text = request.system or model.system
    system = (Message(role="system", content=text),) if text else ()
    history = model.messages if request.context is None else ()
    return (*system, *history, Message(role="user", content=request.prompt, images=request.images))


def _shifts(request: Chat | Generate, model: Model) -> bool:
    """Whether a full context drops its oldest half and goes on; DeepSeek's second family cannot."""
    return request.shift if request.shift is not None else model.config.model_family != "deepseek2"


def _forgets_thinking(model: Model) -> bool:
    """Families whose earlier answers are given back without what they thought."""
    return model.config.model_family == "qwen3" or model.name.model == "deepseek-r1"
