"""Models that cannot be converted: their files are kept as they are, for engines that read safetensors."""

from a3s_power.core.errors import BadRequest
from a3s_power.core.events import Progress
from a3s_power.core.manifest import FILE, ConfigBlob, Layer
from a3s_power.core.model import Facts
from a3s_power.core.requests import Create
from a3s_power.core.sizes import human_count
from a3s_power.create.convert.config import kept_note
from a3s_power.create.convert.start import Unconvertible
from a3s_power.create.making import Making
from a3s_power.create.sources import Source
from a3s_power.gguf.layout import quoted


def kept(found: Unconvertible, making: Making) -> Source:
    """The files as layers under their names. Raises BlobNotFound when one has gone meanwhile."""
    making.report(Progress(kept_note(found.outline.unsupported)))
    sizes = making.store.blobs.size
    outline = found.outline
    return Source(
        layers=tuple(
            Layer(media_type=FILE, digest=str(digest), size=sizes(digest), name=name)
            for name, digest in sorted(found.files.items())
        ),
        config=ConfigBlob(
            model_format="safetensors",
            model_family=outline.unsupported,
            model_families=[outline.unsupported],
            model_type=human_count(outline.parameters),
            file_type=outline.type,
        ),
        facts=Facts(architecture=outline.unsupported, parameters=outline.parameters),
    )


def check_kept(request: Create, source: Source) -> None:
    """Raise BadRequest for what can only be done with a GGUF, where the source is none."""
    if not any(layer.media_type == FILE for layer in source.layers):
        return
    architecture = quoted(source.facts.architecture)
    if request.quantize:
        raise BadRequest(f"weights kept as safetensors cannot be quantized: unsupported architecture {architecture}")
    if request.adapters or request.draft_files or (request.source is not None and request.files):
        raise BadRequest(f"weights kept as safetensors take no further files: unsupported architecture {architecture}")
