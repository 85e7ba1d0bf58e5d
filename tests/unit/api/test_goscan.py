"""Malformed JSON is named in the words of Go's scanner, and the first value's end is found."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.api.ollama.goscan import first_value_end
from a3s_power.core.errors import BadRequest

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=_VALUES, indent=st.none() | st.integers(0, 2), after=st.binary(max_size=5))
def test_the_end_of_the_first_value_is_found(value: object, indent: int | None, after: bytes) -> None:
    text = json.dumps(value, indent=indent).encode()
    if not isinstance(value, int | float):
        assert first_value_end(text + after) == len(text)
    assert first_value_end(text + b"\n" + after) == len(text)


@given(value=_VALUES, cut=st.integers(1, 100))
def test_what_is_cut_off_is_unexpected_or_a_shorter_number(value: object, cut: int) -> None:
    text = json.dumps(value).encode()[:-cut]
    if text and not isinstance(value, int | float):
        with pytest.raises(BadRequest, match="unexpected EOF"):
            first_value_end(text)


@given(st.binary(max_size=30))
def test_any_bytes_have_an_end_or_are_refused(text: bytes) -> None:
    try:
        end = first_value_end(text)
    except BadRequest:
        return
    assert 0 < end <= len(text)


_BEGIN = "looking for beginning of value"
_KEY = "looking for beginning of object key string"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"x", f"invalid character 'x' {_BEGIN}"),
        (b"}", f"invalid character '}}' {_BEGIN}"),
        (b"[1,]", f"invalid character ']' {_BEGIN}"),
        (b"{,", f"invalid character ',' {_KEY}"),
        (b"{1:2}", f"invalid character '1' {_KEY}"),
        (b'{"a":1,}', f"invalid character '}}' {_KEY}"),
        (b'{"a" "b"}', "invalid character '\"' after object key"),
        (b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        (b'{"a":[}', f"invalid character '}}' {_BEGIN}"),
        (b'{"a":[1}', "invalid character '}' after array element"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'{"a":01}', "invalid character '1' after object key:value pair"),
        (b"-x", "invalid character 'x' in numeric literal"),
        (b"[1.x]", "invalid character 'x' after decimal point in numeric literal"),
        (b"[1e]", "invalid character ']' in exponent of numeric literal"),
        (b"[1e+x]", "invalid character 'x' in exponent of numeric literal"),
        (b"[tru]", "invalid character ']' in literal true (expecting 'e')"),
        (b"[fx]", "invalid character 'x' in literal false (expecting 'a')"),
        (b"nUll", "invalid character 'U' in literal null (expecting 'u')"),
        (b'"a\nb"', "invalid character '\\n' in string literal"),
        (b'"a\x01"', "invalid character '\\x01' in string literal"),
        (b'"\\x"', "invalid character 'x' in string escape code"),
        (b'"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
        (b"'a'", rf"invalid character '\'' {_BEGIN}"),
        (b"\\", rf"invalid character '\\' {_BEGIN}"),
        (b"\x1f\x8b", f"invalid character '\\x1f' {_BEGIN}"),
        (b"\xc3\xa9", f"invalid character 'Ã' {_BEGIN}"),
        (b"\xa0", f"invalid character '\\u00a0' {_BEGIN}"),
        (b"", "unexpected EOF"),
        (b'{"a"', "unexpected EOF"),
        (b'"\\u12', "unexpected EOF"),
        (b"tr", "unexpected EOF"),
        (b"-", "unexpected EOF"),
    ],
)
def test_a_mistake_is_named_in_gos_words(text: bytes, error: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        first_value_end(text)
    assert refusal.value.message == error
