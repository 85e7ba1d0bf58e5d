"""`a3s-power cp`: a second name for a model."""

from a3s_power.cli.client import connect
from a3s_power.cli.options import command


@command("cp", least=2, most=2)
def cp(words: tuple[str, ...]) -> None:
    """Copy a model."""
    source, destination = words
    connect().ask("POST", "/api/copy", {"source": source, "destination": destination})
    print(f"copied '{source}' to '{destination}'")
