"""`a3s-power prune`: what no model needs leaves this machine's models folder."""

import time

from a3s_power.cli.display import table
from a3s_power.cli.folder import kept_prompts, models_folder
from a3s_power.cli.options import BOOLEAN, Flag, command
from a3s_power.core.durations import parse_duration
from a3s_power.core.errors import BadRequest
from a3s_power.core.sizes import human_bytes
from a3s_power.store.prune import YOUNG_SECONDS, Unused


@command(
    "prune",
    Flag("--age", "Only what has been left alone for so long, 1h unless said; with less, work under way may be lost"),
    Flag("--dry-run", "Only say what would go", BOOLEAN),
    Flag("--partials", "Unfinished downloads, too", BOOLEAN),
    Flag("--prompts", "What models had read when they left memory, too", BOOLEAN),
    most=0,
)
def prune(words: tuple[str, ...], *, age: str | None, dry_run: bool, partials: bool, prompts: bool) -> None:  # noqa: ARG001 -- none
    """Remove blobs of no model, and say how much that was."""
    seconds = YOUNG_SECONDS if age is None else parse_duration(age) / 1e9
    if seconds < 0:
        raise BadRequest(f'invalid value for --age: "{age}" (must not be negative)')
    store, now = models_folder(), time.time()
    find = store.unused if dry_run else store.remove_unused
    found = [*find(now, seconds, partials=partials), *(_prompts(dry_run=dry_run) if prompts else ())]
    print(table([(file.path.name, human_bytes(file.size)) for file in found], wrap_at=100), end="")
    total = human_bytes(sum(file.size for file in found))
    print(f"{'would free' if dry_run else 'freed'} {total} in {store.root}")


def _prompts(*, dry_run: bool) -> list[Unused]:
    found = kept_prompts()
    for file in () if dry_run else found:
        file.path.unlink(missing_ok=True)
    return found
