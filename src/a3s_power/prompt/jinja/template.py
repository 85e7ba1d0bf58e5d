"""JinjaTemplate: a chat template compiled once, rendered under a budget, its failures told as one kind of error.

The dialect is the one that chat templates are written for, Transformers': blocks trimmed, loop controls, `tojson`,
`raise_exception`, `strftime_now`, and `generation` blocks that change nothing.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from jinja2 import Template, TemplateError, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.ext import LoopControlExtension
from jinja2.parser import Parser

from a3s_power.core import limits
from a3s_power.core.errors import BadTemplate
from a3s_power.prompt.jinja.budget import CURRENT, NOT_ALLOWED, TOO_MUCH, Budget
from a3s_power.prompt.jinja.filters import FILTERS, TESTS, printed
from a3s_power.prompt.jinja.sandbox import GLOBALS, Clock, Sandbox
from a3s_power.prompt.jinja.tree import PIECE, TOO_LONG, Generation, Rewriter, Watch

_FAILURES: Final = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError),
    *(RuntimeError, SyntaxError, TypeError, ValueError),
)
"""What may come out of compiling or running a template that is wrong."""

_LONGEST_COMPLAINT: Final = 500

T = TypeVar("T")


def local_time() -> datetime:
    """What templates take for the time, unless a test says otherwise."""
    return datetime.now().astimezone()


class JinjaTemplate:
    """A template's text, compiled when it is first needed. Threads may share it."""

    def __init__(self, source: str, *, now: Callable[[], datetime] = local_time) -> None:
        self._source = source
        self._clock = Clock(now)
        self._lock = threading.Lock()
        self._compiled: tuple[Template, frozenset[str]] | None = None

    def render(self, values: Mapping[str, Any]) -> str:
        """The template's text with these values.

        Raises:
            BadTemplate: it cannot be parsed, is not allowed, fails, refuses the values, or takes or makes too much.
        """
        budget = Budget(dict(values))
        return _guarded(budget, lambda: self._render(budget, values))

    @property
    def names(self) -> frozenset[str]:
        """The variables that the template reads. Raises BadTemplate when it cannot be parsed or is not allowed."""
        return _guarded(Budget({}), self._compile)[1]

    def _render(self, budget: Budget, values: Mapping[str, Any]) -> str:
        template, _ = self._compile()
        pieces, size = [], 0
        for piece in template.root_render_func(template.new_context(dict(values))):
            budget.step(PIECE)
            pieces.append(piece)
            size += len(piece)
            if size > budget.room:
                raise BadTemplate(TOO_MUCH)
        return "".join(pieces)

    def _compile(self) -> tuple[Template, frozenset[str]]:
        with self._lock:
            if self._compiled is None:
                if len(self._source) > limits.TEMPLATE_BYTES:
                    raise BadTemplate(TOO_LONG)
                rewriter = Rewriter()
                tree = rewriter.visit(Parser(_SANDBOX, self._source).parse())
                mine = _SANDBOX.make_globals({"strftime_now": self._clock})
                template = Template.from_code(_SANDBOX, _SANDBOX.compile(tree), mine)
                self._compiled = template, frozenset(rewriter.names)
            return self._compiled


def _guarded(budget: Budget, work: Callable[[], T]) -> T:
    """What `work` gives under this budget; whatever a template may do wrong becomes BadTemplate."""
    token = CURRENT.set(budget)
    try:
        return work()
    except SecurityError as error:
        raise BadTemplate(NOT_ALLOWED) from error
    except TemplateSyntaxError as error:
        raise BadTemplate(f"template error: {_short(error.message)} (line {error.lineno})") from error
    except TemplateError as error:
        raise BadTemplate(f"template error: {_short(error.message)}") from error
    except RecursionError as error:
        raise BadTemplate("template error: it nests too deeply") from error
    except _FAILURES as error:
        raise BadTemplate(f"template error: {_short(str(error))}") from error
    finally:
        CURRENT.reset(token)


def _short(complaint: str | None) -> str:
    """Python's complaints can quote all of a value."""
    return (complaint or "")[:_LONGEST_COMPLAINT]


def _sandbox() -> Sandbox:
    sandbox = Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
        finalize=printed,
        extensions=[LoopControlExtension, Generation, Watch],
    )
    sandbox.filters = dict(FILTERS)
    sandbox.tests = dict(TESTS)
    sandbox.globals = dict(GLOBALS)
    return sandbox


_SANDBOX: Final = _sandbox()
