"""What a request wants, and what keeps a model from it: checks in Ollama's order, all before any load. Pure."""

from typing import Final

from a3s_power.core.errors import BadFormat, BadRequest, NotCapable, NotSupported
from a3s_power.core.manifest import FILE
from a3s_power.core.media import is_audio
from a3s_power.core.model import Model
from a3s_power.core.options import Options
from a3s_power.core.requests import Chat, Embed, Generate, Request, Rerank
from a3s_power.gguf.layout import quoted

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


def wants_structure(request: Chat | Generate) -> bool:
    """Whether something is asked of the structure of the answer."""
    must_call = isinstance(request, Chat) and request.tool_choice.mode == "required"
    return must_call or request.format is not None or bool(request.grammar or request.choices or request.pattern)


def check_runnable(request: Request, model: Model) -> None:
    """Raise NotSupported for a model without a GGUF: one of safetensors, or one that runs elsewhere.

    It is in no memory, so that it may always be told to leave it.
    """
    if isinstance(request, Chat | Generate) and wants_unload(request):
        return
    if model.config.remote_host or model.config.remote_model:
        raise NotSupported(f'"{request.shown}" runs on {model.config.remote_host or "another host"}, not here')
    if model.manifest.of_type(FILE):
        architecture = quoted(model.facts.architecture)
        raise NotSupported(f'"{request.shown}" is kept as safetensors: this version has no engine for {architecture}')
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


def check_wanted(request: Generate | Embed, model: Model, options: Options) -> None:
    """Raise what keeps this model from a request whose text is still to come."""
    match request:
        case Generate():
            check_generate(request, model)
        case Embed():
            check_embed(request, model, options)


def check_rerank(request: Rerank, model: Model) -> None:
    """Raise NotSupported for a model that does not rank, be it by a head of its own or by saying yes or no."""
    judges = model.can("completion") and "rerank" in model.name.model.lower()
    if not model.can("rerank") and not judges:
        raise NotSupported(f'"{request.shown}" does not support reranking')


def check_options(options: Options) -> None:
    """Raise BadRequest for a value that the engine would refuse after a load; others it brings into its range."""
    if options.repeat_penalty is not None and options.repeat_penalty <= 0:
        raise BadRequest('option "repeat_penalty" must be greater than 0')


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
