"""A3S Power: a local model server. The version, and nothing else."""

__version__ = "0.1.0"
