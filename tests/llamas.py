"""What is known of a llama of 1.1 billion parameters in Q4_K_M, for tests of what that takes and how it is loaded."""

from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts

LLAMA = Facts(
    architecture="llama",
    file_type="Q4_K_M",
    context_length=8192,
    embedding_length=2048,
    block_count=22,
    feed_forward=5632,
    heads=32,
    kv_heads=(4,) * 22,
    head_k=64,
    head_v=64,
    vocabulary=32_000,
    weights_bytes=636 * MIB,
)
