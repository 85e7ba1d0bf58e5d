"""The forms of strings that a schema's `format` names, as regular expressions; the ones of RFC 3339, 4122 and so on."""

from functools import lru_cache
from typing import Final

from a3s_power.output.grammar.regex import Node, read

_DAY: Final = (
    r"((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"  # no leap days
)
_DATE: Final = rf"(19|20)\d\d-{_DAY}"
_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
_BYTE: Final = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_LABEL: Final = r"[a-z0-9]{1,16}(-[a-z0-9]{1,16}){0,2}"
_HOST: Final = rf"{_LABEL}(\.{_LABEL}){{0,3}}"
_QUAD: Final = r"[0-9a-f]{1,4}"
_MINUTES: Final = r"(\d{1,2}M(\d{1,2}S)?)?"
_PATTERNS: Final = {
    "date": _DATE,
    "time": _TIME,
    "date-time": rf"{_DATE}T{_TIME}",
    "duration": rf"P(\d{{1,4}}W|\d{{1,4}}D(T\d{{1,4}}H{_MINUTES})?|T\d{{1,4}}(H{_MINUTES}|M(\d{{1,2}}S)?|S))",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "email": rf"[A-Za-z0-9_+-]{{1,30}}(\.[A-Za-z0-9_+-]{{1,20}}){{0,2}}@{_LABEL}\.[a-z]{{2,10}}(\.[a-z]{{2,3}})?",
    "hostname": _HOST,
    "ipv4": rf"{_BYTE}\.{_BYTE}\.{_BYTE}\.{_BYTE}",
    "ipv6": rf"({_QUAD}:){{7}}{_QUAD}|::({_QUAD}(:{_QUAD}){{0,5}})?|{_QUAD}::({_QUAD}(:{_QUAD}){{0,4}})?",
    "uri": rf"[a-z][a-z0-9+.-]{{0,10}}://{_HOST}(:[1-9]\d{{1,3}})?(/[A-Za-z0-9_.~-]*)*(\?[A-Za-z0-9_.~=&-]+)?",
}
WITHOUT_FORM: Final = frozenset({"password", "string", "text", "markdown", "html", "json", "binary"})
"""Words that say what a string is for, not how it looks."""


@lru_cache(maxsize=32)
def tree(name: str) -> Node | None:
    """The form of this name; `None` for one that is not known."""
    pattern = _PATTERNS.get(name)
    return None if pattern is None else read(pattern, whole=True)
