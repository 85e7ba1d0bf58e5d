"""python -m a3s_power.runner --fd N --parent PID --engine NAME --version V: started by `runner.launch`, nobody else."""

import sys
from typing import NoReturn

from a3s_power import __version__
from a3s_power.runner.guard import die_with, no_core_dump

PARENT_GONE = 3
REPLACED = 5


def main(arguments: list[str]) -> NoReturn:
    """Ends the process.

    With status 3 when the parent has ended already, 5 when it is of another version, else as `runner.child` says.
    """
    asked = dict(zip(arguments[::2], arguments[1::2], strict=True))
    if not die_with(int(asked["--parent"])):
        sys.exit(PARENT_GONE)
    if asked["--version"] != __version__:
        # The two would not understand each other's frames.
        sys.stderr.write(
            f"VersionError: version {__version__} was put in the place of {asked['--version']}, which still serves;"
            " restart the server\n"
        )
        sys.exit(REPLACED)
    no_core_dump()
    # Only now: what is imported from here on may take long, and the parent may end meanwhile.
    from a3s_power.runner.child import serve  # noqa: PLC0415

    serve(int(asked["--fd"]), asked["--engine"])


if __name__ == "__main__":
    main(sys.argv[1:])
