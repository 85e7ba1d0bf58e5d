"""Engines built for this very machine: their source, the tools that takes, the build, and the shelf they stand on."""
