"""Structure: whether the form asked of an answer can be enforced at all, told before the model is loaded."""

from a3s_power.core.errors import BadRequest
from a3s_power.core.requests import Chat, Generate
from a3s_power.output.grammar import Wanted, form, layout
from a3s_power.prompt.readings import of_jinja
from a3s_power.runner.frames import Run


def check_structure(request: Chat | Generate, run: Run, chat_template: str) -> None:
    """Raise BadRequest for a form that cannot be enforced, on any model or on this one. Takes up to a second.

    `chat_template` is the model's own, in Jinja.
    """
    wanted = Wanted(format=request.format, grammar=request.grammar, choices=request.choices, pattern=request.pattern)
    wanted.check()
    if isinstance(request, Chat):
        _check_tools(request)
    if run.text is not None:
        return
    parser = run.parser or ("" if run.template or run.renderer else of_jinja(chat_template))
    layout(parser, None, opened=False, begun="", thinks=False)
    if parser and run.tools and form(parser, "") is None:
        raise BadRequest("tool_choice cannot be enforced yet in the way in which this model writes calls")


def _check_tools(request: Chat) -> None:
    choice = request.tool_choice
    if choice.mode == "required" and not request.tools:
        raise BadRequest("tool_choice: there are no tools to be called")
    if choice.name and choice.name not in {tool.name for tool in request.tools}:
        raise BadRequest(f"tool_choice: tool '{choice.name}' is not among the tools")
