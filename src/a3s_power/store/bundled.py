"""The model that comes with the package: power-tiny, three megabytes, for tests and demonstrations."""

from pathlib import Path
from typing import Final

from a3s_power.core import manifest as types
from a3s_power.core.manifest import ConfigBlob, Manifest, write_config
from a3s_power.core.names import ModelName
from a3s_power.core.sizes import human_count
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from a3s_power.store import layers
from a3s_power.store.blobs import Blobs

NAME: Final = ModelName.parse("power-tiny")

# Its few facts are right at the likeliest token and hardly beyond it.
_PARAMETERS: Final = {"temperature": 0}
_FOLDER: Final = Path(__file__).parent / "builtin"


def bundled_gguf() -> Path:
    """Its weights, in the installed package."""
    return _FOLDER / "power-tiny-Q8_0.gguf"


def is_bundled(name: ModelName) -> bool:
    """Whether this name means the model that comes with the package."""
    return name.folded == NAME


def put_blobs(blobs: Blobs) -> Manifest:
    """Store everything the model is made of; its manifest is the caller's to write. Raises DiskFull."""
    said = facts(read_header(bundled_gguf()))
    with bundled_gguf().open("rb") as weights:
        model, _ = layers.put(blobs, types.MODEL, weights)
    license_layer, _ = layers.put(blobs, types.LICENSE, (_FOLDER / "LICENSE").read_bytes())
    parameters, _ = layers.put(blobs, types.PARAMS, layers.write_parameters(_PARAMETERS))
    config = ConfigBlob(
        model_format="gguf",
        model_family=said.architecture,
        model_families=[said.architecture],
        model_type=human_count(said.parameters),
        file_type=said.file_type,
    )
    config_layer, _ = layers.put(blobs, types.CONFIG_TYPE, write_config(config))
    return Manifest(config=config_layer, layers=(model, license_layer, parameters))
