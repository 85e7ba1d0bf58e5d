"""A parsed template and its data → text, under a budget of steps and output."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from a3s_power.core.errors import BadTemplate
from a3s_power.prompt.gotemplate import nodes
from a3s_power.prompt.gotemplate.functions import FUNCTIONS
from a3s_power.prompt.gotemplate.values import Problem, Record, printed, truth

_STEPS: Final = 2_000_000
_DEEPEST: Final = 100


class _Leave(Exception):
    """Out of the innermost range, or on to its next element."""

    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.again = again


def execute(template: nodes.Template, data: Mapping[str, Any], *, most: int = 16 * 1024 * 1024) -> str:
    """The template's text over a map of values.

    Raises:
        BadTemplate: in Go's words, when a value does not fit or more steps or `most` characters are taken.
    """
    return _Executor(template, dict(data), most).run()


class _Executor:
    """One execution: its output, its variables, and what is left of its budget."""

    def __init__(self, template: nodes.Template, data: dict[str, Any], most: int) -> None:
        self._template = template
        self._data = data
        self._output: list[str] = []
        self._room = most
        self._steps = _STEPS
        self._depth = 0
        self._variables: list[tuple[str, Any]] = [("", data)]

    def run(self) -> str:
        self._body(self._template.body, self._data)
        return "".join(self._output)

    # Statements

    def _body(self, body: nodes.Body, dot: Any) -> None:  # noqa: ANN401 -- any value
        for statement in body:
            self._step(statement)
            match statement:
                case nodes.Text(text=text):
                    self._write(text, statement)
                case nodes.Action(pipeline=pipeline):
                    value = self._pipeline(pipeline, dot)
                    if not pipeline.variables:
                        self._write(self._guarded(pipeline, printed, value), statement)
                case nodes.Range():
                    self._range(statement, dot)
                case nodes.If() | nodes.With():
                    self._branch(statement, dot)
                case nodes.Call():
                    self._call(statement, dot)
                case nodes.Break():
                    raise _Leave(again=False)
                case nodes.Continue():
                    raise _Leave(again=True)

    def _branch(self, branch: nodes.If | nodes.With, dot: Any) -> None:  # noqa: ANN401 -- any value
        kept = len(self._variables)
        value = self._pipeline(branch.pipeline, dot)
        inner = value if isinstance(branch, nodes.With) else dot
        if truth(value):
            self._body(branch.body, inner)
        else:
            self._body(branch.otherwise, dot)
        del self._variables[kept:]

    def _range(self, loop: nodes.Range, dot: Any) -> None:  # noqa: ANN401 -- any value
        kept = len(self._variables)
        value = self._pipeline(loop.pipeline, dot)
        # The pipeline's own declaration is of the whole; each round declares its element anew.
        if not loop.pipeline.assigns:
            del self._variables[kept:]
        rounds = self._guarded(loop, _elements, value)
        for key, element in rounds:
            self._step(loop)
            inner = len(self._variables)
            self._bind(loop.pipeline, key, element)
            try:
                self._body(loop.body, element)
            except _Leave as leave:
                if not leave.again:
                    break
            finally:
                del self._variables[inner:]
        if not rounds:
            self._body(loop.otherwise, dot)
        del self._variables[kept:]

    def _bind(self, pipeline: nodes.Pipeline, key: Any, element: Any) -> None:  # noqa: ANN401 -- any values
        values = (element,) if len(pipeline.variables) == 1 else (key, element)
        for name, value in zip(pipeline.variables, values, strict=False):
            if pipeline.assigns:
                self._set(name, value)
            else:
                self._variables.append((name, value))

    def _call(self, call: nodes.Call, dot: Any) -> None:  # noqa: ANN401 -- any value
        body = self._template.defines.get(call.name)
        if body is None:
            raise self._error(call, f'template "{call.name}" not defined')
        value = self._pipeline(call.pipeline, dot) if call.pipeline is not None else None
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(call, "exceeded maximum template depth")
        outer, self._variables = self._variables, [("", value)]
        self._body(body, value)
        self._variables = outer
        self._depth -= 1

    # Values

    def _pipeline(self, pipeline: nodes.Pipeline, dot: Any) -> Any:  # noqa: ANN401 -- any values
        value, piped = None, False
        for command in pipeline.commands:
            value = self._command(command, dot, (value,) if piped else ())
            piped = True
        for name in pipeline.variables:
            if pipeline.assigns:
                self._set(name, value)
            else:
                self._variables.append((name, value))
        return value

    def _command(self, command: nodes.Command, dot: Any, piped: tuple[Any, ...]) -> Any:  # noqa: ANN401 -- any values
        self._step(command)
        first, *rest = command.operands
        if not isinstance(first, nodes.Function):
            if rest or piped:
                raise self._error(command, "can't give argument to non-function")
            return self._operand(first, dot)
        if first.name in ("and", "or"):
            return self._early(command, dot, piped)
        arguments = (*(self._operand(operand, dot) for operand in rest), *piped)
        return self._apply(first, arguments)

    def _early(self, command: nodes.Command, dot: Any, piped: tuple[Any, ...]) -> Any:  # noqa: ANN401 -- any values
        """`and` and `or`: the first value that decides, and nothing after it is looked at."""
        first, *rest = command.operands
        decides = isinstance(first, nodes.Function) and first.name == "or"
        if not rest and not piped:
            raise self._error(command, "wrong number of args: want at least 1 got 0")
        value = None
        for operand in rest:
            value = self._operand(operand, dot)
            if truth(value) is decides:
                return value
        return piped[0] if piped else value

    def _apply(self, function: nodes.Function, arguments: Sequence[Any]) -> Any:  # noqa: ANN401 -- any values
        try:
            return FUNCTIONS[function.name](*arguments)
        except Problem as problem:
            raise self._error(function, f"error calling {function.name}: {problem}") from None
        except TypeError:
            raise self._error(function, f"wrong number of args for {function.name}: got {len(arguments)}") from None

    def _operand(self, operand: nodes.Operand, dot: Any) -> Any:  # noqa: ANN401 -- any values
        match operand:
            case nodes.Literal(value=value):
                return value
            case nodes.Dot():
                return dot
            case nodes.Field(names=names):
                return self._fields(operand, dot, names)
            case nodes.Variable(name=name, names=names):
                return self._fields(operand, self._get(name), names)
            case nodes.Pipeline():
                return self._pipeline(operand, dot)
            case nodes.Chain(inner=inner, names=names):
                return self._fields(operand, self._pipeline(inner, dot), names)
            case nodes.Function():
                return self._apply(operand, ())

    def _fields(self, node: nodes.Node, value: Any, names: tuple[str, ...]) -> Any:  # noqa: ANN401 -- any values
        for name in names:
            value = self._guarded(node, _field, value, name)
        return value

    def _get(self, name: str) -> Any:  # noqa: ANN401 -- any value
        return next(value for known, value in reversed(self._variables) if known == name)

    def _set(self, name: str, value: Any) -> None:  # noqa: ANN401 -- any value
        for at in range(len(self._variables) - 1, -1, -1):
            if self._variables[at][0] == name:
                self._variables[at] = (name, value)
                return

    # Budget and errors

    def _write(self, text: str, node: nodes.Node) -> None:
        self._room -= len(text)
        if self._room < 0:
            raise self._error(node, "output is too long")
        self._output.append(text)

    def _step(self, node: nodes.Node) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise self._error(node, "takes too many steps")

    def _guarded(self, node: nodes.Node, work: Any, *arguments: Any) -> Any:  # noqa: ANN401 -- any values
        try:
            return work(*arguments)
        except Problem as problem:
            raise self._error(node, str(problem)) from None

    def _error(self, node: nodes.Node, complaint: str) -> BadTemplate:
        return BadTemplate(f'template: :{node.line}: executing "": {complaint}')


def _elements(value: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 -- any values
    """Key and value of each round of a range. Raises Problem for what cannot be ranged over."""
    match value:
        case None:
            return []
        case list():
            return list(enumerate(value))
        case dict():
            return [(key, value[key]) for key in sorted(value)]
        case int() if not isinstance(value, bool):
            return [(at, at) for at in range(min(value, _STEPS))]
    raise Problem(f"range can't iterate over {printed(value)}")


def _field(value: Any, name: str) -> Any:  # noqa: ANN401 -- any values
    match value:
        case Record():
            return value.field(name)
        case dict():
            return value.get(name)
        case None:
            raise Problem(f"nil data; no entry for key {name!r}")
    raise Problem(f"can't evaluate field {name} in type {type(value).__name__}")
