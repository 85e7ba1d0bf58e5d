"""OutputParser: what a model writes becomes events, with thinking, calls of tools and the answer told apart."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from a3s_power.core.events import Text, Thinking, TokenLogprob, ToolCalls
from a3s_power.core.messages import ToolCall
from a3s_power.output.families.reading import Part, Reader
from a3s_power.output.thinking import ThinkingParser
from a3s_power.output.tools import ToolParser, call_id

Said = Text | Thinking | ToolCalls


class OutputParser:
    """Fed the answer's text in pieces of any size; the events say the same for every cutting.

    `thinking` is the pair of tags between which the model thinks, and `opened` says that the prompt ended inside them.
    `tools` are the names of those offered, `tool_tag` what announces their calls. A `family` reads all that by itself.
    Without any of them, a piece costs next to nothing.
    """

    def __init__(
        self,
        *,
        thinking: tuple[str, str] | None = None,
        opened: bool = False,
        tool_tag: str = "",
        tools: Iterable[str] = (),
        family: Reader | None = None,
        new_id: Callable[[], str] = call_id,
    ) -> None:
        self._family = family
        self._new_id = new_id
        self._calls = 0
        self._thinking = ThinkingParser(*thinking, opened=opened) if thinking is not None else None
        self._tools = ToolParser(tool_tag, tools, new_id=new_id) if tool_tag else None

    def feed(self, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> Sequence[Said]:
        """What this piece makes sure of. Log-probabilities are not held back: a Text may hold nothing else."""
        if self._family is not None:
            return _with(logprobs, self._made(self._family.feed(text)))
        if self._thinking is None and self._tools is None:
            return (Text(text, logprobs),) if text or logprobs else ()
        return _with(logprobs, self._events(text))

    def close(self) -> Sequence[Said]:
        """What was held back, at the end of the answer."""
        if self._family is not None:
            return self._made(self._family.close())
        events: list[Said] = []
        if self._thinking is not None:
            thought, answer = self._thinking.close()
            events += [Thinking(thought)] if thought else []
            events += self._answer(answer)
        if self._tools is not None:
            events += _joined(self._tools.close())
        return events

    def _made(self, parts: Sequence[Part]) -> list[Said]:
        """A family's parts as events; its calls get their ids and places here."""
        events: list[Said] = []
        for part in parts:
            match part:
                case str():
                    events.append(Text(part))
                case Thinking():
                    events.append(part)
                case (name, arguments):
                    call = ToolCall(name=name, arguments=arguments, id=self._new_id(), index=self._calls)
                    self._calls += 1
                    events.append(ToolCalls((call,)))
        return _together(events)

    def _events(self, text: str) -> list[Said]:
        if self._thinking is None:
            return self._answer(text)
        thought, answer = self._thinking.feed(text)
        if self._thinking.done:
            self._thinking = None
        events: list[Said] = [Thinking(thought)] if thought else []
        return events + self._answer(answer) if answer else events

    def _answer(self, text: str) -> list[Said]:
        if self._tools is None:
            return [Text(text)] if text else []
        return _joined(self._tools.feed(text))


def _joined(found: Iterable[str | ToolCall]) -> list[Said]:
    """Texts and calls as events."""
    return _together([Text(each) if isinstance(each, str) else ToolCalls((each,)) for each in found])


def _together(events: list[Said]) -> list[Said]:
    """The events, those of calls that stand together made one."""
    joined: list[Said] = []
    for event in events:
        match event, joined:
            case ToolCalls(calls), [*_, ToolCalls(before)]:
                joined[-1] = ToolCalls((*before, *calls))
            case _:
                joined.append(event)
    return joined


def _with(logprobs: tuple[TokenLogprob, ...], events: list[Said]) -> list[Said]:
    """The events, with these log-probabilities on the first that can carry them."""
    if not logprobs:
        return events
    for at, event in enumerate(events):
        if not isinstance(event, ToolCalls):
            return [*events[:at], msgspec.structs.replace(event, logprobs=logprobs), *events[at + 1 :]]
    return [Text("", logprobs), *events]
