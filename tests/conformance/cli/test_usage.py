"""Section 1 of the sheet: arity, unknown commands, flags and values, help, and what goes where."""

import pytest

from a3s_power.cli.main import COMMANDS
from tests.scripted import Ran, Shell

_FAR_TOO_MUCH = (
    'invalid argument "99999999999999999999" for "--seed" flag: '
    'strconv.ParseInt: parsing "99999999999999999999": value out of range'
)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("show", "accepts 1 arg(s), received 0"),
        ("show a b", "accepts 1 arg(s), received 2"),
        ("cp a", "accepts 2 arg(s), received 1"),
        ("stop", "accepts 1 arg(s), received 0"),
        ("create", "accepts 1 arg(s), received 0"),
        ("run", "requires at least 1 arg(s), only received 0"),
        ("pull", "requires at least 1 arg(s), only received 0"),
        ("push", "accepts 1 arg(s), received 0"),
        ("export m", "accepts 2 arg(s), received 1"),
        ("import", "accepts 1 arg(s), received 0"),
        ("pull m --from", "flag needs an argument: --from"),
        ("pull m --from h --yes", "--from goes without --insecure and --yes: no registry is asked"),
        ("impor", 'unknown command "impor" for "a3s-power"\n\nDid you mean this?\n\timport\n'),
        ("rm", "requires at least 1 arg(s), only received 0"),
        ("delete", "requires at least 1 arg(s), only received 0"),
        ("serve x", "accepts 0 arg(s), received 1"),
        ("start x", "accepts 0 arg(s), received 1"),
        ("foo", 'unknown command "foo" for "a3s-power"'),
        ("rn", 'unknown command "rn" for "a3s-power"\n\nDid you mean this?\n\trun\n\tps\n\tcp\n\trm\n\tdf\n'),
        ("serv", 'unknown command "serv" for "a3s-power"\n\nDid you mean this?\n\tserve\n\tservice\n'),
        ("CREA", 'unknown command "CREA" for "a3s-power"\n\nDid you mean this?\n\tcreate\n'),
        ("list --bogus", "unknown flag: --bogus"),
        ("list -x", "unknown shorthand flag: 'x' in -x"),
        ("run m --format", "flag needs an argument: --format"),
        (
            "run m --dimensions abc",
            'invalid argument "abc" for "--dimensions" flag: strconv.ParseInt: parsing "abc": invalid syntax',
        ),
        (
            "run m --seed 99999999999999999999",
            _FAR_TOO_MUCH,
        ),
        (
            "run m --insecure=maybe",
            'invalid argument "maybe" for "--insecure" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            "show m -v=maybe",
            'invalid argument "maybe" for "-v, --verbose" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            "run m --temperature hot",
            'invalid argument "hot" for "--temperature" flag: strconv.ParseFloat: parsing "hot": invalid syntax',
        ),
        (
            "show m --license --system",
            "only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified",
        ),
        ("--bogus", "unknown flag: --bogus"),
    ],
)
def test_a_wrong_line_is_one_error_on_standard_error(shell: Shell, line: str, complaint: str) -> None:
    assert shell(*line.split()) == Ran(1, "", f"Error: {complaint}\n")


def test_help_of_an_unknown_topic_is_told_and_no_failure(shell: Shell) -> None:
    ran = shell("help", "bogus")
    assert (ran.status, ran.out) == (0, "")
    assert ran.err.startswith("Unknown help topic [`bogus`]\nLarge language model runner\n\nUsage:\n")


def test_the_page_of_a_command_has_its_blocks_in_order(shell: Shell) -> None:
    assert shell("list", "--help").out == (
        "List models\n"
        "\n"
        "Usage:\n"
        "  a3s-power list [flags]\n"
        "\n"
        "Aliases:\n"
        "  list, ls\n"
        "\n"
        "Flags:\n"
        "      --all           Unfinished downloads in this machine's models folder, too\n"
        "  -h, --help          help for list\n"
        "      --json          Print JSON, for other programs\n"
        "      --sort string   Order: name, size or modified, the newest first unless said\n"
        "\n"
        "Environment Variables:\n"
        "      OLLAMA_HOST                   Address of the server: a host, host:port or URL\n"
        "      OLLAMA_API_KEY                Key that commands send to the server\n"
    )


def test_flags_stand_in_columns_sorted_by_name(shell: Shell) -> None:
    lines = shell("create", "--help").out.partition("Flags:\n")[2].partition("\n\n")[0].splitlines()
    assert [line[:33] for line in lines] == [
        "      --draft-quantize string   T",
        "  -f, --file string             M",
        "  -h, --help                    h",
        "      --link string             U",
        "  -q, --quantize string         W",
    ]
    assert '      --think string[="true"]   ' in shell("run", "--help").out


_SERVER = (
    *("OLLAMA_DEBUG", "OLLAMA_HOST", "OLLAMA_CONTEXT_LENGTH", "OLLAMA_KEEP_ALIVE", "OLLAMA_MAX_LOADED_MODELS"),
    *("OLLAMA_MAX_QUEUE", "OLLAMA_MODELS", "OLLAMA_NUM_PARALLEL", "OLLAMA_NOPRUNE", "OLLAMA_ORIGINS"),
    *("OLLAMA_FLASH_ATTENTION", "OLLAMA_KV_CACHE_TYPE", "OLLAMA_LOAD_TIMEOUT"),
)


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("run", ["OLLAMA_EDITOR", "OLLAMA_HOST", "OLLAMA_NOHISTORY"]),
        ("serve", list(_SERVER)),
        *((name, ["OLLAMA_HOST"]) for name in ("create", "show", "stop", "pull", "push", "list", "ps", "cp", "rm")),
        ("signin", []),
        ("signout", []),
    ],
)
def test_a_page_names_the_variables_that_are_read(shell: Shell, name: str, variables: list[str]) -> None:
    """In the order of the sheet; ours stand behind those of Ollama."""
    rows = shell(name, "--help").out.partition("Environment Variables:\n")[2].splitlines()
    names = [row.split()[0] for row in rows]
    assert names[: len(variables)] == variables
    assert all(
        row.startswith("      ") and row[6 + max(27, len(name)) :][:3] == "   "
        for row, name in zip(rows, names, strict=True)
    )
    assert bool(rows) == bool(variables)


@pytest.mark.parametrize("line", ["", "--help", "-h", "help", "--verbose", "--nowordwrap"])
def test_the_root_page_lists_the_commands_in_their_order(shell: Shell, line: str) -> None:
    ran = shell(*line.split())
    assert (ran.status, ran.err) == (0, "")
    block = ran.out.partition("Available Commands:\n")[2].partition("\n\n")[0]
    names = [row.split()[0] for row in block.splitlines()]
    known = ["serve", "create", "show", "run", "stop", "pull", "push", "list", "ps", "cp", "rm", "help"]
    assert [name for name in names if name in known] == known
    assert names[-1] == "help"
    assert names == [entry.name for entry in COMMANDS]
    assert ran.out.endswith('\nUse "a3s-power [command] --help" for more information about a command.\n')


@pytest.mark.parametrize(
    "line",
    [
        "list",
        "ps",
        "show m",
        "cp a b",
        "rm m",
        "stop m",
        "create m",
        "pull m",
        "push m",
        "export m f",
        "pull m --from h",
    ],
)
def test_without_a_server_every_command_says_how_to_start_one(shell: Shell, line: str) -> None:
    complaint = "could not connect to a3s-power, run 'a3s-power serve' to start it"
    assert shell(*line.split()) == Ran(1, "", f"Error: {complaint}\n")
