"""Named renderers: turns, calls, results, thinking and begun answers, in the wire strings of each family."""

from typing import Final

import pytest

from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.output.families import PARSERS
from a3s_power.prompt.families import NAMES, RENDERERS
from a3s_power.prompt.families.conversation import Conversation
from a3s_power.prompt.families.harmony import renamed_calls, renamed_tools, safe_names
from a3s_power.prompt.readings import READINGS

SYSTEM: Final = Message(role="system", content="S")
ASKED: Final = Message(role="user", content="u1")
ANSWERED: Final = Message(role="assistant", content="a1", thinking="t1")
AGAIN: Final = Message(role="user", content="u2")
BEGUN: Final = Message(role="assistant", content="We")
CALL: Final = ToolCall(name="w", arguments={"city": "Oslo", "days": 2})
CALLED: Final = Message(role="assistant", content="I look.", thinking="t", tool_calls=(CALL, CALL))
RESULTS: Final = (Message(role="tool", content="rain", tool_name="w"), Message(role="tool", content="sun"))
WEATHER: Final = Tool(
    name="w",
    description="Weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Where"}, "days": {"type": ["integer", "null"]}},
        "required": ["city"],
    },
)


def text(name: str, *messages: Message, tools: tuple[Tool, ...] = (), think: bool = False) -> str:
    return RENDERERS[name].load()(Conversation(messages, tools, think))


def chatml(*turns: tuple[str, str]) -> str:
    return "".join(f"<|im_start|>{role}\n{said}<|im_end|>\n" for role, said in turns)


TURNS: Final = chatml(("system", "S"), ("user", "u1"), ("assistant", "a1"), ("user", "u2"))
OPEN: Final = "<|im_start|>assistant\n"
THOUGHT_BEFORE: Final = "<think>\nt1\n</think>\n\na1"
NO_THOUGHT_BEFORE: Final = "<think></think>\na1"
COGITO: Final = (
    "You are Cogito, an AI assistant created by Deep Cogito, which is an AI research lab based in San Francisco."
)
NO_FUNCTIONS: Final = "You do not currently have access to any functions. <functions></functions>"
OLMO_THINKS: Final = TURNS.replace("\nS<", f"\nS {NO_FUNCTIONS}<") + f"{OPEN}<think>"
DEEPSEEK: Final = (
    "<｜begin▁of▁sentence｜>S<｜User｜>u1<｜Assistant｜></think>a1<｜end▁of▁sentence｜><｜User｜>u2<｜Assistant｜>"
)


@pytest.mark.parametrize(
    ("name", "on", "off"),
    [
        ("qwen3-coder", TURNS + OPEN, TURNS + OPEN),
        ("qwen3-vl-instruct", TURNS + OPEN, TURNS + OPEN),
        ("qwen3-vl-thinking", f"{TURNS}{OPEN}<think>\n", TURNS + OPEN),
        ("qwen3.5", f"{TURNS}{OPEN}<think>\n", f"{TURNS}{OPEN}<think>\n\n</think>\n\n"),
        (
            "ornith",
            f"{TURNS.replace('a1', THOUGHT_BEFORE)}{OPEN}<think>\n",
            f"{TURNS}{OPEN}<think>\n\n</think>\n\n",
        ),
        (
            "nemotron-3-nano",
            f"{TURNS.replace('a1', NO_THOUGHT_BEFORE)}{OPEN}<think>\n",
            f"{TURNS.replace('a1', NO_THOUGHT_BEFORE)}{OPEN}<think></think>",
        ),
        ("olmo3", TURNS + OPEN, TURNS + OPEN),
        ("olmo3.1", TURNS + OPEN, TURNS + OPEN),
        ("olmo3-think", OLMO_THINKS, OLMO_THINKS),
        ("olmo3-32b-think", OLMO_THINKS, OLMO_THINKS),
        ("lfm2", f"<|startoftext|>{TURNS}{OPEN}", f"<|startoftext|>{TURNS}{OPEN}"),
        ("lfm2-thinking", f"<|startoftext|>{TURNS}{OPEN}", f"<|startoftext|>{TURNS}{OPEN}"),
        ("deepseek3.1", f"{DEEPSEEK}<think>", f"{DEEPSEEK}</think>"),
        (
            "cogito",
            (
                f"<｜begin▁of▁sentence｜>Enable deep thinking subroutine.\n\n{COGITO}\n\nS\n\n"
                "<｜User｜>u1<｜Assistant｜>a1<｜end▁of▁sentence｜><｜User｜>u2<｜Assistant｜><think>\n"
            ),
            (
                f"<｜begin▁of▁sentence｜>{COGITO}\n\nS"
                "<｜User｜>u1<｜Assistant｜>a1<｜end▁of▁sentence｜><｜User｜>u2<｜Assistant｜>"
            ),
        ),
        (
            "glm-4.7",
            "[gMASK]<sop><|system|>S<|user|>u1<|assistant|><think>t1</think>a1<|user|>u2<|assistant|><think>",
            "[gMASK]<sop><|system|>S<|user|>u1<|assistant|><think>t1</think>a1<|user|>u2<|assistant|></think>",
        ),
        (
            "functiongemma",
            *(
                (
                    "<start_of_turn>developer\nS<end_of_turn>\n<start_of_turn>user\nu1<end_of_turn>\n"
                    "<start_of_turn>model\na1<end_of_turn>\n<start_of_turn>user\nu2<end_of_turn>\n<start_of_turn>model\n"
                ),
            )
            * 2,
        ),
    ],
)
def test_turns_and_thinking(name: str, on: str, off: str) -> None:
    turns = (SYSTEM, ASKED, ANSWERED, AGAIN)
    assert text(name, *turns, think=True) == on
    assert text(name, *turns) == off


XML_CALL: Final = (
    "<tool_call>\n<function=w>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
    "</function>\n</tool_call>"
)
JSON_CALL: Final = '<tool_call>\n{"name": "w", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>'
GLM_CALL: Final = (
    "<tool_call>w<arg_key>city</arg_key><arg_value>Oslo</arg_value><arg_key>days</arg_key><arg_value>2</arg_value>"
    "</tool_call>"
)
RESPONSES: Final = (
    "<|im_start|>user\n<tool_response>\nrain\n</tool_response>\n<tool_response>\nsun\n</tool_response><|im_end|>\n"
)
FULL_CALL: Final = '<｜tool▁call▁begin｜>w<｜tool▁sep｜>{"city":"Oslo","days":2}<｜tool▁call▁end｜>'
FENCED_CALL: Final = (
    '<｜tool▁call▁begin｜>function<｜tool▁sep｜>w\n```json\n{"city":"Oslo","days":2}\n```<｜tool▁call▁end｜>'
)
ESCAPED_CALL: Final = "<start_function_call>call:w{city:<escape>Oslo<escape>,days:2}<end_function_call>"


@pytest.mark.parametrize(
    ("name", "end"),
    [
        (
            "qwen3-coder",
            (
                f"{chatml(('assistant', 'I look.' + 2 * chr(10) + XML_CALL + chr(10) + XML_CALL))}"
                f"{RESPONSES.replace('</tool_response><|im_end|>', '</tool_response>' + chr(10) + '<|im_end|>')}{OPEN}"
            ),
        ),
        ("qwen3-vl-instruct", f"{OPEN}I look.\n{JSON_CALL}\n{JSON_CALL}<|im_end|>\n{RESPONSES}{OPEN}"),
        (
            "qwen3-vl-thinking",
            f"<think>\nt\n</think>\n\nI look.\n{JSON_CALL}\n{JSON_CALL}<|im_end|>\n{RESPONSES}{OPEN}<think>\n",
        ),
        ("qwen3.5", f"<think>\nt\n</think>\n\nI look.\n\n{XML_CALL}\n{XML_CALL}<|im_end|>\n{RESPONSES}{OPEN}<think>\n"),
        (
            "olmo3",
            (
                f'{OPEN}I look.<function_calls>w(city="Oslo", days=2)\nw(city="Oslo", days=2)</function_calls>'
                "<|im_end|>\n"
                f"{chatml(('environment', 'rain'), ('environment', 'sun'))}{OPEN}"
            ),
        ),
        (
            "lfm2",
            (
                f'{OPEN}<|tool_call_start|>[w(city="Oslo",days=2),w(city="Oslo",days=2)]<|tool_call_end|>'
                "I look.<|im_end|>\n"
                "<|im_start|>tool\n<|tool_response_start|>rain<|tool_response_end|><|im_end|>\n"
                f"<|im_start|>tool\n<|tool_response_start|>sun<|tool_response_end|><|im_end|>\n{OPEN}"
            ),
        ),
        (
            "deepseek3.1",
            (
                f"<｜User｜>u1<｜Assistant｜></think>I look.<｜tool▁calls▁begin｜>"
                f"{FULL_CALL}{FULL_CALL}<｜tool▁calls▁end｜>"
                "<｜end▁of▁sentence｜><｜tool▁output▁begin｜>rain<｜tool▁output▁end｜><｜tool▁output▁begin｜>sun"
                "<｜tool▁output▁end｜>"
            ),
        ),
        (
            "cogito",
            (
                f"<｜User｜>u1<｜Assistant｜>I look.<｜tool▁calls▁begin｜>"
                f"{FENCED_CALL}\n{FENCED_CALL}<｜tool▁calls▁end｜>"
                "<｜end▁of▁sentence｜><｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>rain<｜tool▁output▁end｜>\n"
                "<｜tool▁output▁begin｜>sun<｜tool▁output▁end｜><｜tool▁outputs▁end｜><｜Assistant｜><think>\n"
            ),
        ),
        (
            "glm-4.7",
            (
                f"<|user|>u1<|assistant|><think>t</think>I look.{GLM_CALL}{GLM_CALL}<|observation|><tool_response>rain"
                "</tool_response><tool_response>sun</tool_response><|assistant|><think>"
            ),
        ),
        (
            "functiongemma",
            (
                f"<start_of_turn>model\nI look.{ESCAPED_CALL}{ESCAPED_CALL}<start_function_response>"
                "response:w{<escape>rain<escape>}<end_function_response><start_function_response>response:w{<escape>sun<escape>}"
                "<end_function_response>"
            ),
        ),
    ],
)
def test_calls_and_results(name: str, end: str) -> None:
    assert text(name, ASKED, CALLED, *RESULTS, tools=(WEATHER,), think=True).endswith(end)


JSON_TOOL: Final = (
    '{"type": "function", "function": {"name": "w", "description": "Weather", "parameters": {"type": "object", '
    '"properties": {"city": {"type": "string", "description": "Where"}, "days": {"type": ["integer", "null"]}}, '
    '"required": ["city"]}}}'
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            "qwen3-coder",
            (
                "<|im_start|>system\nS\n\n# Tools\n\nYou have access to the following functions:\n\n<tools>\n"
                "<function>\n<name>w</name>\n<description>Weather</description>\n<parameters>\n<parameter>\n<name>city</name>\n"
                "<type>string</type>\n<description>Where</description>\n</parameter>\n<parameter>\n<name>days</name>\n"
                '<type>["integer", "null"]</type>\n</parameter>\n<required>["city"]</required>\n</parameters>\n'
                "</function>\n</tools>\n\nIf you choose to call a function ONLY reply in the following format "
                "with NO suffix:\n\n"
            ),
        ),
        (
            "qwen3-vl-instruct",
            (
                f"<|im_start|>system\nS\n\n# Tools\n\nYou may call one or more functions to assist "
                "with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n"
                f"<tools>\n{JSON_TOOL}\n</tools>\n\n"
            ),
        ),
        ("qwen3.5", f"\n\n<tools>\n{JSON_TOOL}\n</tools>\n\nIf you choose"),
        ("qwen3.5", "</IMPORTANT>\n\nS<|im_end|>\n"),
        ("olmo3", f"<|im_start|>system\nS<functions>[{JSON_TOOL}]</functions><|im_end|>\n"),
        ("lfm2", f"system\nS\nList of tools: <|tool_list_start|>[{JSON_TOOL[33:-1]}]<|tool_list_end|>"),
        (
            "deepseek3.1",
            (
                "S\n\n## Tools\nYou have access to the following tools:\n\n### w\nDescription: Weather\n\n"
                'Parameters: {"type":"object","properties":'
            ),
        ),
        ("cogito", '\n\nS\n\n\nYou have the following functions available:\n```json\n{\n    "type": "function",\n'),
        ("glm-4.7", f"<tools>\n{JSON_TOOL}\n</tools>\n\nFor each function call, output the function name"),
        (
            "functiongemma",
            (
                "<start_of_turn>developer\nS\nYou can do function calling with the following functions:"
                "<start_function_declaration>declaration:w{description:<escape>Weather<escape>,parameters:{properties:{"
                "city:{description:<escape>Where<escape>,type:<escape>STRING<escape>},days:{description:<escape><escape>,"
                "type:<escape>INTEGER<escape>}},required:[<escape>city<escape>],type:<escape>OBJECT<escape>}}"
                "<end_function_declaration><end_of_turn>\n"
            ),
        ),
    ],
)
def test_how_tools_are_shown(name: str, shown: str) -> None:
    assert shown in text(name, SYSTEM, ASKED, tools=(WEATHER,), think=True)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            "olmo3",
            "You are a helpful function-calling AI assistant. You do not currently have access to any functions. ",
        ),
        ("olmo3.1", "You are Olmo, a helpful AI assistant built by Ai2. "),
        ("olmo3-think", "<|im_start|>system\nYou are Olmo, a helpful AI assistant built by Ai2. "),
        ("olmo3-32b-think", "<|im_start|>system\nYou are a helpful AI assistant.<|im_end|>\n"),
    ],
)
def test_what_families_say_of_themselves(name: str, shown: str) -> None:
    assert shown in text(name, ASKED)


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_a_begun_answer_is_left_open_where_the_family_does(name: str) -> None:
    prompt = text(name, ASKED, BEGUN)
    closes = {"cogito", "deepseek3.1", "functiongemma", "glm-4.7", "nemotron-3-nano", "olmo3-think", "olmo3-32b-think"}
    assert prompt.endswith("We") is (name not in closes)
    assert "We" in prompt


def test_thinking_of_earlier_answers_is_shown_where_the_family_wants_it() -> None:
    said = Message(role="assistant", content="<think>x</think> a")
    assert "x</think>" not in text("deepseek3.1", ASKED, said, AGAIN)
    assert "x</think>" not in text("lfm2", ASKED, said, AGAIN, ANSWERED, AGAIN)
    assert "x</think>" in text("lfm2-thinking", ASKED, said, AGAIN, ANSWERED, AGAIN, think=True)
    assert "t1" not in text("qwen3.5", ASKED, ANSWERED, AGAIN, think=True)
    inside = Message(role="user", content="<tool_response>x</tool_response>")
    assert "<think>\nt1\n</think>\n\na1" in text("qwen3.5", ASKED, ANSWERED, inside, think=True)


def test_nemotron_is_told_to_think_by_words_that_are_not_shown() -> None:
    silent = text("nemotron-3-nano", Message(role="system", content="S /no_think"), ASKED, think=True)
    assert silent == chatml(("system", "S "), ("user", "u1")) + f"{OPEN}<think></think>"
    loud = text("nemotron-3-nano", Message(role="user", content="a </think> b /think"), think=False)
    assert loud == chatml(("system", ""), ("user", "a </think> b")) + f"{OPEN}<think>\n"


def test_nemotron_shows_tools_calls_and_results() -> None:
    prompt = text("nemotron-3-nano", ASKED, CALLED, *RESULTS, tools=(WEATHER,))
    assert (
        "<parameters>\n<parameter>\n<name>city</name>\n<type>string</type>\n<description>Where</description>\n"
        "</parameter>\n<parameter>\n<name>days</name>\n<type>['integer', 'null']</type>\n</parameter>\n"
        '<required>["city"]</required>\n</parameters>\n</function>\n</tools>\n\nIf you choose'
    ) in prompt
    shared = RESPONSES.replace("<|im_end|>", "\n<|im_end|>")
    calls = f"I look.\n{XML_CALL}\n{XML_CALL}\n<|im_end|>\n{shared}{OPEN}<think></think>"
    assert prompt.endswith(f"<think>\nt\n</think>\n{calls}")


def test_every_renderer_has_a_parser_and_a_name() -> None:
    assert set(RENDERERS) <= NAMES
    assert {renderer.parser for renderer in RENDERERS.values()} <= set(PARSERS) & set(READINGS)


def test_harmony_gives_every_tool_a_name_of_its_own() -> None:
    names = [
        "get weather",
        "get-weather",
        "get.weather",
        "2nd",
        "",
        "ümlaut!",
        "$a",
        "browser.open",
        "python",
        "get weather",
    ]
    assert safe_names(names) == {
        "get weather": "get_weather",
        "get-weather": "get_weather_2",
        "get.weather": "get_weather_3",
        "2nd": "_2nd",
        "": "unnamed",
        "ümlaut!": "ümlaut",
        "$a": "$a",
        "browser.open": "browser.open",
        "python": "python",
    }


def test_a_conversation_is_told_by_the_same_names() -> None:
    names = safe_names(["my-tool"])
    call = ToolCall(name="my-tool", arguments={})
    turns = [ASKED, Message(role="assistant", tool_calls=(call,)), Message(role="tool", tool_name="my-tool")]
    first, called, result = renamed_calls(turns, names)
    assert first is ASKED
    assert [each.name for each in called.tool_calls] == ["my_tool"]
    assert result.tool_name == "my_tool"
    assert [tool.name for tool in renamed_tools([Tool(name="my-tool")], names)] == ["my_tool"]
