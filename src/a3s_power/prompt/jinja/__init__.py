"""The chat template of a model's own file, in Jinja, rendered where it can do no harm."""

from a3s_power.prompt.jinja.template import JinjaTemplate, local_time

__all__ = ["JinjaTemplate", "local_time"]
