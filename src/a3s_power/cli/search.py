"""`a3s-power search`: models of the hub that can be pulled."""

from a3s_power.cli.display import print_json, table
from a3s_power.cli.elsewhere import catalogue
from a3s_power.cli.options import WHOLE, Flag, command, json_flag
from a3s_power.core.errors import BadRequest

_MOST = 20
_LIMIT = 100


@command("search", Flag("--limit", f"Most results, {_MOST} unless said", WHOLE), json_flag(), least=1)
def search(words: tuple[str, ...], *, limit: int | None, json: bool) -> None:
    """Print what the hub finds for the words, the most downloaded first; nothing is pulled."""
    most = _MOST if limit is None else limit
    if not 0 < most <= _LIMIT:
        raise BadRequest(f'invalid value for --limit: "{most}" (must be from 1 to {_LIMIT})')
    with catalogue() as asked:
        found = asked.search(" ".join(words), most)
    if json:
        print_json({"models": [{"name": f"hf.co/{one.id}", "downloads": one.downloads} for one in found]})
    else:
        rows = [(f"hf.co/{one.id}", f"{one.downloads:,}") for one in found]
        print(table(rows, ("NAME", "DOWNLOADS"), wrap_at=100), end="")
