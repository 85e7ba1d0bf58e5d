"""Whatever JSON a body is, it becomes a chat or a refusal, and the chat can be sent to a child."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.api.anthropic.wire import CountRequest, MessagesRequest
from a3s_power.api.asked import reader
from a3s_power.core.errors import BadRequest, NotAllowed
from a3s_power.runner.frames import Run, encode

_WORDS = st.sampled_from(["", "x", "user", "assistant", "aGk=", "m", "enabled", "json_schema", "web_search_1", "f"])
_SCALARS = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | _WORDS
_ANY = st.recursive(
    _SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(_WORDS, part, max_size=3), max_leaves=6
)
_TYPES = (
    *("text", "image", "tool_use", "tool_result", "thinking", "document", "server_tool_use"),
    *("web_search_tool_result", "other"),
)


def _object(required: dict[str, Any], *names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=dict.fromkeys(names, _ANY))


_SOURCES = _object({"type": st.sampled_from(["base64", "url", "text"])}, "data", "media_type") | _ANY
_BLOCKS = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(_TYPES)},
        optional={"text": _WORDS, "thinking": _WORDS, "source": _SOURCES, "id": _WORDS, "name": _WORDS, "input": _ANY},
    ),
    lambda part: st.fixed_dictionaries(
        {"type": st.just("tool_result")}, optional={"tool_use_id": _WORDS, "content": st.lists(part, max_size=3) | _ANY}
    ),
    max_leaves=4,
)
_TURNS = st.lists(
    st.fixed_dictionaries({"role": _WORDS, "content": _WORDS | st.lists(_BLOCKS, max_size=3)}), min_size=1, max_size=3
)
_TOOLS = st.lists(_object({"name": _WORDS}, "description", "input_schema", "type"), max_size=2)
_BODIES = st.fixed_dictionaries(
    {"model": _WORDS, "max_tokens": st.integers(-1, 9), "messages": _TURNS},
    optional={
        "tools": _TOOLS,
        "tool_choice": _object({"type": st.sampled_from(["auto", "any", "tool", "none", "x"])}, "name"),
        "thinking": _object({"type": _WORDS}),
        "output_config": _object({}, "effort", "format"),
        **dict.fromkeys(("system", "temperature", "top_p", "top_k", "stop_sequences", "stream"), _ANY),
        **dict.fromkeys(("options", "num_ctx", "keep_alive", "metadata"), _ANY),
    },
)

_read_messages = reader(MessagesRequest)
_read_count = reader(CountRequest)


@given(body=_BODIES | _ANY)
def test_a_body_becomes_a_chat_or_a_refusal(body: Any) -> None:
    content = msgspec.json.encode(body)
    for read in (_read_messages, _read_count):
        try:
            asked = read(content)
            chat = asked.to_domain()
        except (BadRequest, NotAllowed):
            continue
        assert asked.estimate() >= 1
        encode(Run(messages=chat.messages, tools=chat.tools, think=chat.think, tool_choice=chat.tool_choice))
