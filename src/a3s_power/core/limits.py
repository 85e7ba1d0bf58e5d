"""What is too much: sizes, counts and depths, as constants with their units in the name."""

from typing import Final

MIB: Final = 1024 * 1024

# HTTP
HEADERS: Final = 100
HEADER_LINE_BYTES: Final = 8 * 1024
HEAD_BYTES: Final = 64 * 1024
CHAT_BODY_BYTES: Final = 100 * MIB
EMBED_BODY_BYTES: Final = 32 * MIB
OTHER_BODY_BYTES: Final = 4 * MIB
JSON_DEPTH: Final = 128
JSON_NODES: Final = 2_000_000
JSON_NUMBER_CHARACTERS: Final = 400
MESSAGES: Final = 16_384
TOOLS: Final = 512
STOPS: Final = 64
STOP_BYTES: Final = 1024
EMBED_INPUTS: Final = 2048
RERANK_DOCUMENTS: Final = 2048
TOP_LOGPROBS: Final = 20
CHOICES: Final = 64
"""Answers that one request may want."""
IMAGES: Final = 32
IMAGE_BYTES: Final = 20 * MIB
"""Of one image as it is sent, in base64."""
IMAGE_PIXELS: Final = 64_000_000
IMAGES_PIXELS: Final = 128_000_000
"""Of all images of a request: the engine holds them all at once, three bytes for each."""
IMAGE_RATIO: Final = 200
"""Of an image's longer side to its shorter one."""
IMAGE_SCANS: Final = 200
"""Times that a progressive JPEG goes over the whole image; a usual one does so about ten times."""
AUDIO_SECONDS: Final = 30 * 60

# Files
MANIFEST_BYTES: Final = 1 * MIB
CONFIG_BYTES: Final = 1 * MIB
SMALL_LAYER_BYTES: Final = 16 * MIB
TEMPLATE_BYTES: Final = 1 * MIB
LAYERS: Final = 64
GGUF_KEY_VALUES: Final = 65_536
GGUF_TENSORS: Final = 65_536
GGUF_STRING_BYTES: Final = 16 * MIB
GGUF_ARRAY_ITEMS: Final = 64 * MIB
GGUF_DIMENSIONS: Final = 4
GGUF_KEY_BYTES: Final = 65_535
GGUF_METADATA_BYTES: Final = 128 * MIB
"""All key-values and tensor descriptions together."""
GGUF_ARRAY_ITEMS_READ: Final = 2 * MIB
"""Of all arrays of a file together; of an array beyond it only the number of items is told."""

# Prompts
RENDER_SECONDS: Final = 2.0
RENDER_EXTRA_BYTES: Final = 1 * MIB

# Disk
DISK_KEEP_FREE_BYTES: Final = 1024 * MIB
