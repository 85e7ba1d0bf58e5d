"""Structure: the form that a run's answer must have — as a grammar before it, and looked over behind it."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from a3s_power.core.errors import BadRequest, EngineFailed
from a3s_power.core.events import Event, Text, ToolCalls
from a3s_power.engines.engine import Outcome
from a3s_power.runner.frames import Run

if TYPE_CHECKING:
    from a3s_power.output.grammar import Calling, Layout, Wanted
    from a3s_power.prompt.render import Prompt

Say = Callable[[Event], None]


class Structure:
    """What one run wants of the form of its answer."""

    def __init__(self, request: Run) -> None:
        self._request = request
        self._must_call = request.tool_choice.mode == "required" and bool(request.tools)
        self._wanted = _wanted(request) if request.format is not None or self._must_call or _has_own(request) else None
        self._text: list[str] = []
        self._called = False

    def grammar(self, prompt: "Prompt") -> str:
        """The grammar of the answer to a prompt, empty when it is free.

        Raises:
            BadRequest: it cannot be enforced, or not on this model.
        """
        if self._wanted is None:
            return ""
        from a3s_power.output.grammar import grammar  # noqa: PLC0415 -- as `_wanted` says

        self._text.clear()
        return grammar(self._wanted, self._layout(prompt), self._calling(prompt), _note)

    def _layout(self, prompt: "Prompt") -> "Layout":
        from a3s_power.output.grammar import Layout, layout  # noqa: PLC0415 -- as `_wanted` says

        if self._request.text is not None:
            return Layout()
        thinks = self._request.think is not False
        return layout(prompt.parser, prompt.thinking, opened=prompt.opened, begun=prompt.begun, thinks=thinks)

    def _calling(self, prompt: "Prompt") -> "Calling | None":
        from a3s_power.output.grammar import Calling, form  # noqa: PLC0415 -- as `_wanted` says

        request = self._request
        if not request.tools or not request.parse_tools or request.tool_choice.mode == "none":
            return None
        how = form(prompt.parser, prompt.tool_tag)
        if how is None:
            what = "tool_choice" if self._must_call else "a form of the answer together with tools"
            raise BadRequest(f"{what} cannot be enforced yet in the way in which this model writes calls")
        return Calling(
            form=how,
            tools=request.tools,
            choice=request.tool_choice,
            several=request.parallel_tool_calls,
            names={own: safe for safe, own in prompt.names.items()},
        )

    def watched(self, say: Say) -> Say:
        """`say`, for an answer that will be looked over, or that may have one call only."""
        if self._wanted is None and self._request.parallel_tool_calls:
            return say

        def watch(event: Event) -> None:
            match event:
                case Text():
                    self._text.append(event.text)
                case ToolCalls(calls) if not self._request.parallel_tool_calls:
                    if self._called:
                        return
                    event = ToolCalls(calls[:1])
            self._called = self._called or isinstance(event, ToolCalls)
            say(event)

        return watch

    def check(self, outcome: Outcome) -> None:
        """Raise EngineFailed for a whole answer that is not as it should be; one that was cut cannot be."""
        if self._wanted is None or self._called or outcome.reason != "stop" or outcome.stop_text:
            return
        fault = "it calls no tool" if self._must_call else self._wanted.fault("".join(self._text))
        if fault:
            raise EngineFailed(f"the answer does not have the form that was asked for: {fault}")


def _has_own(request: Run) -> bool:
    return bool(request.grammar or request.choices or request.pattern)


def _wanted(request: Run) -> "Wanted":
    # 10 ms of imports that most answers never need.
    from a3s_power.output.grammar import Wanted  # noqa: PLC0415

    return Wanted(format=request.format, grammar=request.grammar, choices=request.choices, pattern=request.pattern)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- a child's stderr is its log
