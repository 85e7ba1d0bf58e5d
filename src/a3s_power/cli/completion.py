"""`a3s-power completion`: a shell's script that completes commands, flags and the names of models, by click."""

from a3s_power.cli.main import COMPLETE, PROGRAM, root
from a3s_power.cli.options import command
from a3s_power.core.errors import BadRequest


@command("completion", least=1, most=1)
def completion(words: tuple[str, ...]) -> None:
    """Print the script; the shell's own manual says where it goes."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 -- by this command only

    shell = get_completion_class(words[0])
    if shell is None:
        raise BadRequest(f'no completion for "{words[0]}" (must be bash, zsh or fish)')
    print(shell(root, {}, PROGRAM, COMPLETE).source())
