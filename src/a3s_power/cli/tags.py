"""`a3s-power tags`: the tags that a model has where it comes from."""

from a3s_power.cli.display import print_json, table
from a3s_power.cli.elsewhere import catalogue
from a3s_power.cli.options import BOOLEAN, Flag, command, json_flag
from a3s_power.core.names import ModelName
from a3s_power.core.sizes import human_bytes


@command(
    "tags",
    Flag("--insecure", "Let the registry be spoken to without encryption", BOOLEAN),
    json_flag(),
    least=1,
    most=1,
)
def tags(words: tuple[str, ...], *, insecure: bool, json: bool) -> None:
    """Print the names by which its variants can be pulled, the smallest first."""
    name = ModelName.parse(words[0])
    shown = ModelName(name.host, name.namespace, name.model, "latest").short.removesuffix(":latest")
    with catalogue() as asked:
        found = asked.tags(name, insecure=insecure)
    if json:
        print_json({"model": shown, "tags": [{"name": one.tag, "size": one.size} for one in found]})
    else:
        rows = [(f"{shown}:{one.tag}", human_bytes(one.size) if one.size else "-") for one in found]
        print(table(rows, ("NAME", "SIZE"), wrap_at=100), end="")
