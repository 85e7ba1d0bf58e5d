"""Go's text/template, as far as prompt templates can use it: parse once, execute under a budget."""

from a3s_power.prompt.gotemplate.execute import execute
from a3s_power.prompt.gotemplate.nodes import Template, variables
from a3s_power.prompt.gotemplate.parser import parse

__all__ = ["Template", "execute", "parse", "variables"]
