"""Random names, words and ways of putting a question, shared by all kinds of dialogue."""

import random

from words import CITIES, NAMES, WORDS


def syllables(dice: random.Random, count: int | None = None) -> str:
    """A made-up word, two to four syllables long unless told."""
    starts = "b c d f g k l m n p r s t v z br st tr gl".split()
    word = "".join(dice.choice(starts) + dice.choice("aeiou") for _ in range(count or dice.randint(2, 4)))
    return word + dice.choice(["", "n", "r", "s", "l", "x", ""])


def name(dice: random.Random) -> str:
    """A first name; one in eight is made up, so that names are copied and not only known."""
    return syllables(dice).capitalize() if dice.random() < 0.12 else dice.choice(NAMES)


def city(dice: random.Random) -> str:
    """A city, sometimes a made-up one."""
    return syllables(dice).capitalize() if dice.random() < 0.15 else dice.choice(CITIES)


def some_words(dice: random.Random, fewest: int, most: int) -> list[str]:
    """Some words, a few of them made up."""
    return [dice.choice(WORDS) if dice.random() > 0.12 else syllables(dice) for _ in range(dice.randint(fewest, most))]


def sentence(dice: random.Random, fewest: int, most: int) -> str:
    """Some words as a text."""
    return " ".join(some_words(dice, fewest, most))


def noise(dice: random.Random, question: str) -> str:
    """The question as people vary it: case of the first letter, missing end mark, a request for brevity."""
    if dice.random() < 0.2:
        question = question[0].lower() + question[1:]
    kind = dice.random()
    if kind < 0.15 and question[-1] in "?.!":
        question = question[:-1]
    elif kind < 0.20 and question[-1] in "?.!":
        question += dice.choice(
            [
                " Answer in one word.",
                " Answer briefly.",
                " Please answer briefly.",
                " Answer in one sentence.",
                " Be brief.",
            ]
        )
    elif kind < 0.23:
        question = dice.choice(["Please tell me: ", "Question: ", "Please answer: ", "I have a question. "]) + question
    return question
