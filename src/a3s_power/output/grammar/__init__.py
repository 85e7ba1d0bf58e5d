"""Grammars for answers: JSON Schemas, regular expressions, choices and calls of tools become GBNF, or are refused."""

from a3s_power.output.grammar.answer import Calling, Layout, Wanted, grammar
from a3s_power.output.grammar.calls import form
from a3s_power.output.grammar.layouts import layout

__all__ = ["Calling", "Layout", "Wanted", "form", "grammar", "layout"]
