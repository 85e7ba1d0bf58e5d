"""python -m a3s_power.runner --fd N --parent PID --engine NAME: started by `runner.launch`, and by nobody else."""

import sys
from typing import NoReturn

from a3s_power.runner.guard import die_with, no_core_dump

PARENT_GONE = 3


def main(arguments: list[str]) -> NoReturn:
    """Ends the process: with status 3 when the parent has ended already, else as `runner.child` says."""
    asked = dict(zip(arguments[::2], arguments[1::2], strict=True))
    if not die_with(int(asked["--parent"])):
        sys.exit(PARENT_GONE)
    no_core_dump()
    # Only now: what is imported from here on may take long, and the parent may end meanwhile.
    from a3s_power.runner.child import serve  # noqa: PLC0415

    serve(int(asked["--fd"]), asked["--engine"])


if __name__ == "__main__":
    main(sys.argv[1:])
