"""JinjaTemplate: how failures are told, and how a budget is counted."""

from datetime import UTC, datetime

import pytest
from jinja2 import nodes

from a3s_power.core.errors import BadTemplate
from a3s_power.core.limits import RENDER_EXTRA_BYTES, TEMPLATE_BYTES
from a3s_power.prompt.conversation import Arguments
from a3s_power.prompt.jinja import JinjaTemplate, local_time
from a3s_power.prompt.jinja.budget import Budget, weigh
from a3s_power.prompt.jinja.tree import Rewriter


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ raise_exception('Only two may speak.') }}", "Only two may speak."),
        ("{{ a.b.c }}", "template error: 'a' is undefined"),
        ("{% if %}", "template error: Expected an expression, got 'end of statement block' (line 1)"),
        ("\n\n{{ 'x'|unheard_of }}", "template error: No filter named 'unheard_of'. (line 3)"),
        ("{{ 1 / 0 }}", "template error: division by zero"),
        ("{{ 'a' + 1 }}", 'template error: can only concatenate str (not "int") to str'),
        ("{% for a in 5 %}{% endfor %}", "template error: 'int' object is not iterable"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "template error: it nests too deeply"),
        ("{{ 'a' * 10000000 }}", "template makes too much text"),
        ("{{ range(100001) }}", "template counts further than 100000"),
        ("{{ 10 ** 2000 }}", "template makes too large a number"),
        ("{{ ''.__class__ }}", "template not allowed"),
        ("{{ 1 }}" * 10_000, "template is too long"),
        ("a" * (TEMPLATE_BYTES + 1), "template is too long"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(template: str, complaint: str) -> None:
    with pytest.raises(BadTemplate) as told:
        JinjaTemplate(template).render({})
    assert told.value.message == complaint


def test_a_complaint_does_not_quote_all_of_a_value() -> None:
    with pytest.raises(BadTemplate) as told:
        JinjaTemplate("{{ raise_exception(x) }}").render({"x": "a" * 100_000})
    assert len(told.value.message) == 2000
    with pytest.raises(BadTemplate) as told:
        JinjaTemplate("{{ x|float + {}[x] }}").render({"x": "a" * 100_000})
    assert len(told.value.message) < 1000


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ call }}", '{"city": "Oslo"}'),
        ("{{ 'f(' + call + ')' }}", 'f({"city": "Oslo"})'),
        ("{{ 'f' ~ call }}", 'f{"city": "Oslo"}'),
        ("{{ call|string }}", '{"city": "Oslo"}'),
        ("{{ call|tojson }}", '{"city": "Oslo"}'),
        ("{{ call.city }}{{ call is mapping }}", "OsloTrue"),
        ("{% for key, value in call.items() %}{{ key }}={{ value }}{% endfor %}", "city=Oslo"),
    ],
)
def test_arguments_serve_templates_that_print_them_and_templates_that_look_into_them(template: str, text: str) -> None:
    assert JinjaTemplate(template).render({"call": Arguments({"city": "Oslo"})}) == text


def test_keys_come_before_methods_unless_the_method_is_one_to_call() -> None:
    values = {"m": {"pop": "a", "update": "b", "items": "c", "_own": "d"}}
    assert JinjaTemplate("{{ m.pop }}{{ m.update }}{{ m['items'] }}{{ m._own }}").render(values) == "abcd"
    assert JinjaTemplate("{{ m.items()|list|length }}").render(values) == "4"


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' | round(6, 'ceil') }}",
        "{{ 1.5 | round(1000) }}",
        "{{ [1] | tojson(indent=1000) }}",
        "{{ '%1000d' % 1 }}",
        "{{ {(1, 2): 3} }}",
        "{{ ('f' * 5000) | int(base=16) }}",
        "{{ ('a' * 1000000) | join('b') }}",
        "{% set s = 'a' * 300000 %}{{ [s, s, s, s] | string }}",
    ],
)
def test_what_would_make_much_of_little_is_refused(template: str) -> None:
    with pytest.raises(BadTemplate):
        JinjaTemplate(template).render({})


def test_a_namespace_does_not_print_what_it_holds() -> None:
    template = "{% set ns = namespace(a=1) %}{% set ns.own = ns %}{{ ns }}{{ ns.own.a }}"
    assert JinjaTemplate(template).render({}) == "<Namespace>1"


def test_what_is_not_known_to_be_harmless_is_not_allowed() -> None:
    with pytest.raises(BadTemplate, match=r"^template not allowed$"):
        Rewriter().visit(nodes.Include(nodes.Const("x"), True, False))


def test_the_time_can_be_asked_for() -> None:
    template = JinjaTemplate("{{ strftime_now('%d %b %Y') }}", now=lambda: datetime(2026, 1, 5, tzinfo=UTC))
    assert template.render({}) == "05 Jan 2026"
    assert local_time().tzinfo is not None


def test_the_variables_a_template_reads() -> None:
    template = JinjaTemplate(
        "{% for m in messages %}{{ m.thinking }}{% endfor %}{% if tools %}{% set own = 1 %}{% endif %}"
    )
    assert template.names == {"m", "messages", "tools"}


def test_a_template_may_say_again_what_it_was_given_but_not_more() -> None:
    given = {"text": "a" * RENDER_EXTRA_BYTES}
    assert len(JinjaTemplate("{{ text }}{{ text }}").render(given)) == 2 * RENDER_EXTRA_BYTES
    with pytest.raises(BadTemplate, match=r"^template makes too much text$"):
        JinjaTemplate("{{ text }}" * 6).render(given)


def test_time_is_up_a_little_before_the_limit() -> None:
    now = [100.0]
    budget = Budget({}, seconds=2, clock=lambda: now[0])
    budget.step()
    now[0] = 101.9
    with pytest.raises(BadTemplate, match=r"^template takes too long$"):
        budget.step()


def test_all_that_is_made_is_counted_even_when_it_is_thrown_away() -> None:
    budget = Budget({})
    for _ in range(16):
        budget.spend(RENDER_EXTRA_BYTES)
    with pytest.raises(BadTemplate, match=r"^template makes too much text$"):
        budget.spend(RENDER_EXTRA_BYTES)


def test_a_value_weighs_what_is_in_it_as_often_as_it_is_there() -> None:
    text = "a" * 1000
    assert 1000 < weigh(text) < 1100
    assert 3000 < weigh([text, {"b": text}, (text, 1, None)]) < 3500
    shared: list[object] = [text]
    for _ in range(60):
        shared = [shared, shared]
    assert 10_000 < weigh(shared, 10_000) < 20_000
