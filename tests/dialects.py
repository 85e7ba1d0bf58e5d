"""One conversation in the words of each API family, and what each of them answered, said alike."""

import base64
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec

from a3s_power.core.messages import Message, Tool

Json = dict[str, Any]


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation, and how it shall be answered: greedily, and in `limit` tokens at most."""

    name: str
    messages: tuple[Message, ...]
    model: str = "power-tiny"
    tools: tuple[Tool, ...] = ()
    think: bool | None = None
    schema: Json | None = None
    stop: tuple[str, ...] = ()
    limit: int = 96


class Called(msgspec.Struct, frozen=True):
    """A call of a tool; ids are left out, for every answer has its own."""

    name: str
    arguments: Json


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. `prompt_tokens` counts those that were read from a cache, too."""

    text: str
    thinking: str
    calls: tuple[Called, ...]
    prompt_tokens: int
    output_tokens: int
    reason: Literal["stop", "length"]


class Dialect(Protocol):
    """How an API family writes a conversation, and an answer in one piece or as a stream."""

    path: str

    def body(self, talk: Talk) -> Json:
        """The request, without a word on streaming."""
        ...

    def whole(self, answer: Json) -> Answered:
        """An answer in one piece."""
        ...

    def streamed(self, text: str) -> Answered:
        """A stream, put together as this family's clients do it."""
        ...


def turns(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """The messages, results of tools together with what the user says next: one turn to some families."""
    held: list[Message] = []
    for message in messages:
        if held and message.role not in ("tool", "user"):
            yield held
            held = []
        held.append(message)
        if message.role != "tool":
            yield held
            held = []
    if held:
        yield held


def _data(text: str) -> list[Json]:
    """The objects of a stream of events, whatever their names."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _url(data: bytes) -> str:
    return f"data:image/png;base64,{_base64(data)}"


def _function(tool: Tool) -> Json:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def _given(**fields: Any) -> Json:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value not in (None, [], ())}


class Native:
    """Ollama's own chat."""

    path = "/api/chat"

    def body(self, talk: Talk) -> Json:
        """The request."""
        options = _given(temperature=0, num_predict=talk.limit, stop=list(talk.stop))
        tools = [{"type": "function", "function": _function(tool)} for tool in talk.tools]
        messages = list(map(self._message, talk.messages))
        said = _given(tools=tools, think=talk.think, format=talk.schema)
        return {"model": talk.model, "messages": messages, "options": options} | said

    def _message(self, message: Message) -> Json:
        calls = [
            {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}} for call in message.tool_calls
        ]
        said: Json = {"role": message.role, "content": message.content}
        return said | _given(
            thinking=message.thinking or None,
            images=list(map(_base64, message.images)),
            tool_calls=calls,
            tool_name=message.tool_name or None,
            tool_call_id=message.tool_call_id or None,
        )

    def whole(self, answer: Json) -> Answered:
        """An answer in one piece."""
        return self._put_together([answer])

    def streamed(self, text: str) -> Answered:
        """A stream of lines."""
        lines = list(map(json.loads, text.splitlines()))
        assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
        return self._put_together(lines)

    def _put_together(self, lines: Sequence[Json]) -> Answered:
        said, last = [line["message"] for line in lines], lines[-1]
        calls = [call["function"] for message in said for call in message.get("tool_calls", ())]
        assert last["done_reason"] in ("stop", "length")
        return Answered(
            text="".join(message["content"] for message in said),
            thinking="".join(message.get("thinking", "") for message in said),
            calls=tuple(Called(call["name"], call["arguments"]) for call in calls),
            prompt_tokens=last["prompt_eval_count"],
            output_tokens=last["eval_count"],
            reason=last["done_reason"],
        )


class Completions:
    """OpenAI's chat completions."""

    path = "/v1/chat/completions"

    def body(self, talk: Talk) -> Json:
        """The request; a stream is asked for its counts."""
        tools = [{"type": "function", "function": _function(tool)} for tool in talk.tools]
        schema = {"name": "answer", "schema": talk.schema}
        form = {"type": "json_schema", "json_schema": schema} if talk.schema is not None else None
        fixed: Json = {"temperature": 0, "max_completion_tokens": talk.limit, "stream_options": {"include_usage": True}}
        said = _given(tools=tools, response_format=form, stop=list(talk.stop), reasoning_effort=_effort(talk.think))
        return {"model": talk.model, "messages": list(map(self._message, talk.messages))} | fixed | said

    def _message(self, message: Message) -> Json:
        content: Any = message.content
        if message.images:
            images = [{"type": "image_url", "image_url": {"url": _url(image)}} for image in message.images]
            content = [{"type": "text", "text": message.content}, *images]
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in message.tool_calls
        ]
        said: Json = {"role": message.role, "content": content or (None if calls else "")}
        return said | _given(
            reasoning=message.thinking or None, tool_calls=calls, tool_call_id=message.tool_call_id or None
        )

    def whole(self, answer: Json) -> Answered:
        """An answer in one piece."""
        (choice,) = answer["choices"]
        message = choice["message"]
        return self._answered(
            message["content"], message.get("reasoning", ""), message.get("tool_calls", ()), choice, answer["usage"]
        )

    def streamed(self, text: str) -> Answered:
        """A stream of deltas."""
        assert text.endswith("data: [DONE]\n\n")
        *chunks, counted = _data(text)
        assert counted["choices"] == []
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        deltas = [choice["delta"] for choice in choices]
        calls: defaultdict[int, Json] = defaultdict(lambda: {"name": "", "arguments": ""})
        for part in (part for delta in deltas for part in delta.get("tool_calls", ())):
            for field, piece in part["function"].items():
                calls[part["index"]][field] += piece
        return self._answered(
            "".join(delta.get("content") or "" for delta in deltas),
            "".join(delta.get("reasoning", "") for delta in deltas),
            [{"function": calls[index]} for index in sorted(calls)],
            choices[-1],
            counted["usage"],
        )

    def _answered(self, text: str, thinking: str, calls: Sequence[Json], choice: Json, usage: Json) -> Answered:
        assert (choice["finish_reason"] == "tool_calls") == bool(calls)
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        functions = [call["function"] for call in calls]
        return Answered(
            text=text,
            thinking=thinking,
            calls=tuple(Called(each["name"], json.loads(each["arguments"])) for each in functions),
            prompt_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            reason="length" if choice["finish_reason"] == "length" else "stop",
        )


class Responses:
    """OpenAI's responses. They know no stop texts, so those are said in our own `options`."""

    path = "/v1/responses"

    def body(self, talk: Talk) -> Json:
        """The request."""
        tools = [{"type": "function"} | _function(tool) for tool in talk.tools]
        form = {"type": "json_schema", "name": "answer", "schema": talk.schema} if talk.schema is not None else None
        effort = _effort(talk.think)
        said = _given(
            tools=tools,
            text={"format": form} if form else None,
            reasoning={"effort": effort} if effort else None,
            options={"stop": list(talk.stop)} if talk.stop else None,
        )
        items = [item for message in talk.messages for item in self._items(message)]
        return {"model": talk.model, "input": items, "temperature": 0, "max_output_tokens": talk.limit} | said

    def _items(self, message: Message) -> Iterator[Json]:
        if message.thinking:
            yield {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": message.thinking}
        if message.role == "tool":
            output: Any = message.content
            if message.images:
                output = [{"type": "input_text", "text": message.content}, *self._images(message)]
            yield {"type": "function_call_output", "call_id": message.tool_call_id, "output": output}
            return
        if message.content or message.images or not message.tool_calls:
            kind = "output_text" if message.role == "assistant" else "input_text"
            text = {"type": kind, "text": message.content}
            yield {"type": "message", "role": message.role, "content": [text, *self._images(message)]}
        for call in message.tool_calls:
            arguments = json.dumps(call.arguments)
            yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments}

    def _images(self, message: Message) -> list[Json]:
        return [{"type": "input_image", "image_url": _url(image)} for image in message.images]

    def whole(self, answer: Json) -> Answered:
        """An answer in one piece."""
        output, usage = answer["output"], answer["usage"]
        cut = answer["status"] == "incomplete"
        assert cut == (answer["incomplete_details"] == {"reason": "max_output_tokens"})
        parts = {"message": "content", "reasoning": "summary"}
        texts = {
            kind: [part["text"] for item in output if item["type"] == kind for part in item[field]]
            for kind, field in parts.items()
        }
        calls = [item for item in output if item["type"] == "function_call"]
        return Answered(
            text="".join(texts["message"]),
            thinking="".join(texts["reasoning"]),
            calls=tuple(Called(call["name"], json.loads(call["arguments"])) for call in calls),
            prompt_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            reason="length" if cut else "stop",
        )

    def streamed(self, text: str) -> Answered:
        """A stream of events; the last one tells all of it again, and must tell the same."""
        events = _data(text)
        last = events[-1]
        assert last["type"] in ("response.completed", "response.incomplete")
        answered = self.whole(last["response"])
        grown = defaultdict[str, str](str)
        for event in events:
            grown[event["type"]] += event.get("delta", "")
        assert grown["response.output_text.delta"] == answered.text
        assert grown["response.reasoning_summary_text.delta"] == answered.thinking
        return answered


class Messages:
    """Anthropic's messages."""

    path = "/v1/messages"

    def body(self, talk: Talk) -> Json:
        """The request."""
        system = "".join(message.content for message in talk.messages if message.role == "system")
        rest = [message for message in talk.messages if message.role != "system"]
        tools = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in talk.tools
        ]
        thinking = {None: None, True: {"type": "enabled", "budget_tokens": 1024}, False: {"type": "disabled"}}
        form = {"format": {"type": "json_schema", "schema": talk.schema}} if talk.schema is not None else None
        fixed: Json = {"model": talk.model, "max_tokens": talk.limit, "temperature": 0}
        said = _given(
            system=system or None,
            tools=tools,
            thinking=thinking[talk.think],
            output_config=form,
            stop_sequences=list(talk.stop),
        )
        return fixed | said | {"messages": list(map(self._turn, turns(rest)))}

    def _turn(self, turn: Sequence[Message]) -> Json:
        role = "user" if turn[-1].role == "tool" else turn[-1].role
        return {"role": role, "content": [block for message in turn for block in self._blocks(message)]}

    def _blocks(self, message: Message) -> list[Json]:
        thought = [{"type": "thinking", "thinking": message.thinking, "signature": ""}] if message.thinking else []
        texts = [{"type": "text", "text": message.content}] if message.content else []
        images = [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _base64(image)}}
            for image in message.images
        ]
        if message.role == "tool":
            return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": [*texts, *images]}]
        calls = [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
            for call in message.tool_calls
        ]
        return [*thought, *texts, *images, *calls]

    def whole(self, answer: Json) -> Answered:
        """An answer in one piece."""
        content, usage = answer["content"], answer["usage"]
        calls = [block for block in content if block["type"] == "tool_use"]
        assert (answer["stop_reason"] == "tool_use") == bool(calls)
        assert (answer["stop_reason"] == "stop_sequence") == (answer["stop_sequence"] is not None)
        read = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        return Answered(
            text="".join(block["text"] for block in content if block["type"] == "text"),
            thinking="".join(block["thinking"] for block in content if block["type"] == "thinking"),
            calls=tuple(Called(call["name"], call["input"]) for call in calls),
            # Those that were read from a cache are counted apart here.
            prompt_tokens=sum(usage[name] for name in read),
            output_tokens=usage["output_tokens"],
            reason="length" if answer["stop_reason"] == "max_tokens" else "stop",
        )

    def streamed(self, text: str) -> Answered:
        """A stream of blocks that grow."""
        events = _data(text)
        assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
        answer: Json = events[0]["message"]
        content: list[Json] = answer["content"]
        for event in events[1:-1]:
            match event:
                case {"type": "content_block_start", "index": index, "content_block": block}:
                    assert index == len(content)
                    content.append(block | {"said": ""})
                case {"type": "content_block_delta", "index": index, "delta": delta}:
                    kind = delta["type"].removesuffix("_delta").replace("input_json", "partial_json")
                    content[index]["said" if kind == "partial_json" else kind] += delta[kind]
                case {"type": "message_delta", "delta": delta, "usage": usage}:
                    answer |= delta | {"usage": usage}
        for block in content:
            if block["type"] == "tool_use":
                block["input"] = json.loads(block["said"])
        return self.whole(answer)


def _effort(think: bool | None) -> str | None:
    return None if think is None else "high" if think else "none"


NATIVE: Final = Native()
DIALECTS: Final[dict[str, Dialect]] = {
    "native": NATIVE,
    "completions": Completions(),
    "responses": Responses(),
    "messages": Messages(),
}
"""The families, by the names of their routes."""
