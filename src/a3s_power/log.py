"""The log: `time=… level=… source=… msg="…" key=value` on one line, keys hidden, control characters made harmless.

Everything we live with speaks the standard library's logging, so this is one formatter for it and a small way to say
fields: `log = get_logger(__name__)`, then `log.info("model loaded", model=name, seconds=1.2)`.
"""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, Literal

TRACE: Final = 5

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""The request that is being answered; it is added to every line logged meanwhile."""

_HIDDEN: Final = "***"
_SECRET_FIELD = re.compile(r"(?i)(^|_)(api_?key|authorization|cookie|passphrase|password|secret|token)$")
_SECRET_TEXT = re.compile(
    r"(?i)(\b(?:bearer|basic)\s+|\b(?:api[-_]?key|access[-_]?token|token|password|secret)[\"']?\s*[=:]\s*[\"']?|://[^/\s:@]*:(?=[^/\s@]*@))"
    r"[^\s\"'&,;@]+"
)
_SECRET_FORM = re.compile(r"\b(?:sk|hf|ghp|gho|a3s)[-_][A-Za-z0-9_-]{8,}")


class Log:
    """A logger whose lines have fields. Fields are formatted only when the line is written."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def trace(self, message: str, **fields: object) -> None:
        """Every detail, prompts among them."""
        self._write(TRACE, message, fields)

    def debug(self, message: str, **fields: object) -> None:
        """What a developer wants to know."""
        self._write(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: object) -> None:
        """What happened."""
        self._write(logging.INFO, message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """What should be looked at."""
        self._write(logging.WARNING, message, fields)

    def error(self, message: str, **fields: object) -> None:
        """What went wrong."""
        self._write(logging.ERROR, message, fields)

    def exception(self, message: str, **fields: object) -> None:
        """What went wrong, with the traceback of the error being handled."""
        self._write(logging.ERROR, message, fields, trace=True)

    def _write(self, level: int, message: str, fields: dict[str, object], *, trace: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", message, extra={"fields": fields}, exc_info=trace, stacklevel=3)


def get_logger(name: str) -> Log:
    """The log of a module."""
    return Log(logging.getLogger(name))


def configure(verbosity: int = 0, form: Literal["text", "json"] = "text") -> None:
    """Send the log to standard error. `verbosity`: 1 debug, 2 trace, -1 warnings and -2 errors only."""
    logging.addLevelName(TRACE, "TRACE")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(form))
    levels = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, TRACE)
    logging.basicConfig(level=levels[max(-2, min(2, verbosity)) + 2], handlers=[handler], force=True)


class Lines(logging.Formatter):
    """Each record on one line, whatever it holds."""

    def __init__(self, form: Literal["text", "json"] = "text") -> None:
        super().__init__()
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = {name: _plain(name, value) for name, value in self._fields(record).items()}
        if self._json:
            return json.dumps(fields)
        return " ".join(f"{_key(name)}={_quoted(_text(value))}" for name, value in fields.items())

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        then = datetime.fromtimestamp(record.created, UTC).astimezone()
        fields: dict[str, object] = {
            "time": then.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": "WARN" if record.levelno == logging.WARNING else record.levelname,
            "source": f"{record.filename}:{record.lineno}",
            "msg": record.getMessage(),
        }
        fields |= getattr(record, "fields", {})
        if current := request_id.get():
            fields["request"] = current
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return fields


def _plain(name: str, value: object) -> object:
    """The value as it may be shown."""
    if _SECRET_FIELD.search(name):
        return _HIDDEN
    return value if value is None or isinstance(value, bool | int | float) else redacted(str(value))


def redacted(text: str) -> str:
    """The text with everything hidden that looks like a key or a password."""
    return _SECRET_FORM.sub(_HIDDEN, _SECRET_TEXT.sub(rf"\1{_HIDDEN}", text))


def _text(value: object) -> str:
    match value:
        case None:
            return "<nil>"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)


def _key(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)


def _quoted(text: str) -> str:
    """As Go's slog writes a value: in quotes when a bare word would be ambiguous, what is not printable escaped."""
    if text and text.isprintable() and not re.search(r'[\s"=\\]', text):
        return text
    return '"' + "".join(_ESCAPES.get(char) or (char if char.isprintable() else _escape(char)) for char in text) + '"'


_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(char: str) -> str:
    number = ord(char)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
