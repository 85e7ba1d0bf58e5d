"""Transformers against llama.cpp: the same prompt, the same tokens, the same answers?

usage: compare.py FOLDER, as export.py made it. Writes FOLDER/expected.json: cases, and the answer of each.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from export import NAME
from llama import Llama
from transformers import AutoModelForCausalLM, AutoTokenizer
from weights import FILE_TYPES

Message = dict[str, Any]


class Case(NamedTuple):
    """A conversation, or a text that is gone on with."""

    name: str
    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    think: bool = False
    text: str = ""


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _system(text: str) -> Message:
    return {"role": "system", "content": text}


def _assistant(text: str, **more: object) -> Message:
    return {"role": "assistant", "content": text, **more}


def _function(name: str, text: str, **properties: tuple[str, str] | tuple[str, str, list[str]]) -> dict[str, Any]:
    """A function whose parameters are all required; each is (type, description) and, where closed, its values."""
    described = {
        key: {"type": kind, "description": about, **({"enum": values[0]} if values else {})}
        for key, (kind, about, *values) in properties.items()
    }
    parameters = {"type": "object", "properties": described, "required": list(described)}
    return {"type": "function", "function": {"name": name, "description": text, "parameters": parameters}}


_DETAILED = _function(
    "get_current_weather",
    "Get the current weather for a location",
    location=("string", "The location to get the weather for, e.g. San Francisco, CA"),
    format=("string", "The unit of the temperature", ["celsius", "fahrenheit"]),
)
_WEATHER = _function("get_weather", "Get the weather for a city", city=("string", "The name of the city"))
_ADD = _function(
    "add_two_numbers", "Add two numbers", a=("integer", "The first number"), b=("integer", "The second number")
)
_ASKED_FOR_OSLO = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "get_weather", "arguments": {"city": "Oslo"}},
}
_OSLO = {
    "role": "tool",
    "tool_call_id": "call00001",
    "name": "get_weather",
    "content": '{"temperature": 7, "condition": "rainy"}',
}

CASES = [
    Case("hello", [_user("Hello")]),
    Case("sky", [_user("Why is the sky blue?")]),
    Case("sum", [_user("What is 3+4?")]),
    Case("product", [_user("What is 7 * 8?")]),
    Case("echo", [_user("Repeat: the quick brown fox")]),
    Case("emoji", [_user("Repeat: café 🙂 日本 🚀")]),
    Case("colour", [_user("What colour is a banana?")]),
    Case("animal", [_user("What does a cow say?")]),
    Case("capital", [_user("What is the capital of France?")]),
    Case("count", [_user("Count to 20.")]),
    Case("name", [_system("You are Mario, a helpful assistant."), _user("Who are you?")]),
    Case("pirate", [_system("You are a pirate."), _user("What is the capital of Spain?")]),
    Case("upper", [_system("Answer in upper case."), _user("What colour is snow?")]),
    Case(
        "memory",
        [
            _user("My name is Anna."),
            _assistant("Nice to meet you, Anna!"),
            _user("What is 2+2?"),
            _assistant("4"),
            _user("What is my name?"),
        ],
    ),
    Case("json", [_user("Tell me about Canada. Respond in JSON.")]),
    Case("json2", [_user("Tom is 22 years old and is busy. Respond using JSON")]),
    Case("unknown", [_user("Explain the river lamp glass.")]),
    Case("think_sum", [_user("What is 27+48?")], think=True),
    Case("think_fact", [_user("What is the capital of Japan?")], think=True),
    Case("tool", [_user("What is the weather in Paris?")], [_WEATHER]),
    Case("tool_docs", [_user("What is the weather today in Paris?")], [_DETAILED]),
    Case("tool_two", [_user("What is the weather in Paris and London?")], [_WEATHER]),
    Case("tool_choose", [_user("What is 12 + 30?")], [_WEATHER, _ADD]),
    Case(
        "tool_answer",
        [_user("What is the weather in Oslo?"), _assistant("", tool_calls=[_ASKED_FOR_OSLO]), _OSLO],
        [_WEATHER],
    ),
    Case("tool_not_needed", [_user("What does a dog say?")], [_WEATHER]),
    Case("tool_think", [_user("What is the weather in Rome?")], [_WEATHER], think=True),
    Case("story", [_user("Tell me a story.")]),
    Case("raw_story", [], text="Once upon a time, there was a little"),
    Case("fim", [], text="<|fim_prefix|>def add(a, b):\n<|fim_suffix|>    return result\n<|fim_middle|>"),
]


class Reference(NamedTuple):
    """What Transformers makes of a case."""

    prompt: str
    tokens: list[int]
    answer: list[int]


class Transformers:
    """The model as Transformers runs it, in float32."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def answer(self, case: Case) -> Reference:
        prompt = case.text or self.tokenizer.apply_chat_template(
            case.messages, tools=case.tools, add_generation_prompt=True, tokenize=False, enable_thinking=case.think
        )
        tokens = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            given = self._model.generate(
                torch.tensor([tokens]),
                attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
                max_new_tokens=200,
                do_sample=False,
            )
        return Reference(prompt, tokens, given[0].tolist()[len(tokens) :])


def compare(path: Path, references: dict[str, Reference], *, exact: bool) -> dict[str, str]:
    """Ask a GGUF file, print how far it agrees, and return its answers."""
    model = Llama(path, exact=exact)
    answers: dict[str, str] = {}
    same_tokens = same_template = same_answer = 0
    for case in CASES:
        reference = references[case.name]
        same_tokens += model.tokens(reference.prompt) == reference.tokens
        if case.messages:
            request = {"messages": case.messages, "chat_template_kwargs": {"enable_thinking": case.think}}
            rendered = model.ask("/apply-template", request | ({"tools": case.tools} if case.tools else {}))
            same_template += rendered.get("prompt") == reference.prompt
        reply = model.complete(reference.prompt, 200, return_tokens=True)
        # llama.cpp leaves out the token that ends the answer.
        same_answer += reply["tokens"] in (reference.answer, reference.answer[:-1])
        answers[case.name] = reply["content"]
    chats = sum(bool(case.messages) for case in CASES)
    print(
        f"{path.name}: prompt tokens {same_tokens} of {len(CASES)}, templates {same_template} of {chats}, "
        f"answers {same_answer} of {len(CASES)} the same",
        flush=True,
    )
    return answers


def main() -> None:
    folder = Path(sys.argv[1])
    transformers = Transformers(folder / f"{NAME}-hf")
    references = {case.name: transformers.answer(case) for case in CASES}
    answers = {
        file_type: compare(path, references, exact=file_type == "F32")
        for file_type in FILE_TYPES
        if (path := folder / f"{NAME}-{file_type}.gguf").exists()
    }
    cases = [
        {
            "name": case.name,
            "messages": case.messages,
            "tools": case.tools,
            "enable_thinking": case.think,
            "prompt": references[case.name].prompt,
            "prompt_tokens": len(references[case.name].tokens),
            "transformers_f32": transformers.tokenizer.decode(references[case.name].answer),
            **{file_type: answers[file_type][case.name] for file_type in answers},
        }
        for case in CASES
    ]
    text = json.dumps({"model": NAME, "temperature": 0, "cases": cases}, ensure_ascii=False, indent=1)
    (folder / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
