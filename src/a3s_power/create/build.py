"""Build a model: source layers, the request's own layers on top, the config, and last the manifest.

The lines reported are Ollama's, as far as the same thing is done. An uploaded GGUF is checked by our own reader and
becomes a layer as it is; it is not passed through llama.cpp's quantiser, so `validating GGUF model` never appears, and
the digest stays that of the upload. No template is chosen from a list of known ones:
a GGUF's own chat template is used instead.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from a3s_power.core import limits
from a3s_power.core import manifest as types
from a3s_power.core.errors import BadRequest, BadTemplate
from a3s_power.core.events import Progress
from a3s_power.core.manifest import ConfigBlob, Layer, Manifest, write_config, write_manifest
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create
from a3s_power.core.sizes import human_count
from a3s_power.create import quantize
from a3s_power.create.checks import check_request, info_count, info_text, info_texts, version
from a3s_power.create.child import Children
from a3s_power.create.convert.start import Unconvertible
from a3s_power.create.kept import check_kept, kept
from a3s_power.create.making import Making, Report
from a3s_power.create.sources import Source, from_files, from_model, with_adapters, with_draft, with_files
from a3s_power.store import Store
from a3s_power.store.layers import write_messages, write_parameters

_OWN_FORMATS: Final = {
    "gemma4": "gemma4",
    "laguna": "laguna",
    "nemotron_h": "nemotron-3-nano",
    "nemotron_h_moe": "nemotron-3-nano",
    "nemotron_h_omni": "nemotron-3-nano",
}
"""Architectures whose renderer and parser are known when nobody names one."""

_OWN_STOPS: Final = {"gemma4": ["<turn|>"]}


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All of a model but what is still to be written: layers that are there, new ones' contents, the config."""

    kept: tuple[Layer, ...]
    new: tuple[tuple[str, bytes], ...]
    config: ConfigBlob


class _Levels(msgspec.Struct, frozen=True, kw_only=True):
    """What weights and draft model are to be quantised to; empty for what stays as it is."""

    weights: str
    draft: str


def build(
    request: Create,
    store: Store,
    report: Report,
    *,
    check_template: Callable[[str], None],
    children: Children | None = None,
) -> ModelName:
    """Make the model; the name in the spelling it was written under. Blocks; `report` is called between the steps.

    `check_template` raises BadTemplate for a Go template that cannot be used. `children` do what is better done in
    other processes; ending them ends the build. Whatever goes wrong, no manifest is written then and no layer stays
    that nothing refers to.

    Raises:
        BadRequest: the request says what cannot be; BadFile and BadTemplate are of this kind.
        ModelNotFound, BlobNotFound: the source model or an uploaded file is not there.
        EngineFailed: what was to be done in another process was not.
        StoreFailed: the models folder could not take it.
    """
    check_request(request)
    with Making.begun(store, report, children or Children()) as making:
        source = _source(request, making)
        check_kept(request, source)
        source = with_adapters(source, request.adapters or {}, making)
        source = with_draft(source, request.draft_files or {}, making)
        levels = _Levels(
            weights=quantize.level(request.quantize, source.header),
            draft=quantize.draft_level(request.draft_quantize, source.draft),
        )
        plan = _plan(request, source, levels.weights, check_template)
        layers = [_quantized(layer, source, levels, making) for layer in plan.kept]
        layers += [making.put(media_type, content) for media_type, content in plan.new]
        config = making.put(types.CONFIG_TYPE, write_config(plan.config))
        for layer in layers:
            making.announce(layer)
        report(Progress("writing manifest"))
        manifest = Manifest(config=config, layers=tuple(layers))
        name = store.write(request.model, write_manifest(manifest))
        making.leave(manifest.blobs)
    report(Progress("success"))
    return name


def _source(request: Create, making: Making) -> Source:
    if request.source is not None:
        source = from_model(making.store.models.read(request.source))
        return with_files(source, request.files, making) if request.files else source
    if request.files is None:
        raise BadRequest("neither 'from' or 'files' was specified")
    try:
        return from_files(request.files, making)
    except Unconvertible as found:
        if any(name.endswith(".gguf") for name in request.files):
            raise
        return kept(found, making)


def _quantized(layer: Layer, source: Source, levels: _Levels, making: Making) -> Layer:
    match layer.media_type:
        case types.MODEL:
            header, level = source.header, levels.weights
        case types.DRAFT:
            header, level = source.draft, levels.draft
        case _:
            return layer
    return quantize.quantized(layer, header, level, making) if header and level else layer


def _plan(request: Create, source: Source, level: str, check_template: Callable[[str], None]) -> _Plan:
    """Everything that can be refused is refused here, before the long work."""
    config = _config(request, source, level)
    new = list(_texts(request, check_template))
    parameters = _parameters(request, source, config)
    if parameters:
        new.append((types.PARAMS, write_parameters({**source.parameters, **parameters})))
    if request.messages:
        new.append((types.MESSAGES, write_messages(request.messages)))
    for media_type, content in new:
        if len(content) > limits.SMALL_LAYER_BYTES:
            raise BadRequest(f"{media_type.rpartition('.')[2]} is larger than {limits.SMALL_LAYER_BYTES} bytes")
    replaced = {media_type for media_type, _ in new} - {types.LICENSE}
    if types.TEMPLATE in replaced:
        replaced.add(types.PROMPT)
    kept = tuple(layer for layer in source.layers if layer.media_type not in replaced)
    many = any(layer.media_type in types.MANY for layer in kept)
    if len(kept) + len(new) > limits.LAYERS and not many:
        raise BadRequest(f"a model has at most {limits.LAYERS} layers")
    return _Plan(kept=kept, new=tuple(new), config=config)


def _texts(request: Create, check_template: Callable[[str], None]) -> Iterator[tuple[str, bytes]]:
    if request.template:
        try:
            check_template(request.template)
        except BadTemplate as error:
            raise BadTemplate(f"template error: {error}") from error
        yield types.TEMPLATE, request.template.encode()
    if request.system:
        yield types.SYSTEM, request.system.encode()
    for text in request.licenses:
        yield types.LICENSE, text.encode()


def _config(request: Create, source: Source, level: str) -> ConfigBlob:
    """The request's word goes before the source's, and that before what the weights say."""
    base, info, weights = source.config, request.info, source.facts
    own = _OWN_FORMATS.get(weights.architecture, "")
    return msgspec.structs.replace(
        base,
        model_format=base.model_format or "gguf",
        model_family=info_text(info, "model_family") or base.model_family or weights.architecture,
        model_families=[weights.architecture] if source.header else base.model_families,
        model_type=info_text(info, "parameter_size") or base.model_type or human_count(weights.parameters),
        file_type=info_text(info, "quantization_level") or level or base.file_type or weights.file_type,
        renderer=request.renderer or base.renderer or own,
        parser=request.parser or base.parser or own,
        requires=version(request.requires) or base.requires,
        capabilities=info_texts(info, "capabilities") or base.capabilities,
        context_length=info_count(info, "context_length") or base.context_length,
        embedding_length=info_count(info, "embedding_length") or base.embedding_length,
        base_name=info_text(info, "base_name") or base.base_name,
        architecture="amd64",
        os="linux",
    )


def _parameters(request: Create, source: Source, config: ConfigBlob) -> dict[str, Any]:
    """What the params layer gets anew."""
    said = {**source.parameters, **request.parameters}
    unnamed = not (request.renderer or request.parser or source.config.renderer or source.config.parser)
    stops = _OWN_STOPS.get(config.renderer)
    return {**request.parameters, "stop": stops} if stops and unnamed and "stop" not in said else request.parameters
