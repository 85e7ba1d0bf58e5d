"""Origins: which web pages may speak with this server."""

import re
from collections.abc import Iterable
from typing import Final

from a3s_power.core.errors import BadConfig

_LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 -- a name in a browser, nothing is bound
_LOCAL: Final = tuple(
    f"{scheme}://{host}{port}" for host in _LOCAL_HOSTS for port in ("", ":*") for scheme in ("http", "https")
)
_APPLICATIONS: Final = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")


class Origins:
    """Tells which `Origin` headers are good: `extra`, pages of this machine, and applications that are no web pages.

    In an entry `*` stands for anything without a slash, after a colon for a port. With `*` alone every origin is good.

    Raises:
        BadConfig: an entry without a scheme.
    """

    def __init__(self, extra: Iterable[str]) -> None:
        entries = [entry for each in extra if (entry := each.strip())]
        for entry in entries:
            if entry != "*" and "://" not in entry:
                raise BadConfig(f'bad origin "{entry}": it must be * or begin with a scheme such as http://')
        self.every: Final = "*" in entries
        self._pattern = re.compile("|".join(map(_pattern, (*entries, *_LOCAL, *_APPLICATIONS))))

    def allow(self, origin: str) -> bool:
        """Whether a page of this origin may."""
        return self.every or self._pattern.fullmatch(origin) is not None


def _pattern(entry: str) -> str:
    # Ollama compares what is before and after the star, so that http://localhost:* lets http://localhost:1.evil.com in.
    return re.escape(entry).replace(r":\*", ":[0-9]{1,5}").replace(r"\*", r"[^/]*")
