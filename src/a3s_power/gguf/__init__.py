"""GGUF files: read a header and mistrust every number of it; say what it means; write one."""
