"""How much a process counts against others that want the same processors."""

import os
from contextlib import suppress
from pathlib import Path


def lower(pid: int, by: int) -> None:
    """Let others go before a process, by so many steps of niceness. What cannot be changed stays as it is."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, pid, by)
    # Where Linux shares processors out among sessions first, niceness counts within one only.
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(by), encoding="ascii")
