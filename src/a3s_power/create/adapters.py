"""Adapters: LoRA files that are laid over a model when it is loaded, checked against its tensors before that."""

from collections.abc import Mapping

from a3s_power.core.errors import BadFile, BadRequest
from a3s_power.core.manifest import Layer
from a3s_power.create import files as uploads
from a3s_power.create import lora
from a3s_power.create.making import Making
from a3s_power.gguf.layout import Header, quoted


def adapter(files: Mapping[str, str], model: Header | None, making: Making) -> Layer:
    """The layer of an uploaded adapter (file name to digest), a GGUF or one that becomes a GGUF.

    Raises:
        BadRequest: more than one, or one for which there is no model here.
        BadFile: it is none, or does not fit the model.
        BlobNotFound: a file was not uploaded.
    """
    if lora.is_safetensors(files):
        return _converted(files, model, making)
    (name, digest), *others = uploads.ggufs(files, making.store).items()
    if others:
        raise BadRequest("only one adapter is currently supported")
    file = uploads.read(name, digest, making)
    if file.kind != "adapter":
        raise BadFile(f"{quoted(name)} is not an adapter")
    if model is not None:
        check_adapter(file.header, model)
    return file.layer


def _converted(files: Mapping[str, str], model: Header | None, making: Making) -> Layer:
    if model is None:
        raise BadRequest("no base model was found")
    with lora.opened(files, model, making) as made:
        check_adapter(made.header, model)
        return making.put(uploads.MEDIA_TYPES["adapter"], made.pieces(), size=made.size)


def check_adapter(adapter: Header, model: Header) -> None:
    """Raise BadFile unless the adapter's tensors fit the model's, as llama.cpp demands it."""
    if adapter.architecture != model.architecture:
        raise BadFile(f"the adapter is for {adapter.architecture} and the model is {model.architecture}")
    shapes = {tensor.name: tensor.shape for tensor in model.tensors}
    parts = {tensor.name: tensor.shape for tensor in adapter.tensors}
    for name in parts:
        base, _, half = name.rpartition(".")
        if half not in ("lora_a", "lora_b") or f"{base}.lora_a" not in parts or f"{base}.lora_b" not in parts:
            raise BadFile(f"tensor {quoted(name)} is no half of an adapter's pair")
        if base not in shapes:
            raise BadFile(f"the adapter's tensor {quoted(base)} does not exist in the model")
        if not _fits(base, shapes[base], parts[f"{base}.lora_a"], parts[f"{base}.lora_b"]):
            raise BadFile(f"the adapter's tensor {quoted(base)} has another shape than the model's")


def _fits(name: str, base: tuple[int, ...], down: tuple[int, ...], up: tuple[int, ...]) -> bool:
    """llama.cpp refuses most pairs that do not fit, and ends itself over the rest."""
    if not len(base) == len(down) == len(up) >= 2 or not base[2:] == down[2:] == up[2:]:
        return False
    if name == "token_embd.weight":
        # An embedding is a look-up: its first half is stored the other way round.
        return down[0] == up[0] and (up[1], down[1]) == base
    return down[1] == up[0] and (down[0], up[1]) == base[:2]
