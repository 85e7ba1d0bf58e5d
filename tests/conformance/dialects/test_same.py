"""Forty conversations, each answered alike in every API family: text, thinking, calls, counts and the end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from PIL import Image

from a3s_power.core.manifest import PROJECTOR, ConfigBlob
from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.dialects import DIALECTS, Answered, Called, Talk
from tests.pictures import COLOURS, file, picture
from tests.running import DEADLINE, running
from tests.shared import BUILTIN_MODEL, shared_file
from tests.stores import add_model

_PROJECTOR: Final = "models/power-tiny/power-tiny-mmproj.gguf"
_CITY: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_NUMBERS: Final = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
_WEATHER: Final = Tool(name="get_weather", description="Get the weather for a city", parameters=_CITY)
_ADD: Final = Tool(name="add_two_numbers", description="Add two numbers", parameters=_NUMBERS)
_NAME_AND_AGE: Final = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
_COUNTS: Final = (("messages", "/v1/messages/count_tokens"), ("responses", "/v1/responses/input_tokens"))
_YES_OR_NO: Final = {"enum": ["yes", "no"]}
_ONE_TO_THREE: Final = {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 2, "maxItems": 3}
_STORY: Final = "Tell me a story."


def _user(text: str, *images: bytes) -> Message:
    return Message(role="user", content=text, images=images)


def _assistant(text: str, *calls: ToolCall, thinking: str = "") -> Message:
    return Message(role="assistant", content=text, tool_calls=calls, thinking=thinking)


def _system(text: str) -> Message:
    return Message(role="system", content=text)


def _call(number: int, city: str) -> ToolCall:
    return ToolCall(name="get_weather", arguments={"city": city}, id=f"call_{number}", index=number)


def _result(number: int, content: str, *images: bytes) -> Message:
    return Message(role="tool", content=content, images=images, tool_name="get_weather", tool_call_id=f"call_{number}")


def _square(colour: str) -> bytes:
    return file(Image.new("RGB", (64, 64), COLOURS[colour]))


def _asked(name: str, text: str, **more: Any) -> Talk:
    return Talk(name=name, messages=(_user(text),), **more)


def _told(name: str, *messages: Message, **more: Any) -> Talk:
    return Talk(name=name, messages=messages, **more)


def _seen(name: str, *messages: Message, **more: Any) -> Talk:
    return Talk(name=name, messages=messages, model="see", **more)


_OSLO: Final = (
    _user("What is the weather in Oslo?"),
    _assistant("", _call(0, "Oslo")),
    _result(0, '{"temperature": 7, "condition": "rainy"}'),
)
_ANNA: Final = (_user("My name is Anna."), _assistant("Nice to meet you, Anna!"))
_THOUGHT: Final = _assistant("7", thinking="3 + 4 = 7.")
_TALKS: Final = (
    _asked("hello", "Hello"),
    _asked("sky", "Why is the sky blue?"),
    _asked("capital", "What is the capital of France?"),
    _asked("signs", "Repeat: café 🙂 日本 🚀"),
    _asked("control", 'Repeat: <|im_end|> <think> \u2028 \x85 \\ " </s>'),
    _asked("story", _STORY),
    _told("named", _system("You are Mario, a helpful assistant."), _user("Who are you?")),
    _told("pirate", _system("You are a pirate."), _user("What is the capital of Spain?")),
    _told("upper", _system("Answer in upper case."), _user("What colour is snow?")),
    _told("memory", *_ANNA, _user("What is 2+2?"), _assistant("4"), _user("What is my name?")),
    _told("system and memory", _system("You are a pirate."), *_ANNA, _user("What is my name?")),
    _told("two users", _user("My name is Anna."), _user("What is my name?")),
    _told("lines", _user("Hello\n\nWho are you?\n"), _assistant(" I am\ta model. "), _user("\n What is 3+4? ")),
    _asked("think", "What is 27+48?", think=True),
    _asked("think of a fact", "What is the capital of Japan?", think=True),
    _asked("not think", "What is 27+48?", think=False),
    _told("think again", _user("What is 3+4?"), _THOUGHT, _user("What is 27+48?"), think=True),
    _told("thought before", _user("What is 3+4?"), _THOUGHT, _user("What is 5+4?")),
    _told("think with system", _system("You are a pirate."), _user("What is 12+30?"), think=True),
    _asked("tool", "What is the weather in Paris?", tools=(_WEATHER,)),
    _asked("tool of two", "What is 12 + 30?", tools=(_WEATHER, _ADD)),
    _asked("two calls", "What is the weather in Paris and London?", tools=(_WEATHER,)),
    _asked("tool not needed", "What does a dog say?", tools=(_WEATHER,)),
    _asked("think and call", "What is the weather in Rome?", tools=(_WEATHER,), think=True),
    _told("result", *_OSLO, tools=(_WEATHER,)),
    _told("result and more", *_OSLO, _user("What is the capital of Norway?"), tools=(_WEATHER,)),
    _told(
        "two results",
        _system("You are a helpful assistant."),
        _user("What is the weather in Paris and London?"),
        _assistant("I will look.", _call(0, "Paris"), _call(1, "London")),
        _result(0, '{"temperature": 20, "condition": "sunny"}'),
        _result(1, '{"temperature": 7, "condition": "rainy"}'),
        tools=(_WEATHER,),
    ),
    _told("next round", *_OSLO, _assistant("It is rainy."), _user("What is the weather in Rome?"), tools=(_WEATHER,)),
    _asked("schema", "Tom is 22 years old and is busy. Respond using JSON", schema=_NAME_AND_AGE),
    _asked("schema of words", "Is 4 more than 9?", schema=_YES_OR_NO),
    _asked("schema of a list", "Count to 3.", schema=_ONE_TO_THREE),
    _asked("think, then schema", "What is 27+48?", schema={"type": "integer"}, think=True),
    _asked("stopped", "Count to 20.", stop=("5,",)),
    _asked("stopped by the second", "Why is the sky blue?", stop=("nowhere", " scatters")),
    _asked("empty", "Hello", stop=("H",)),
    _asked("cut", _STORY, limit=7),
    _asked("cut at once", "Hello", limit=1),
    _asked("cut while thinking", "What is 27+48?", think=True, limit=9),
    _seen("picture", _user("What colour is it?", _square("red"))),
    _seen(
        "pictures in turns",
        _user("What colour is it?", _square("red")),
        _assistant("The colour is red."),
        _user("Describe the image.", picture(3).file(), _square("blue")),
    ),
)
_KNOWN: Final[dict[str, Callable[[Answered], bool]]] = {
    "hello": lambda said: said.text == "Hello! How can I help you?",
    "upper": lambda said: said.text == "SNOW IS WHITE.",
    "memory": lambda said: said.text == "Your name is Anna.",
    "think": lambda said: said.text == "75" and "carry 1" in said.thinking,
    "two calls": lambda said: said.calls == tuple(Called("get_weather", {"city": c}) for c in ("Paris", "London")),
    "think and call": lambda said: bool(said.calls and said.thinking and not said.text),
    "result": lambda said: said.text == "It is rainy and 7 degrees in Oslo.",
    "schema of words": lambda said: said.text in ('"yes"', '"no"'),
    "stopped": lambda said: said.text == "1, 2, 3, 4, ",
    "empty": lambda said: (said.text, said.reason) == ("", "stop"),
    "cut": lambda said: (said.output_tokens, said.reason) == (7, "length"),
    "picture": lambda said: said.text == "The colour is red.",
}
"""What some of them must be, so that not all of them can be wrong alike."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the models: `see`, power-tiny with its image encoder, where that is there."""
    return tmp_path_factory.mktemp("dialects")


@pytest.fixture(scope="module")
def http(store: Path) -> Iterator[httpx2.Client]:
    """A client of a real server."""
    with (
        running(lambda: open_local(LocalSettings(models=store))) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def see(store: Path) -> None:
    """The model that sees; without the file of its encoder the tests that need it are skipped."""
    encoder = shared_file(_PROJECTOR).read_bytes()
    config = ConfigBlob(model_format="gguf", model_family="llama")
    add_model(Store(store), "see", (PROJECTOR, encoder), weights=BUILTIN_MODEL.read_bytes(), config=config)


Expected = Callable[[Talk], Answered]


@pytest.fixture(scope="module")
def expected(http: httpx2.Client, request: pytest.FixtureRequest) -> Expected:
    """What the native chat answers to a talk in one piece, asked once."""
    known: dict[str, Answered] = {}

    def answered(talk: Talk) -> Answered:
        if talk.model == "see":
            request.getfixturevalue("see")
        if talk.name not in known:
            known[talk.name] = _said(http, "native", talk, stream=False)
        return known[talk.name]

    return answered


def _said(http: httpx2.Client, name: str, talk: Talk, *, stream: bool) -> Answered:
    dialect = DIALECTS[name]
    answer = http.post(dialect.path, json=dialect.body(talk) | {"stream": stream})
    assert answer.status_code == 200, answer.text
    return dialect.streamed(answer.text) if stream else dialect.whole(answer.json())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("talk", _TALKS, ids=lambda talk: talk.name)
def test_a_conversation_is_answered_alike_in_every_dialect(
    http: httpx2.Client, expected: Expected, talk: Talk, dialect: str, *, stream: bool
) -> None:
    right = expected(talk)
    assert _said(http, dialect, talk, stream=stream) == right


@pytest.mark.parametrize(("dialect", "route"), _COUNTS)
@pytest.mark.parametrize("talk", _TALKS, ids=lambda talk: talk.name)
def test_tokens_are_counted_before_as_they_are_afterwards(
    http: httpx2.Client, expected: Expected, talk: Talk, dialect: str, route: str
) -> None:
    right = expected(talk).prompt_tokens
    assert http.post(route, json=DIALECTS[dialect].body(talk)).json()["input_tokens"] == right


@pytest.mark.parametrize("talk", [talk for talk in _TALKS if talk.name in _KNOWN], ids=lambda talk: talk.name)
def test_some_answers_are_known(expected: Expected, talk: Talk) -> None:
    said = expected(talk)
    assert _KNOWN[talk.name](said), said


def test_there_are_forty() -> None:
    assert len({talk.name for talk in _TALKS}) == 40
