"""Who is in memory, who waits: `core` decides, `loop` acts, `placement` says how a model is loaded."""
