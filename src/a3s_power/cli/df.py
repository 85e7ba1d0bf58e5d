"""`a3s-power df`: what takes the room in this machine's models folder."""

import time

from a3s_power.cli.display import print_json, table
from a3s_power.cli.folder import downloads, kept_prompts, models_folder
from a3s_power.cli.options import command, json_flag
from a3s_power.core.sizes import human_bytes
from a3s_power.store.disk import Disk, disk


@command("df", json_flag(), most=0)
def df(words: tuple[str, ...], *, json: bool) -> None:  # noqa: ARG001 -- it takes none
    """Print the bytes of each model, those it shares and those that go with it, and what lies there beside them."""
    store = models_folder()
    found = disk(store, time.time())
    if json:
        print_json({"folder": str(store.root), **_as_json(found), "prompts": _prompts()})
        return
    rows = [
        (each.name.short, human_bytes(each.size), human_bytes(each.shared), human_bytes(each.unique))
        for each in found.models
    ]
    print(table(rows, ("NAME", "SIZE", "SHARED", "UNIQUE")), end="")
    print()
    print(table(_sums(found), wrap_at=100), end="")
    print(f"in {store.root}")


def _sums(found: Disk) -> list[tuple[str, str, str]]:
    partial, unused = (sum(file.size for file in files) for files in (found.partials, found.unused))
    rows = [("models", human_bytes(found.total), "")]
    if partial:
        rows.append(
            ("unfinished downloads", human_bytes(partial), "pull again to go on, or: a3s-power prune --partials")
        )
    if unused:
        rows.append(("used by no model", human_bytes(unused), "a3s-power prune"))
    if prompts := _prompts():
        rows.append(("prompts kept", human_bytes(prompts), "a3s-power prune --prompts"))
    return rows


def _prompts() -> int:
    return sum(file.size for file in kept_prompts())


def _as_json(found: Disk) -> dict[str, object]:
    return {
        "models": [
            {"name": each.name.short, "size": each.size, "shared": each.shared, "unique": each.unique}
            for each in found.models
        ],
        "total": found.total,
        "unfinished": [{"digest": digest, "size": size} for digest, size in downloads(found.partials)],
        "unused": [{"file": file.path.name, "size": file.size} for file in found.unused],
    }
