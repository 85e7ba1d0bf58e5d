"""Any text up to a mark, as GBNF: an automaton with a rule for each beginning of a mark."""

from collections.abc import Sequence

from a3s_power.output.grammar.gbnf import ANY, Ranges, Rules, common, literal, one_of, others


def until(mark: str, rules: Rules, *, without: Sequence[str] = ()) -> str:
    """The name of the rule for any text that ends with `mark`, which is not in it before; nor are those `without`."""
    marks = (mark, *without)
    known = rules.known.get(f"until {marks}")
    if known is not None:
        return known[0]
    states = list(dict.fromkeys(each[:size] for each in marks for size in range(len(each))))
    names = {state: rules.reserve("until") for state in states}
    rules.known[f"until {marks}"] = (names[""],)
    signs = sorted({sign for each in marks for sign in each})
    for state, name in names.items():
        ways, back = [], list[str]()
        for sign in signs:
            text = state + sign
            if text.endswith(mark):
                ways.append(literal(sign))
            elif not any(text.endswith(other) for other in without):
                after = _longest(text, names)
                if after:
                    ways.append(f"{literal(sign)} {names[after]}")
                else:
                    back.append(sign)
        ways.append(f"{one_of(_all_but(set(signs) - set(back)))} {names['']}")
        rules.define(name, " | ".join(ways))
    return names[""]


def _longest(text: str, states: dict[str, str]) -> str:
    """The longest end of a text that begins a mark."""
    return next(text[at:] for at in range(len(text) + 1) if text[at:] in states)


def _all_but(signs: set[str]) -> Ranges:
    return common(ANY, others(tuple(sorted((ord(sign), ord(sign)) for sign in signs))))
