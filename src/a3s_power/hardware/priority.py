"""How much a process counts against others that want the same processors: its niceness, and that of its session.

Linux can share processors out among sessions first (autogroups); niceness then counts within one only.
"""

import os
from contextlib import suppress
from pathlib import Path


def lower(pid: int, by: int) -> None:
    """Let others go before a process, by so many steps of niceness. What cannot be changed stays as it is."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, pid, by)
    with suppress(OSError):
        set_session(pid, by)


def session(pid: int) -> int | None:
    """The niceness of a process's session; `None` where it has none of its own, or there is no such process."""
    try:
        said = _file(pid).read_text(encoding="ascii").rpartition(" ")[2].strip()
    except OSError:
        return None
    return int(said) if said.lstrip("-").isdecimal() else None


def set_session(pid: int, niceness: int) -> None:
    """Change it. Raises BlockingIOError where the system may take it a moment later, any other OSError for good."""
    _file(pid).write_text(str(niceness), encoding="ascii")


def _file(pid: int) -> Path:
    return Path(f"/proc/{pid}/autogroup")
