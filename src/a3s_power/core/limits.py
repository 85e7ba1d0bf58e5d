"""What is too much: sizes, counts and depths, as constants with their units in the name."""

from typing import Final

MIB: Final = 1024 * 1024

# HTTP
CHAT_BODY_BYTES: Final = 100 * MIB
EMBED_BODY_BYTES: Final = 32 * MIB
OTHER_BODY_BYTES: Final = 4 * MIB
JSON_DEPTH: Final = 128
JSON_NODES: Final = 2_000_000
MESSAGES: Final = 16_384
TOOLS: Final = 512
STOPS: Final = 64
STOP_BYTES: Final = 1024
EMBED_INPUTS: Final = 2048
TOP_LOGPROBS: Final = 20
IMAGES: Final = 32

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

# Prompts
RENDER_SECONDS: Final = 2.0
RENDER_EXTRA_BYTES: Final = 1 * MIB

# Disk
DISK_KEEP_FREE_BYTES: Final = 1024 * MIB
