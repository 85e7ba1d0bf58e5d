"""Objects: what balances in a text that comes in pieces."""

import pytest

from a3s_power.output.objects import Objects


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("{}", ["{}"]),
        ('a {"b": {"c": 1}} d', ['{"b": {"c": 1}}']),
        ("{} {}", ["{}", "{}"]),
        ('{"a": "}"}', ['{"a": "}"}']),
        (r'{"a": "\"}"}', [r'{"a": "\"}"}']),
        (r'{"a": "\\"}', [r'{"a": "\\"}']),
        ("[1, [2]]", ["[1, [2]]"]),
        ("[{}]", ["{}", "[{}]"]),
        ("} ] {", []),
        ("{'a': 1}", ["{'a': 1}"]),
        ('{"a', []),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_what_closes_however_it_was_cut(text: str, closed: list[str], size: int) -> None:
    objects = Objects()
    found = [each for at in range(0, len(text), size) for each in list(objects.feed(text[at : at + size]))]
    assert [objects.text(start, end) for _, start, end in found] == closed
    assert [sign for sign, _, _ in found] == [each[0] for each in closed]


def test_brackets_can_be_counted_anew() -> None:
    objects = Objects()
    assert list(objects.feed("[{}")) == [("{", 1, 3)]
    objects.forget_lists()
    assert list(objects.feed("]")) == []


def test_any_part_of_the_text_can_be_had_again() -> None:
    objects = Objects()
    for piece in ("ab", "", "cde", "f"):
        list(objects.feed(piece))
    assert [objects.text(start, end) for start, end in ((0, 6), (1, 4), (2, 5), (5, 6), (3, 3))] == [
        "abcdef",
        "bcd",
        "cde",
        "f",
        "",
    ]
