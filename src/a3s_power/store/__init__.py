"""Models on this disk, in the layout of Ollama's models folder."""

from a3s_power.store.store import Store

__all__ = ["Store"]
