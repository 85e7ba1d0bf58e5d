"""`a3s-power outdated`: which models stand for something newer where they came from."""

from a3s_power.cli.client import connect
from a3s_power.cli.display import print_json, table
from a3s_power.cli.elsewhere import catalogue
from a3s_power.cli.options import BOOLEAN, Flag, command, json_flag
from a3s_power.core.digests import Digest
from a3s_power.core.names import ModelName

_SAYS = {
    "current": "up to date",
    "outdated": "pull it again",
    "gone": "made here, or gone from there",
    "unknown": "could not be asked",
}


@command(
    "outdated",
    Flag("--all", "Those that are up to date, too", BOOLEAN),
    Flag("--insecure", "Let registries be spoken to without encryption", BOOLEAN),
    json_flag(),
)
def outdated(words: tuple[str, ...], *, insecure: bool, json: bool, **said: bool) -> None:
    """Ask for each model, or those named, and print the ones that are not up to date; nothing is pulled."""
    models = connect().models("/api/tags")
    named = [(ModelName.parse(model["name"]), Digest.parse(f"sha256:{model.get('digest')}")) for model in models]
    wanted = {ModelName.parse(word) for word in words}
    with catalogue() as asked:
        ages = [
            (name.short, asked.age(name, digest, insecure=insecure))
            for name, digest in named
            if not wanted or name in wanted
        ]
    rows = [(name, age) for name, age in ages if said["all"] or age != "current"]
    if json:
        print_json({"models": [{"name": name, "state": age} for name, age in rows]})
    else:
        print(table([(name, _SAYS[age]) for name, age in rows], ("NAME", "STATE"), wrap_at=100), end="")
