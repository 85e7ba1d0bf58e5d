"""What a template may reach: a few globals, and of each type of value the attributes that can do no harm."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import BuiltinMethodType, MethodType
from typing import Any, Final, NoReturn

from jinja2 import Undefined, nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace

from a3s_power.core.errors import BadTemplate
from a3s_power.prompt.conversation import Arguments
from a3s_power.prompt.jinja import budget as bounds
from a3s_power.prompt.jinja.budget import CURRENT, Budget

_LONGEST_DATE_FORMAT: Final = 200
_LONGEST_COMPLAINT: Final = 2000

_ATTRIBUTES: Final[Mapping[type, frozenset[str]]] = {
    str: frozenset(
        {
            *("strip", "lstrip", "rstrip", "removeprefix", "removesuffix", "replace", "join", "format"),
            *("split", "rsplit", "splitlines", "partition", "rpartition", "startswith", "endswith"),
            *("find", "rfind", "index", "rindex", "count", "center", "ljust", "rjust", "zfill"),
            *("upper", "lower", "title", "capitalize", "casefold", "swapcase"),
            *("isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "isupper"),
        }
    ),
    dict: frozenset({"get", "items", "keys", "values", "copy"}),
    list: frozenset({"index", "count", "copy"}),
    tuple: frozenset({"index", "count", "grouper", "list"}),
    float: frozenset({"is_integer"}),
    Macro: frozenset({"name", "arguments", "catch_kwargs", "catch_varargs", "caller"}),
    LoopContext: frozenset(
        {
            *("index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0"),
            *("previtem", "nextitem", "cycle", "changed"),
        }
    ),
}

_OPERATORS: Final[Mapping[str, Callable[[Budget, Any, Any], Any]]] = {
    "+": bounds.add,
    "*": bounds.multiply,
    "**": bounds.power,
    "%": bounds.modulo,
}


class _Names(Namespace):
    """`namespace`. It can hold itself, so it does not print what it holds."""

    def __init__(self, /, *sources: Any, **named: Any) -> None:  # noqa: ANN401 -- as dict
        super().__init__(bounds.mapping(CURRENT.get(), sources, named))

    def __repr__(self) -> str:
        return "<Namespace>"


class Clock:
    """`strftime_now`: the local time in a form of strftime's."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def __call__(self, form: str) -> str:
        return self._now().strftime(form[:_LONGEST_DATE_FORMAT])


class _Format(SandboxedFormatter):
    """`str.format` of a text, looking into values as the template itself may."""

    def __init__(self, environment: "Sandbox", form: str) -> None:
        super().__init__(environment)
        self._form = form

    def __call__(self, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401 -- as str.format
        bounds.check_format(CURRENT.get(), self._form, [list(args), kwargs])
        return self.vformat(self._form, args, kwargs)

    def format_field(self, value: Any, format_spec: str) -> Any:  # noqa: ANN401 -- as string.Formatter
        bounds.check_field(format_spec)
        return super().format_field(value, format_spec)


def _raise_exception(message: object) -> NoReturn:
    """`raise_exception`: the template refuses the conversation, in its own words."""
    raise BadTemplate(str(message)[:_LONGEST_COMPLAINT])


def _dict(*sources: Any, **named: Any) -> dict[Any, Any]:  # noqa: ANN401 -- as dict
    return bounds.mapping(CURRENT.get(), sources, named)


GLOBALS: Final[Mapping[str, Any]] = {
    "dict": _dict,
    "namespace": _Names,
    "raise_exception": _raise_exception,
    "range": bounds.limited_range,
}
"""What every template may call, beside `strftime_now`."""


class _Generator(CodeGenerator):
    """Nothing is computed while a template is compiled: there is no telling how long it would take."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Any, finalize: Any) -> str:  # noqa: ANN401 -- jinja2's own
        if isinstance(node, nodes.TemplateData) or (isinstance(node, nodes.Const) and isinstance(node.value, str)):
            return super()._output_child_to_const(node, frame, finalize)
        raise nodes.Impossible


class Sandbox(ImmutableSandboxedEnvironment):
    """Where templates run. What may grow asks the budget of the rendering that runs in this thread."""

    code_generator_class: type[CodeGenerator] = _Generator
    intercepted_binops = frozenset(_OPERATORS)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401, ARG002
        budget = CURRENT.get()
        budget.step()
        if isinstance(right, Arguments) and isinstance(left, str):
            right = str(right)
        return _OPERATORS[operator](budget, left, right)

    def concat(self, pieces: Iterable[str]) -> str:
        return bounds.join(CURRENT.get(), "", pieces)

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401
        if isinstance(obj, dict) and not attribute.startswith("__"):
            if attribute in _ATTRIBUTES[dict]:
                return getattr(obj, attribute)
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:  # noqa: ANN401
        return super().getitem(obj, bounds.key(CURRENT.get(), argument))

    def call_test(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        CURRENT.get().step()
        return super().call_test(*args, **kwargs)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401, ARG002
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        return any(attr in names for kind, names in _ATTRIBUTES.items() if isinstance(obj, kind))

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:  # noqa: ANN401
        raise SecurityError(f"{attribute} of {type(obj).__name__}")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # noqa: ANN401
        if isinstance(value, BuiltinMethodType) and isinstance(value.__self__, str) and value.__name__ == "format":
            return _Format(self, value.__self__)
        return None

    def is_safe_callable(self, obj: Any) -> bool:  # noqa: ANN401
        if isinstance(obj, MethodType):
            return isinstance(obj.__self__, LoopContext)
        known = isinstance(obj, Macro | LoopContext | Clock | _Format | Undefined)
        return known or any(obj is allowed for allowed in GLOBALS.values())

    def call(__self, __context: Context, __obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, N805
        budget = CURRENT.get()
        budget.step()
        if not isinstance(__obj, BuiltinMethodType):
            return budget.keep(super().call(__context, __obj, *args, **kwargs))
        for hidden in ("_loop_vars", "_block_vars"):
            kwargs.pop(hidden, None)
        owner = __obj.__self__
        if args and isinstance(owner, dict):
            bounds.key(budget, args[0])
        if isinstance(owner, str) and __obj.__name__ in bounds.METHODS:
            return bounds.METHODS[__obj.__name__](budget, owner, *args, **kwargs)
        return budget.keep(__obj(*args, **kwargs))
