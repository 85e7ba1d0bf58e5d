"""The command `a3s-power`, and `python -m a3s_power`."""

import sys


def main() -> None:
    """Run the command line; end the process with its status."""
    # The version is answered before anything is imported that the answer does not need.
    if sys.argv[1:] in (["--version"], ["-v"]):
        from a3s_power.cli.version import show_version  # noqa: PLC0415

        show_version()
        return
    from a3s_power.cli.main import run  # noqa: PLC0415

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
