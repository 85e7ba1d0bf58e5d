"""`a3s-power show`: what a model is."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from a3s_power.cli.client import connect
from a3s_power.cli.display import WRAP_AT, print_json, table
from a3s_power.cli.options import BOOLEAN, Flag, command, json_flag
from a3s_power.cli.terminal import harmless, is_terminal, width
from a3s_power.core.errors import BadRequest
from a3s_power.core.sizes import go_number, human_count

_PARTS: Final = ("license", "modelfile", "parameters", "system", "template")
_TEXT_WRAP: Final = 100
_ARRAY_WIDTH: Final = 10
_TEXT_LINES: Final = 2

Row = tuple[str, ...]


@command(
    "show",
    json_flag(),
    Flag("--license", "Only the license", BOOLEAN),
    Flag("--modelfile", "Only the Modelfile", BOOLEAN),
    Flag("--parameters", "Only the parameters", BOOLEAN),
    Flag("--system", "Only the system message", BOOLEAN),
    Flag("--template", "Only the template", BOOLEAN),
    Flag("-v --verbose", "All metadata and tensors, too", BOOLEAN),
    least=1,
    most=1,
)
def show(words: tuple[str, ...], *, verbose: bool, json: bool, **parts: bool) -> None:
    """Print a model's page, or one part of what it is made of."""
    wanted = [part for part in _PARTS if parts[part]]
    if len(wanted) > 1:
        listed = ", ".join(f"'--{part}'" for part in ("license", "modelfile", "parameters", "system"))
        raise BadRequest(f"only one of {listed}, or '--template' can be specified")
    answer = connect().ask("POST", "/api/show", {"model": words[0], "verbose": verbose})
    if json:
        print_json({part: answer.get(part) or "" for part in wanted} if wanted else answer)
        return
    if not wanted:
        print(page(answer, verbose=verbose), end="")
        return
    text = str(answer.get(wanted[0]) or "")
    print(harmless(text) if is_terminal(sys.stdout) else text, end="" if wanted[0] in ("system", "template") else "\n")


def page(answer: Mapping[str, Any], *, verbose: bool = False) -> str:
    """The page of an answer of `/api/show`: a block for everything the model has."""
    blocks = (
        ("Model", list(_model(answer)), WRAP_AT),
        ("Capabilities", [(name,) for name in answer.get("capabilities") or ()], WRAP_AT),
        ("Projector", list(_projector(answer.get("projector_info") or {})), WRAP_AT),
        ("Parameters", [tuple(line.split()) for line in (answer.get("parameters") or "").splitlines()], WRAP_AT),
        ("Metadata", list(_metadata(answer.get("model_info") or {})) if verbose else [], WRAP_AT),
        ("Tensors", list(_tensors(answer.get("tensors") or ())) if verbose else [], WRAP_AT),
        ("System", _first_lines(answer.get("system") or ""), _TEXT_WRAP),
        ("License", _first_lines(answer.get("license") or ""), _TEXT_WRAP),
    )
    return "".join(
        f"  {title}\n{table((('', *row) for row in rows), wrap_at=wrap_at)}\n"
        for title, rows, wrap_at in blocks
        if rows
    )


def _model(answer: Mapping[str, Any]) -> Iterator[Row]:
    details, info = answer.get("details") or {}, answer.get("model_info")
    if answer.get("remote_host"):
        yield "Remote model", str(answer.get("remote_model", ""))
        yield "Remote URL", str(answer["remote_host"])
    if info is None:
        yield "architecture", str(details.get("family", ""))
        yield "parameters", str(details.get("parameter_size", ""))
    else:
        architecture = str(info.get("general.architecture", ""))
        yield "architecture", architecture
        if size := details.get("parameter_size") or _counted(info):
            yield "parameters", str(size)
        for name in ("context length", "embedding length"):
            if isinstance(length := info.get(f"{architecture}.{name.replace(' ', '_')}"), int | float):
                yield name, f"{length:.0f}"
    yield "quantization", str(details.get("quantization_level", ""))
    if answer.get("requires"):
        yield "requires", str(answer["requires"])


def _counted(info: Mapping[str, Any]) -> str:
    count = info.get("general.parameter_count")
    return human_count(int(count)) if isinstance(count, int | float) else ""


def _projector(info: Mapping[str, Any]) -> Iterator[Row]:
    if not info:
        return
    architecture = info.get("general.architecture", "")
    yield "architecture", str(architecture)
    if count := _counted(info):
        yield "parameters", count
    kind = next((kind for kind in ("vision", "audio") if f"{architecture}.{kind}.embedding_length" in info), "vision")
    for name, key in (("embedding length", "embedding_length"), ("dimensions", "projection_dim")):
        if isinstance(length := info.get(f"{architecture}.{kind}.{key}"), int | float):
            yield name, f"{length:.0f}"


def _metadata(info: Mapping[str, Any]) -> Iterator[Row]:
    for key in sorted(info):
        yield key, shown(info[key])


def _tensors(tensors: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    for tensor in tensors:
        shape = " ".join(map(str, tensor.get("shape") or ()))
        yield str(tensor.get("name", "")), str(tensor.get("type", "")), f"[{shape}]"


def shown(value: object) -> str:
    """A value of the metadata as Go prints it; a long list is cut to about ten columns."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return go_number(float(value))
        case list():
            return _list_shown(value)
    return str(value)


def _list_shown(values: Sequence[object]) -> str:
    items: list[str] = []
    taken = 1
    for value in values:
        item = shown(value)
        taken += width(item) + 2 * bool(items)
        if items and taken > _ARRAY_WIDTH:
            return f"[{' '.join(items)} ...+{len(values) - len(items)} more]"
        items.append(item)
    return f"[{' '.join(items)}]"


def _first_lines(text: str) -> list[Row]:
    lines = [line for raw in text.splitlines() if (line := raw.strip())]
    return [(line,) for line in (*lines[:_TEXT_LINES], *("...",) * (len(lines) > _TEXT_LINES))]
