"""Folders of safetensors become GGUFs: each family's facts, tensors piece by piece, in a process of its own."""
