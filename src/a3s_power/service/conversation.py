"""From a request to what the model's child shall run: checks in Ollama's order, and the whole conversation. Pure."""

from typing import Any, Final

from a3s_power.core.errors import BadFormat, BadRequest, NotCapable, NotSupported
from a3s_power.core.media import is_audio
from a3s_power.core.messages import Message
from a3s_power.core.model import Model
from a3s_power.core.options import DEFAULTS, Bias, Options
from a3s_power.core.requests import Chat, Embed, Generate, Request, Rerank
from a3s_power.runner.frames import Run

_NO_PROJECTOR: Final = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
_NO_MEDIA: Final = "Multimodal data provided, but model does not support multimodal requests."
_INSIDE: Final = (
    "its image encoder is inside the file of its weights, where llama.cpp cannot use it;"
    " make the model anew from weights and a projector file (mmproj)"
)
_LEAST_EMBED_CONTEXT: Final = 3
"""A token of the text between the one that begins it and the one that ends it."""


def wants_unload(request: Chat | Generate) -> bool:
    """Whether the request only says that the model may leave memory."""
    return request.keep_alive == 0 and wants_load(request)


def wants_load(request: Chat | Generate) -> bool:
    """Whether the request has nothing to answer, so that it only brings the model into memory."""
    return not request.messages if isinstance(request, Chat) else not request.prompt


def check_runnable(request: Request, model: Model) -> None:
    """Raise NotSupported for a model without a GGUF: one of safetensors, or one that runs elsewhere."""
    if model.config.remote_host or model.config.remote_model:
        raise NotSupported(f'"{request.shown}" runs on {model.config.remote_host or "another host"}, not here')
    if not model.files.weights:
        raise NotSupported(f'"{request.shown}" has no GGUF weights, and this version runs no others')


def check_chat(request: Chat, model: Model) -> None:
    """Raise what keeps this model from this chat, the first reason in Ollama's order."""
    model.require("completion", f'"{request.shown}" does not support chat')
    if request.tools:
        model.require("tools", f"{model.name.full} does not support tools")
    _check_thinking(request, model)


def check_generate(request: Generate, model: Model) -> None:
    """Raise what keeps this model from this prompt, the first reason in Ollama's order."""
    if request.raw and (request.template or request.system or request.context):
        raise BadRequest("raw mode does not support template, system, or context")
    _check_thinking(request, model)
    model.require("completion", f'"{request.shown}" does not support generate')
    if request.suffix:
        model.require("insert", f"{model.name.full} does not support insert")


def _check_thinking(request: Chat | Generate, model: Model) -> None:
    if request.think and not request.think_if_able:
        model.require("thinking", f'"{request.shown}" does not support thinking')


def check_embed(request: Embed, model: Model, options: Options) -> None:
    """Raise what keeps this model from making these vectors, the first reason in Ollama's order."""
    if not model.can("embedding"):
        raise NotSupported(f'"{request.shown}" does not support embeddings')
    if request.texts and options.num_ctx is not None and options.num_ctx < _LEAST_EMBED_CONTEXT:
        raise BadRequest("input after truncation exceeds maximum context length")


def check_rerank(request: Rerank, model: Model) -> None:
    """Raise NotSupported for a model that does not rank, be it by a head of its own or by saying yes or no."""
    judges = model.can("completion") and "rerank" in model.name.model.lower()
    if not model.can("rerank") and not judges:
        raise NotSupported(f'"{request.shown}" does not support reranking')


def check_content(request: Chat | Generate, model: Model, *, rendered: bool = False) -> None:
    """Raise for what is asked of the answer, or given beside the text, that would otherwise be dropped in silence.

    `rendered` says that another template than the model's own Jinja makes the prompt.
    """
    if request.bad_format:
        raise BadFormat(request.bad_format)
    _check_media(request, model, rendered=rendered)


def _check_media(request: Chat | Generate, model: Model, *, rendered: bool) -> None:
    """Raise NotCapable for images or sound that the model has no encoder for; its words are the engine's."""
    groups = [message.images for message in request.messages] if isinstance(request, Chat) else [request.images]
    files = [file for group in groups for file in group]
    sounds = sum(map(is_audio, files))
    if files and not model.can("vision") and not model.can("audio"):
        why = _NO_PROJECTOR if isinstance(request, Chat) and not rendered else _NO_MEDIA
        raise NotCapable(f'"{request.shown}" does not support images: {why}')
    if sounds and not model.can("audio"):
        raise NotCapable(f'"{request.shown}" does not support audio')
    if sounds < len(files) and not model.can("vision"):
        raise NotCapable(f'"{request.shown}" does not support images')
    if files and not model.files.projectors:
        raise NotCapable(f'"{request.shown}" does not support images here: {_INSIDE}')
    if model.config.model_family == "mllama" and max(map(len, groups), default=0) > 1:
        raise BadRequest("this model only supports one image while more than one image requested")


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
        think=request.think,
        options=options,
        truncate=request.truncate,
        shift=shifts(request, model),
        top_logprobs=request.top_logprobs,
        logit_bias=_bias(request, model),
        render_only=request.render_only,
        clean_thinking=_forgets_thinking(model),
        tool_choice=request.tool_choice,
        parallel_tool_calls=request.parallel_tool_calls,
        **_form(request),
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
        think=request.think,
        context=request.context or (),
        want_context=not request.raw,
        options=options,
        truncate=request.truncate,
        shift=shifts(request, model),
        top_logprobs=request.top_logprobs,
        logit_bias=_bias(request, model),
        render_only=request.render_only,
        clean_thinking=_forgets_thinking(model),
        parse_tools=False,
        **_form(request),
    )


def _form(request: Chat | Generate) -> dict[str, Any]:
    """What the form of the answer must be, as a Run says it."""
    return {
        "format": request.format,
        "grammar": request.grammar,
        "choices": request.choices,
        "pattern": request.pattern,
    }


def has_form(request: Chat | Generate) -> bool:
    """Whether something is asked of the form of the answer."""
    must_call = isinstance(request, Chat) and request.tool_choice.mode == "required"
    return must_call or request.format is not None or bool(request.grammar or request.choices or request.pattern)


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


def shifts(request: Chat | Generate, model: Model) -> bool:
    """Whether a full context drops its oldest half and goes on; DeepSeek's second family cannot."""
    return request.shift if request.shift is not None else model.config.model_family != "deepseek2"


def _forgets_thinking(model: Model) -> bool:
    """Families whose earlier answers are given back without what they thought."""
    return model.config.model_family == "qwen3" or model.name.model == "deepseek-r1"
