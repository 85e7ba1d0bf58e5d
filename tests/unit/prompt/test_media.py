"""Images find their places in prompts: the sheet's examples, and what nobody can forge."""

import pytest

from a3s_power.core.errors import BadTemplate
from a3s_power.core.messages import Message
from a3s_power.prompt.gotemplate import prompt as go
from a3s_power.prompt.media import Marks, Style, shown
from a3s_power.prompt.render import Prompter

_MARKS = Marks("0123456789abcdef")


def _user(content: str, images: int = 0) -> Message:
    return Message(role="user", content=content, images=(b"x",) * images)


def _placed(style: Style, *messages: Message) -> list[str]:
    count = sum(len(message.images) for message in messages)
    return [
        shown(*_MARKS.find(message.content, 0)) if count else message.content for message in _MARKS.put(messages, style)
    ]


@pytest.mark.parametrize(
    ("style", "content", "images", "placed"),
    [
        ("tags", "look [img]", 1, "look [img-0]"),
        ("tags", "compare", 2, "[img-0][img-1]compare"),
        ("tags", "a [img] b [img]", 3, "[img-2]a [img-0] b [img-1]"),
        ("tags", "a [img-0] b", 1, "[img-0]a [img-0] b"),
        ("tags", "", 1, "[img-0]"),
        ("raw", "a [img-1] b [img]", 3, "[img-2]a [img-1] b [img-0]"),
        ("renderer", "compare", 2, "[img-0][img-1] compare"),
        ("renderer", "\ncompare", 1, "[img-0]\ncompare"),
        ("renderer", "a [img] b", 1, "a [img-0] b"),
        ("renderer", "a [img-0] b", 1, "a [img-0] b"),
        ("parts", "compare", 2, "compare[img-0][img-1]"),
        ("parts", "a [img]", 1, "a [img][img-0]"),
        ("parts", "", 1, "[img-0]"),
    ],
)
def test_an_image_stands_where_its_way_wants_it(style: Style, content: str, images: int, placed: str) -> None:
    assert _placed(style, _user(content, images)) == [placed]


def test_images_are_numbered_over_all_messages() -> None:
    messages = (_user("one", 2), _user("none"), _user("two [img]", 1))
    assert _placed("tags", *messages) == ["[img-0][img-1]one", "none", "two [img-2]"]


def test_the_files_are_in_the_order_of_the_places() -> None:
    (message,) = _MARKS.put([_user("a [img] b", 2)], "tags")
    assert _MARKS.find(message.content, 2) == (["", "a ", " b"], [1, 0])


def test_a_user_cannot_write_a_mark() -> None:
    (message,) = _MARKS.put([_user("IMG0N0E [img-0] IMGN0E", 1)], "parts")
    assert _MARKS.find(message.content, 1)[1] == [0]


def test_a_template_that_drops_an_image_is_refused() -> None:
    with pytest.raises(BadTemplate, match="leaves out image 2 of 2"):
        _MARKS.find(_MARKS.put([_user("x", 1)], "tags")[0].content, 2)


def test_neighbours_that_become_one_keep_their_images() -> None:
    marked = _MARKS.put([_user("one", 1), _user("two", 1)], "tags")
    text = go.render("{{ range .Messages }}<{{ .Content }}>{{ end }}", marked)
    assert shown(*_MARKS.find(text, 2)) == "<[img-0]one\n\n[img-1]two>"


_PARTS_ONLY = (
    "{% for m in messages %}{{ m.role }}:{% for part in m.content %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %};{% endfor %}"
)
_BOTH = (
    "{% for m in messages %}{% if m.content is string %}({{ m.content }}){% else %}{% for part in m.content %}"
    "{% if part['type'] == 'text' %}[{{ part['text'] }}]{% endif %}{% endfor %}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (_PARTS_ONLY, "user:Hi;"),
        (_BOTH, "(Hi)"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}{# 'text' #}", "Hi"),
        ("{{ 'text' }}", "text"),
    ],
)
def test_a_template_that_knows_only_parts_is_given_parts(template: str, text: str) -> None:
    assert Prompter(template).render([_user("Hi")]).text == text
