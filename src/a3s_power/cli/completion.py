"""`a3s-power completion`: a shell's script that completes commands, flags and the names of models, by click."""

from typing import Final

from a3s_power.cli.main import COMPLETE, PROGRAM, root
from a3s_power.cli.options import command
from a3s_power.core.errors import BadRequest

_BASH: Final = """\
_a3s_power_completion() {
    local IFS=$' \\t\\n' line=${COMP_LINE:0:COMP_POINT} words word begun='' type value
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    word=${words[${#words[@]}-1]}
    # Where a colon divides words for bash, what stands before the last one is there already.
    [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && begun=${word%"${word##*:}"}
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$begun"}") ;;
        esac
    done < <(COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]}-1)) VARIABLE=bash_complete "$1")
}

complete -o nosort -F _a3s_power_completion PROGRAM
"""
"""Bash's: click's own takes the words as bash divides them, so that nothing would be found behind `name:`."""


@command("completion", least=1, most=1)
def completion(words: tuple[str, ...]) -> None:
    """Print the script; the shell's own manual says where it goes."""
    if words[0] == "bash":
        print(_BASH.replace("VARIABLE", COMPLETE).replace("PROGRAM", PROGRAM), end="")
        return
    from click.shell_completion import get_completion_class  # noqa: PLC0415 -- by this command only

    shell = get_completion_class(words[0])
    if shell is None:
        raise BadRequest(f'no completion for "{words[0]}" (must be bash, zsh or fish)')
    print(shell(root, {}, PROGRAM, COMPLETE).source())
