"""`a3s-power bench`: how fast a model reads and writes here, by a server and by the bare engine beside it."""

import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from a3s_power.cli.borrowed import server_for
from a3s_power.cli.client import Client, Refused, connect
from a3s_power.cli.display import print_json, table
from a3s_power.cli.lengths import Prompts
from a3s_power.cli.options import BOOLEAN, TEXT, WHOLE, Flag, command, json_flag
from a3s_power.cli.progress import Progress
from a3s_power.cli.rates import Rates, Streamed, rates, served
from a3s_power.core.errors import BadRequest, PowerError

_PROMPT: Final = "128,512"
_CLIENTS: Final = "1,4"
_GENERATE: Final = 64
_ROUNDS: Final = 3
_MOST: Final = 1000
"""Clients, or rounds."""
_WARM_TOKENS: Final = 8
_AWAKE_SECONDS: Final = 5.0
_SHOWN: Final = ("parallel", "context_length", "batch", "threads", "threads_batch", "gpu_layers", "kv_cache_type")
"""Of the options of a load those that a table tells."""
_HEADER: Final = ("PROMPT", "CLIENTS", "ASKED", "FIRST TOKEN", "SAME AGAIN", "PROMPT TOKENS/S", "ANSWER TOKENS/S")

Sides = dict[str, Callable[[Sequence[str], int], Sequence[Streamed]]]
"""What answers prompts, each with so many tokens, all at once."""


class Plan(NamedTuple):
    """Lengths of prompts, tokens of each answer, numbers of clients, and how often each is measured."""

    prompts: Sequence[int]
    generate: int
    clients: Sequence[int]
    rounds: int


class Row(NamedTuple):
    """A length of prompts, as it came out, with so many clients: what the server made of it, and the bare engine."""

    prompt: int
    clients: int
    server: Rates
    bare: Rates | None


class Found(NamedTuple):
    """All rows, how the server has loaded the model, and why the bare engine is not among them."""

    rows: Sequence[Row]
    loaded: Mapping[str, Any]
    no_bare: str


@command(
    "bench",
    Flag("--prompt", f"Tokens of a prompt, several with commas between (default {_PROMPT})", TEXT),
    Flag("--generate", f"Tokens of each answer (default {_GENERATE})", WHOLE),
    Flag("--clients", f"How many ask at once, several with commas between (default {_CLIENTS})", TEXT),
    Flag("--rounds", f"How often each is measured (default {_ROUNDS})", WHOLE),
    Flag("--context", "Tokens of context that the model is loaded with", WHOLE),
    Flag("--no-bare", "Leave out the bare engine", BOOLEAN),
    Flag("--plot", "Draw the figures into this file, as SVG", TEXT),
    json_flag(),
    least=1,
    most=1,
)
def bench(
    words: tuple[str, ...],
    *,
    context: int | None,
    no_bare: bool,
    plot: str | None,
    json: bool,
    **said: str | int | None,
) -> None:
    """Measure a model in turns: as clients of a server, and by the engine alone, loaded in the same way.

    Every prompt is new to the engine; then each is asked again, and the first token's wait is told for that, too. The
    prompts and the seed are the same ones in every run.
    """
    plan = _plan(said)
    file = _plot_file(plot)
    request: dict[str, Any] = {"model": words[0], "options": {"num_ctx": context} if context else {}}
    with server_for(connect()) as client, Progress(keep=False) as progress:
        progress.status(f"loading {words[0]}")
        found = _measured(client, request, plan, progress, bare=not no_bare)
    if file:
        file.write_text(_picture(words[0], plan, found.rows), encoding="utf-8")
    if json:
        print_json(_as_json(words[0], plan, found))
        return
    print(table(_cells(found.rows), _HEADER, wrap_at=100), end="")
    print(_how(found))


def _plan(said: Mapping[str, str | int | None]) -> Plan:
    """What the flags ask for. Raises BadRequest."""
    plan = Plan(
        prompts=_numbers("prompt", _PROMPT if said["prompt"] is None else said["prompt"], 1_000_000),
        generate=_GENERATE if said["generate"] is None else int(said["generate"]),
        clients=_numbers("clients", _CLIENTS if said["clients"] is None else said["clients"], _MOST),
        rounds=_ROUNDS if said["rounds"] is None else int(said["rounds"]),
    )
    for name, value, least in (("generate", plan.generate, 2), ("rounds", plan.rounds, 1)):
        if value < least:
            raise BadRequest(f"--{name} must be at least {least}")
    return plan


def _numbers(name: str, said: str | int, most: int) -> list[int]:
    """Numbers with commas between, each once, the least first. Raises BadRequest."""
    parts = [part.strip() for part in str(said).split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= most for part in parts):
        raise BadRequest(f"--{name} must be numbers from 1 to {most} with commas between, such as 1,2,4")
    return sorted(set(map(int, parts)))


def _plot_file(plot: str | None) -> Path | None:
    """Where the picture goes. Raises BadRequest before anything is measured for nothing."""
    if not plot:
        return None
    file = Path(plot)
    if file.suffix.lower() != ".svg":
        raise BadRequest(f"plots are drawn as SVG: {file} does not end in .svg")
    if not file.absolute().parent.is_dir():
        raise BadRequest(f"{file.absolute().parent} is no folder")
    return file


def _measured(client: Client, request: Mapping[str, Any], plan: Plan, progress: Progress, *, bare: bool) -> Found:
    # With its own words: a model that cannot generate is refused here.
    client.ask("POST", "/api/generate", {**request, "stream": False})
    with ExitStack() as exits:
        sides: Sides = {"server": functools.partial(served, client, request)}
        loaded, no_bare = _loaded(client, request["model"]), "not asked for"
        _check_context(plan, int(loaded.get("context_length") or 0))
        if bare:
            from a3s_power.cli import bare as engine  # noqa: PLC0415 -- a client alone needs no runner

            model = engine.local(request["model"])
            loaded = loaded or _loaded(client, request["model"], model.weights.hex if model else "")
            found, no_bare = engine.of_server(client, loaded, model)
            if found:
                exits.enter_context(_kept_awake(lambda: _count(client, request, "a")))
                sides["bare"] = exits.enter_context(found).streams
        prompts = Prompts(lambda text: _count(client, request, text))
        for side in sides.values():
            side([prompts.make(_WARM_TOKENS)], 2)
        rows = []
        for length, clients in itertools.product(plan.prompts, plan.clients):
            progress.status(f"{length} tokens of prompt, {clients} at once")
            rows.append(_row(sides, prompts, length, clients, plan))
    return Found(rows, loaded, no_bare)


def _loaded(client: Client, model: str, weights: str = "") -> Mapping[str, Any]:
    """What the server says of the model in its memory, by its name, or by its weights where another name loaded it.

    Nothing where it is a server of another kind.
    """
    try:
        loaded = client.ask("GET", "/status").get("loaded_models") or []
    except Refused:
        return {}
    shown = (model if ":" in model.rpartition("/")[2] else f"{model}:latest").lower()
    known = (each for each in loaded if isinstance(each, dict))
    return next(
        (each for each in known if each.get("weights") == weights or str(each.get("model")).lower() == shown), {}
    )


def _check_context(plan: Plan, context: int) -> None:
    wanted = max(plan.prompts) + plan.generate
    if 0 < context < wanted:
        raise BadRequest(
            f"a prompt of {max(plan.prompts)} tokens and an answer of {plan.generate} are more than the context of"
            f" {context}: try --context {wanted}"
        )


def _count(client: Client, request: Mapping[str, Any], text: str) -> int:
    return len(client.ask("POST", "/api/tokenize", {**request, "text": text, "add_special": True}).get("tokens") or ())


@contextmanager
def _kept_awake(ask: Callable[[], object]) -> Iterator[None]:
    """Ask a server now and then: one that is left alone measures its engine itself, beside the bare one's turns."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(_AWAKE_SECONDS):
            with suppress(PowerError):
                ask()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _row(sides: Sides, prompts: Prompts, length: int, clients: int, plan: Plan) -> Row:
    """Rounds in turn, the first side last the next time; each with prompts of its own, and with them again."""
    fresh: dict[str, list[Sequence[Streamed]]] = {name: [] for name in sides}
    cached: dict[str, list[Sequence[Streamed]]] = {name: [] for name in sides}
    for number in range(plan.rounds):
        asked = [prompts.make(length) for _ in range(clients)]
        for name in sorted(sides, reverse=bool(number % 2)):
            fresh[name].append(sides[name](asked, plan.generate))
            cached[name].append(sides[name](asked, 1))
    counted = fresh["server"][0][0].prompt_tokens
    found = {name: rates(fresh[name], cached[name]) for name in sides}
    return Row(counted, clients, found["server"], found.get("bare"))


def _cells(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        yield str(row.prompt), str(row.clients), "server", *_figures(row.server)
        if row.bare:
            yield "", "", "bare engine", *_figures(row.bare)
            yield "", "", "server / bare", "", "", *(f"{ratio:.3f}" for ratio in _ratios(row.server, row.bare))


def _figures(found: Rates) -> Iterator[str]:
    yield from (f"{found.first_ms:.1f} ms", f"{found.cached_ms:.1f} ms", f"{found.prompt:.1f}", f"{found.output:.1f}")


def _ratios(server: Rates, bare: Rates) -> tuple[float, float]:
    """Of reading and of writing; 0 where the engine told no time."""
    return (server.prompt / bare.prompt if bare.prompt else 0.0, server.output / bare.output if bare.output else 0.0)


def _how(found: Found) -> str:
    """How the model was loaded, and why the bare engine is not there."""
    options = found.loaded.get("load_options") or {}
    lines = ["loaded with " + ", ".join(f"{name} {options[name]}" for name in _SHOWN if name in options)]
    slots, most = int(options.get("parallel") or 0), max(row.clients for row in found.rows)
    if 0 < slots < most:
        lines.append(f"{most} clients share {slots} slot{'s' if slots > 1 else ''}: OLLAMA_NUM_PARALLEL gives more")
    if found.no_bare:
        lines.append(f"no bare engine: {found.no_bare}")
    return "\n".join(lines if options else lines[1:])


def _as_json(model: str, plan: Plan, found: Found) -> dict[str, Any]:
    return {
        "model": model,
        "generate": plan.generate,
        "rounds": plan.rounds,
        "engine": found.loaded.get("engine"),
        "load_options": found.loaded.get("load_options"),
        "no_bare": found.no_bare or None,
        "rows": [
            {
                "prompt_tokens": row.prompt,
                "clients": row.clients,
                "server": row.server._asdict(),
                "bare": row.bare._asdict() if row.bare else None,
                "ratio": dict(zip(("prompt", "output"), _ratios(row.server, row.bare), strict=True))
                if row.bare
                else None,
            }
            for row in found.rows
        ],
    }


def _picture(model: str, plan: Plan, rows: Sequence[Row]) -> str:
    # Most benches are read as a table.
    from a3s_power.cli.plot import Line, Panel, svg  # noqa: PLC0415

    clients = list(dict.fromkeys(row.clients for row in rows))
    lengths = list(dict.fromkeys(row.prompt for row in rows))

    def lines(kind: str, *, cached: bool = False) -> Iterator[Line]:
        for colour, count in enumerate(clients):
            some = [row for row in rows if row.clients == count]
            name = f"{count} at once"
            yield Line(name, [getattr(row.server, kind) for row in some], colour)
            if cached:
                yield Line(f"{name}, same prompt again", [row.server.cached_ms for row in some], colour, dashed=True)
            elif all(row.bare for row in some):
                yield Line(f"{name}, bare engine", [getattr(row.bare, kind) for row in some], colour, dashed=True)

    titles = {"prompt": "Reading prompts, tokens/s", "output": f"Writing {plan.generate} tokens each, tokens/s"}
    places = [str(length) for length in lengths]
    panels = [Panel(title, "tokens of prompt", places, list(lines(kind))) for kind, title in titles.items()]
    panels.append(Panel("First token, ms", "tokens of prompt", places, list(lines("first_ms", cached=True))))
    return svg(model, panels)
