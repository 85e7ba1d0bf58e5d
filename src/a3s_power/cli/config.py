"""`a3s-power config`: the settings in force, where each comes from, and whether the file of them is right."""

from typing import Final

from a3s_power import paths
from a3s_power.cli.display import print_json, table
from a3s_power.cli.options import BOOLEAN, Flag, command, json_flag
from a3s_power.config import SECRETS, Loaded, declared, load
from a3s_power.core.errors import BadRequest

_WORDS: Final = ("show", "check", "path")


@command("config", Flag("--origin", "Where each value comes from, too", BOOLEAN), json_flag(), most=1)
def config(words: tuple[str, ...], *, origin: bool, json: bool) -> None:
    """Print the settings (`show`), whether they can be read (`check`), or where their file is (`path`)."""
    word = words[0] if words else "show"
    if word not in _WORDS:
        raise BadRequest(f'unknown word "{word}" for "a3s-power config" (must be {", ".join(_WORDS)})')
    if word == "path":
        print(paths.config_file())
        return
    loaded = load(paths.config_file())
    if word == "check":
        _check(loaded)
    elif json:
        print_json({name: {"value": value, "origin": where} for name, value, where in _settings(loaded)})
    else:
        rows = [(name, _text(value), *([where] if origin else [])) for name, value, where in _settings(loaded)]
        print(table(rows, ("SETTING", "VALUE", *(["ORIGIN"] if origin else [])), wrap_at=100), end="")


def _check(loaded: Loaded) -> None:
    for name, warning in loaded.warnings.items():
        print(f"{name}: {warning}")
    file = paths.config_file()
    print(f"{file}: ok" if file.exists() else f"{file}: not there, so the defaults hold")


def _settings(loaded: Loaded) -> list[tuple[str, object, str]]:
    """Name, value and origin of every setting. What is secret is only told to be there."""
    found: list[tuple[str, object, str]] = []
    for one in declared():
        value: object = loaded.config
        for part in one.name.split("."):
            value = getattr(value, part)
        shown = "(set)" if one.name in SECRETS and value else value
        found.append((one.name, shown, loaded.origins.get(one.name, "default")))
    return found


def _text(value: object) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(map(str, value)) or "-"
    return str(value)
