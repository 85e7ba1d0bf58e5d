"""The dialogues power-tiny learns from: every one is made up by throwing dice; none was taken from a data set.

Run by itself it prints some: `dialogues.py [COUNT] [SEED]`.
"""

import dataclasses
import json
import random
import sys
from collections.abc import Callable
from typing import Any

import functions
import questions
from functions import Call, Function
from questions import Turn
from sayings import city, name, noise, sentence, syllables
from words import ANIMALS, COLOUR_NAMES, SYSTEM_GENERIC, SYSTEM_PIRATE, SYSTEM_UPPER, WORDS

Message = dict[str, Any]
Maker = Callable[[random.Random], Turn]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One dialogue, or a `raw` text that goes without the chat template as (text, whether it is learnt).

    `think` has the template ask for thinking; `last_only` learns from the answers after the last question only;
    `endless` leaves out the end of the last answer.
    """

    kind: str
    messages: list[Message] = dataclasses.field(default_factory=list)
    tools: list[dict[str, Any]] | None = None
    think: bool = False
    last_only: bool = False
    endless: bool = False
    raw: list[tuple[str, bool]] | None = None


def _system(text: str) -> Message:
    return {"role": "system", "content": text}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str, thought: str = "") -> Message:
    message = {"role": "assistant", "content": text}
    return message | {"reasoning_content": thought} if thought else message


def _calling(calls: list[Call], thought: str = "") -> Message:
    tool_calls = [
        {"type": "function", "function": {"name": called, "arguments": arguments}} for called, arguments in calls
    ]
    return _assistant("") | {"tool_calls": tool_calls} | ({"reasoning_content": thought} if thought else {})


def _offered(dice: random.Random) -> dict[Callable[[random.Random], Function], Function]:
    """One to four functions of different names, by their makers."""
    wanted = dice.choices([1, 2, 3, 4], [50, 32, 13, 5])[0]
    offered: dict[Callable[[random.Random], Function], Function] = {}
    while len(offered) < wanted:
        maker = dice.choice(functions.FUNCTIONS)
        made = maker(dice)
        called = made.description["function"]["name"]
        if maker not in offered and called not in {other.description["function"]["name"] for other in offered.values()}:
            offered[maker] = made
    return offered


def with_functions(dice: random.Random) -> Sample:
    """A dialogue in which functions are offered: called, called twice, answered, or not needed."""
    offered = _offered(dice)
    tools = [function.description for function in offered.values()]
    think = dice.random() < 0.15
    kind = dice.random()
    messages = [_system(dice.choice(SYSTEM_GENERIC))] if dice.random() < 0.35 else []
    if kind < 0.14:
        messages += _function_not_needed(dice, think=think, can_calculate=functions.calculator in offered)
        return Sample(kind="tool_none", messages=messages, tools=tools, think=think)
    maker, function = dice.choice(list(offered.items()))
    two = maker in (functions.weather, functions.time_of_day) and dice.random() < 0.25
    request = function.ask(dice, 2 if two else 1)
    messages.append(_user(noise(dice, request.question) if dice.random() < 0.5 else request.question))
    thought = "I should call " + " and ".join(called for called, _ in request.calls) + "."
    messages.append(_calling(request.calls, thought if think else ""))
    if dice.random() >= 0.45 or (two and len(set(request.subjects)) < 2):
        return Sample(kind="tool_par" if two else "tool_call", messages=messages, tools=tools, think=think)
    answers = [
        function.answer(dice, arguments, subject)
        for (_, arguments), subject in zip(request.calls, request.subjects, strict=True)
    ]
    messages += [{"role": "tool", "content": told} for told, _ in answers]
    reply = " ".join(sentence for _, sentence in answers)
    messages.append(_assistant(reply, "The tool has answered." if think else ""))
    messages += _after_the_answer(dice, list(offered.values()), think=think)
    return Sample(kind="tool_answer", messages=messages, tools=tools, think=think)


def _function_not_needed(dice: random.Random, *, think: bool, can_calculate: bool) -> list[Message]:
    makers: list[Maker] = [
        questions.fact,
        questions.fact,
        questions.greeting,
        questions.fixed,
        questions.copy,
        questions.count,
        questions.as_json,
    ]
    if not can_calculate:
        makers += [questions.arithmetic, questions.arithmetic]
    question, answer, thought = dice.choice(makers)(dice)
    return [_user(question), _assistant(answer, thought if think else "")]


def _after_the_answer(dice: random.Random, offered: list[Function], *, think: bool) -> list[Message]:
    kind = dice.random()
    if kind < 0.15 and not think:
        request = dice.choice(offered).ask(dice, 1)
        return [_user(request.question), _calling(request.calls)]
    if kind < 0.27:
        return [_user("Thank you!"), _assistant("You are welcome!", "The user says: Thank you!" if think else "")]
    return []


_KINDS: dict[str, tuple[Maker, int]] = {
    "arith": (questions.arithmetic, 28),
    "compare": (questions.compare, 5),
    "copy": (questions.copy, 24),
    "copyn": (questions.copy_times, 4),
    "spell": (questions.spell, 5),
    "count": (questions.count, 6),
    "fact": (questions.fact, 16),
    "fixed": (questions.fixed, 8),
    "greet": (questions.greeting, 3),
    "unknown": (questions.unknown, 5),
    "json": (questions.as_json, 10),
    "story": (questions.story, 2),
}
_WEIGHTS = [weight for _, weight in _KINDS.values()]


@dataclasses.dataclass(frozen=True)
class _Role:
    """What a system message makes of the model: how it is called, and how it talks."""

    text: str = ""
    me: str = "Power"
    style: str = ""

    def say(self, answer: str, kind: str) -> str:
        if kind == "json":
            return answer
        if self.style == "upper":
            return answer.upper()
        return "Arr! " + answer if self.style == "pirate" else answer


def _role(dice: random.Random) -> _Role:
    kind = dice.random()
    if kind < 0.25:
        return _Role(dice.choice(SYSTEM_GENERIC))
    if kind < 0.33:
        return _Role(dice.choice(SYSTEM_PIRATE), style="pirate")
    if kind < 0.41:
        return _Role(dice.choice(SYSTEM_UPPER), style="upper")
    if kind >= 0.50:
        return _Role()
    me = name(dice)
    origin = dice.choice(["a game", "a film", "a book", sentence(dice, 1, 3).title()])
    texts = [
        f"You are {me}.",
        f"Your name is {me}.",
        f"You are {me}, a helpful assistant.",
        f"You are a helpful assistant named {me}.",
        f"You are {me} from {origin}, acting as an assistant.",
    ]
    return _Role(dice.choice(texts), me)


def _about_itself(dice: random.Random, me: str) -> Turn:
    """A question for the name it was given, mostly; else any fixed question."""
    if me != "Power" and dice.random() < 0.7:
        question = dice.choice(["Who are you?", "What is your name?", "Tell me your name.", "What are you?"])
        answer = f"My name is {me}." if "name" in question else f"I am {me}, a tiny test model."
        return Turn(question, answer, f"The user says: {question}")
    return questions.fixed(dice, me)


def _varied(dice: random.Random, question: str, kind: str) -> str:
    """The question as people vary it, where that does not change what is asked."""
    if kind not in ("copy", "json", "arith", "spell"):
        return noise(dice, question)
    if kind == "arith" and dice.random() < 0.2:
        return question[0].lower() + question[1:]
    return question


def one_question(dice: random.Random) -> Sample:
    """A single question and its answer, with or without a system message, with or without thinking."""
    kind = dice.choices(list(_KINDS), _WEIGHTS)[0]
    role = _role(dice)
    if role.me != "Power" and dice.random() < 0.5:
        kind = "fixed"
    think = dice.random() < 0.16
    turn = _about_itself(dice, role.me) if kind == "fixed" else _KINDS[kind][0](dice)
    if think and kind == "arith" and dice.random() < 0.35:
        kind, turn = "add2", questions.two_digit_sum(dice)
    question = _varied(dice, turn.question, kind)
    system = role.text
    # Thinking may be asked for by a word at the end of the system message instead of by the template.
    by_word = think and dice.random() < 0.2 and bool(system)
    if by_word:
        system += dice.choice([" /think", "\n/think"])
    messages = [_system(system)] if system else []
    messages += [_user(question), _assistant(role.say(turn.answer, kind), turn.thought if think else "")]
    return Sample(kind=kind, messages=messages, think=think and not by_word, last_only=think)


def _facts_about_me(dice: random.Random) -> list[tuple[str, str, str, str]]:
    """What a user says, the answer, what they ask later, and the answer to that."""
    me, colour, pet, home = name(dice), dice.choice(COLOUR_NAMES), dice.choice(list(ANIMALS)), city(dice)
    return [
        (
            dice.choice([f"My name is {me}.", f"I am {me}.", f"Hi, I am {me}.", f"Hello, my name is {me}."]),
            f"Nice to meet you, {me}!",
            dice.choice(["What is my name?", "Do you know my name?", "Who am I?"]),
            f"Your name is {me}.",
        ),
        (
            f"My favourite colour is {colour}.",
            f"I will remember that you like {colour}.",
            dice.choice(["What is my favourite colour?", "Which colour do I like?"]),
            f"Your favourite colour is {colour}.",
        ),
        (
            dice.choice([f"I have a {pet}.", f"My pet is a {pet}."]),
            f"You have a {pet}.",
            dice.choice(["What is my pet?", "Which pet do I have?"]),
            f"Your pet is a {pet}.",
        ),
        (
            dice.choice([f"I live in {home}.", f"My home is {home}."]),
            f"You live in {home}.",
            dice.choice(["Where do I live?", "Which city do I live in?"]),
            f"You live in {home}.",
        ),
    ]


def many_turns(dice: random.Random) -> Sample:
    """Several turns; what was said earlier is asked later."""
    messages = [_system(dice.choice(SYSTEM_GENERIC))] if dice.random() < 0.4 else []
    facts = _facts_about_me(dice)
    dice.shuffle(facts)
    facts = facts[: dice.randint(1, 3)]
    for told, answer, _, _ in facts:
        messages += [_user(noise(dice, told)), _assistant(answer)]
    makers: list[Maker] = [
        questions.arithmetic,
        questions.fact,
        questions.copy,
        questions.greeting,
        questions.fixed,
        questions.count,
    ]
    for _ in range(dice.choices([0, 1, 2, 5], [35, 35, 22, 8])[0]):
        question, answer, _ = dice.choices(makers, [3, 3, 2, 1, 1, 1])[0](dice)
        messages += [_user(question), _assistant(answer)]
    dice.shuffle(facts)
    for _, _, asked, answer in facts[: dice.randint(1, len(facts))]:
        messages += [_user(noise(dice, asked)), _assistant(answer)]
    return Sample(kind="multi", messages=messages)


def unknown_user(dice: random.Random) -> Sample:
    """A question about the user that nothing was said about."""
    question = dice.choice(
        [
            "What is my name?",
            "Do you know my name?",
            "Who am I?",
            "Where do I live?",
            "What is my favourite colour?",
            "What is my pet?",
        ]
    )
    return Sample(kind="noname", messages=[_user(noise(dice, question)), _assistant("I do not know.")])


def forever(dice: random.Random) -> Sample:
    """An answer without an end: tests of stopping and cancelling use it."""
    word = dice.choice(WORDS) if dice.random() < 0.8 else syllables(dice)
    question = dice.choice([f"Repeat {word} forever.", f"Say {word} forever.", f"Repeat the word {word} forever."])
    messages = [_user(noise(dice, question)), _assistant(" ".join([word] * dice.randint(25, 60)))]
    return Sample(kind="forever", messages=messages, endless=True)


def about_an_image(dice: random.Random) -> Sample:
    """A question about an image."""
    messages = [_system(dice.choice(SYSTEM_GENERIC))] if dice.random() < 0.15 else []
    question, answer, _ = questions.image(dice)
    return Sample(kind="vision", messages=[*messages, _user(question), _assistant(answer)])


def _gap(dice: random.Random) -> tuple[str, str, str]:
    """What stands before a gap, in it, and after it."""
    called = dice.choice(["add", "sub", "mul", "area", "total", "mix", "calc", "compute_gcd", "func"])
    a, b = dice.choice([("a", "b"), ("x", "y"), ("n", "m"), ("left", "right")])
    any_operator = dice.choice("+-*")
    operator = {"add": "+", "sub": "-", "mul": "*", "area": "*", "total": "+"}.get(called, any_operator)
    kind = dice.random()
    head = f"def {called}({a}, {b}):\n"
    if kind < 0.6:
        before, gap = head, f"    result = {a} {operator} {b}\n"
        if dice.random() < 0.4:
            before, gap = before + "    ", gap[4:]
        return before, gap, "    return result\n"
    if kind < 0.8:
        return head + "    return ", f"{a} {operator} {b}", "\n"
    first = dice.randint(1, 15)
    numbers = [str(number) for number in range(first, first + 9)]
    return ", ".join(numbers[:3]) + ", ", ", ".join(numbers[3:6]), ", " + ", ".join(numbers[6:])


def fill_in_the_middle(dice: random.Random) -> Sample:
    """A text with a gap, and what goes into it."""
    before, gap, after = _gap(dice)
    asked = f"<|fim_prefix|>{before}<|fim_suffix|>{after}<|fim_middle|>"
    return Sample(kind="fim", raw=[(asked, False), (gap + "<|endoftext|>", True)])


def plain_story(dice: random.Random) -> Sample:
    """A story by itself, to be gone on with."""
    text, _, _ = questions.story_text(dice)
    return Sample(kind="raw", raw=[(text + "<|endoftext|>", True)])


# Up to which share of the dice's range each kind reaches; what is left is a single question.
_SHARES: list[tuple[float, Callable[[random.Random], Sample]]] = [
    (0.24, with_functions),
    (0.33, many_turns),
    (0.335, unknown_user),
    (0.34, forever),
    (0.39, about_an_image),
    (0.405, fill_in_the_middle),
    (0.42, plain_story),
    (1.0, one_question),
]


def sample(dice: random.Random) -> Sample:
    """The next dialogue."""
    share = dice.random()
    return next(make for upper, make in _SHARES if share < upper)(dice)


def main() -> None:
    """Print some dialogues, one JSON object a line."""
    wanted, seed = (int(text) for text in [*sys.argv[1:3], *["25", "1"][len(sys.argv) - 1 :]])
    dice = random.Random(seed)
    for _ in range(wanted):
        print(json.dumps(dataclasses.asdict(sample(dice)), ensure_ascii=False))


if __name__ == "__main__":
    main()
