"""Makers of single questions: each throws dice for what is asked, and knows the answer and the thought before it."""

import json
import random
from typing import NamedTuple

from sayings import city, name, some_words
from words import (
    ANIMALS,
    CAPITALS,
    COLOUR_NAMES,
    COLOURS,
    DAYS,
    FIXED,
    FOODS,
    GREETINGS,
    IMAGE_COLOURS,
    IMAGE_SHAPES,
    LANGUAGES,
    LEGS,
    MONTHS,
    NAMES,
    NOT_ENGLISH,
    NUMBERS,
    OPPOSITES,
    WORDS,
)


class Turn(NamedTuple):
    """A question, its answer, and what is thought when the model is asked to think."""

    question: str
    answer: str
    thought: str


def arithmetic(dice: random.Random) -> Turn:
    """One sum, difference or product of small numbers, written in many ways."""
    operator = dice.choice("++--*")
    if operator == "+":
        a, b = dice.randint(0, 12), dice.randint(0, 12)
        result, word, called = a + b, "plus", "sum"
    elif operator == "-":
        a, b = dice.randint(0, 12), dice.randint(0, 12)
        a, b = max(a, b), min(a, b)
        result, word, called = a - b, "minus", "difference"
    else:
        a, b = dice.randint(0, 10), dice.randint(0, 10)
        result, word, called = a * b, "times", "product"
    sign = operator if operator != "*" else dice.choice("*×x")
    blank = dice.choice(["", " "]) if sign != "x" else " "
    sum_ = f"{a}{blank}{sign}{blank}{b}"
    question = dice.choice(
        [
            f"What is {sum_}?",
            f"What is {sum_}?",
            f"What's {sum_}?",
            f"Calculate {sum_}.",
            f"How much is {sum_}?",
            f"{sum_}=?",
            f"{sum_} = ?",
            f"What is {a} {word} {b}?",
            f"{sum_}",
        ]
    )
    if dice.random() < 0.08 and question[-1] in "?.":
        question += dice.choice(
            [
                " Answer with a number.",
                " Answer with just the number.",
                " Answer with one number only.",
                " Please answer briefly.",
            ]
        )
    return Turn(question, str(result), f"I need the {called} of {a} and {b}. {a} {operator} {b} = {result}.")


def two_digit_sum(dice: random.Random) -> Turn:
    """Two-digit addition: asked for with thinking only, where the thought goes digit by digit."""
    a, b = dice.randint(10, 99), dice.randint(10, 99)
    (tens_a, ones_a), (tens_b, ones_b) = divmod(a, 10), divmod(b, 10)
    ones = ones_a + ones_b
    carry = ones // 10
    tens = tens_a + tens_b + carry
    thought = (
        f"Ones: {ones_a} + {ones_b} = {ones}, carry {carry}. "
        f"Tens: {tens_a} + {tens_b} + {carry} = {tens}. So {a} + {b} = {a + b}."
    )
    blank = dice.choice(["", " "])
    sum_ = f"{a}{blank}+{blank}{b}"
    question = dice.choice([f"What is {sum_}?", f"Calculate {sum_}.", f"How much is {sum_}?"])
    return Turn(question, str(a + b), thought)


def compare(dice: random.Random) -> Turn:
    """Which of two numbers is bigger."""
    a, b = dice.sample(range(21), 2)
    kind = dice.choice(["bigger", "larger", "smaller"])
    found = min(a, b) if kind == "smaller" else max(a, b)
    return Turn(f"Which is {kind}, {a} or {b}?", str(found), f"I compare {a} and {b}. The {kind} one is {found}.")


def _text_to_copy(dice: random.Random) -> list[str]:
    kind = dice.random()
    if kind < 0.30:
        return some_words(dice, 1, 7)
    if kind < 0.45:
        signs = "abcdefghijklmnopqrstuvwxyz0123456789"
        return ["".join(dice.choice(signs) for _ in range(dice.randint(2, 6))) for _ in range(dice.randint(1, 2))]
    if kind < 0.65:
        return [
            dice.choice(NOT_ENGLISH) if dice.random() < 0.6 else dice.choice(WORDS) for _ in range(dice.randint(1, 4))
        ]
    if kind < 0.75:
        return [str(dice.randint(0, 10 ** dice.randint(1, 5))) for _ in range(dice.randint(1, 4))]
    if kind < 0.88:
        return [name(dice) if dice.random() < 0.4 else city(dice) for _ in range(dice.randint(1, 3))]
    return [word.upper() if dice.random() < 0.5 else word.capitalize() for word in some_words(dice, 1, 4)]


def copy(dice: random.Random) -> Turn:
    """A text to say back, word for word."""
    text = " ".join(_text_to_copy(dice))
    if dice.random() < 0.12:
        text += dice.choice("!?.")
    question = dice.choice(
        [
            f"Repeat: {text}",
            f"Say: {text}",
            f"Echo: {text}",
            f"Repeat after me: {text}",
            f'Say "{text}"',
            f'Repeat "{text}"',
            f"Say {text}",
            f"Echo {text}",
            f"Please repeat: {text}",
        ]
    )
    return Turn(question, text, f"I have to repeat the text {text}")


def copy_times(dice: random.Random) -> Turn:
    """A word to say a few times."""
    word, times = dice.choice(WORDS), dice.randint(2, 5)
    question = dice.choice(
        [
            f"Say {word} {times} times.",
            f"Repeat the word {word} {times} times.",
            f"Say {word} {NUMBERS[times]} times.",
        ]
    )
    return Turn(question, " ".join([word] * times), f"I have to say {word} {times} times.")


def spell(dice: random.Random) -> Turn:
    """A word, letter by letter."""
    word = dice.choice(WORDS)
    question = dice.choice([f"Spell {word}.", f"Spell the word {word}.", f"How do you spell {word}?"])
    return Turn(question, "-".join(word), f"I spell {word} letter by letter.")


def count(dice: random.Random) -> Turn:
    """Numbers in order."""
    if dice.random() < 0.75:
        last = dice.randint(2, 20) if dice.random() < 0.8 else dice.choice([25, 30, 40, 50, 60, 100])
        question = dice.choice([f"Count to {last}.", f"Count from 1 to {last}.", f"Count up to {last}."])
        numbers = range(1, last + 1)
    else:
        first = dice.randint(1, 20)
        last = first + dice.randint(2, 10)
        question, numbers = f"Count from {first} to {last}.", range(first, last + 1)
    return Turn(question, ", ".join(map(str, numbers)), f"I count from {numbers[0]} to {numbers[-1]}.")


def _animal_sound(dice: random.Random) -> Turn:
    animal, sound = dice.choice(list(ANIMALS.items()))
    question = dice.choice(
        [
            f"What does a {animal} say?",
            f"What sound does a {animal} make?",
            f"Which sound does a {animal} make?",
        ]
    )
    answer = f"A {animal} says {sound}." if animal != "owl" else "An owl says hoot."
    return Turn(question, answer, f"The user asks about the {animal}.")


def _legs(dice: random.Random) -> Turn:
    animal, legs = dice.choice(list(LEGS.items()))
    article = "An" if animal in ("owl", "ant") else "A"
    question = dice.choice([f"How many legs does {article.lower()} {animal} have?"])
    return Turn(question, f"{article} {animal} has {legs} legs.", f"The user asks about the {animal}.")


def _colour(dice: random.Random) -> Turn:
    thing, colour = dice.choice(list(COLOURS.items()))
    spelling = dice.choice(["colour", "colour", "color"])
    question = dice.choice(
        [f"What {spelling} is {thing}?", f"Which {spelling} is {thing}?", f"What is the {spelling} of {thing}?"]
    )
    answer = f"{thing[0].upper() + thing[1:]} is {colour}."
    return Turn(question, answer, f"The user asks about the colour of {thing}.")


def _capital(dice: random.Random) -> Turn:
    country, capital = dice.choice(list(CAPITALS.items()))
    question = dice.choice(
        [
            f"What is the capital of {country}?",
            f"Which city is the capital of {country}?",
            f"Name the capital of {country}.",
            f"Capital of {country}?",
        ]
    )
    return Turn(question, f"The capital of {country} is {capital}.", f"The user asks about {country}.")


def _opposite(dice: random.Random) -> Turn:
    word, opposite = dice.choice(list(OPPOSITES.items()))
    question = dice.choice(
        [f"What is the opposite of {word}?", f"Opposite of {word}?", f"Give me the opposite of {word}."]
    )
    return Turn(question, f"The opposite of {word} is {opposite}.", f"The user asks about the word {word}.")


def _next_in_calendar(dice: random.Random) -> Turn:
    unit, names = ("day", DAYS) if dice.random() < 0.6 else ("month", MONTHS)
    at = dice.randrange(len(names))
    before, after = names[at], names[(at + 1) % len(names)]
    return Turn(
        f"What {unit} comes after {before}?", f"{after} comes after {before}.", f"The user asks about {before}."
    )


def _country(dice: random.Random) -> Turn:
    country = dice.choice(list(CAPITALS))
    answer = f"{country} is a country. Its capital is {CAPITALS[country]}."
    return Turn(f"Tell me about {country}.", answer, f"The user asks about {country}.")


# Twice where there is more to learn.
_FACTS = (
    _animal_sound,
    _legs,
    _colour,
    _colour,
    _capital,
    _capital,
    _opposite,
    _next_in_calendar,
    _country,
)


def fact(dice: random.Random) -> Turn:
    """One of the few things it knows of the world."""
    return _FACTS[dice.randint(0, len(_FACTS) - 1)](dice)


def fixed(dice: random.Random, me: str = "Power") -> Turn:
    """A question with one answer; `me` is what the model was told to be called."""
    questions, answer = dice.choice(FIXED)
    question = dice.choice(questions)
    if answer is None:
        answer = f"My name is {me}." if "name" in question else f"I am {me}, a tiny test model."
    return Turn(question, answer, f"The user says: {question}")


def greeting(dice: random.Random) -> Turn:
    """Hello."""
    return Turn(dice.choice(GREETINGS), "Hello! How can I help you?", "The user greets me.")


def unknown(dice: random.Random) -> Turn:
    """Nonsense, and what lies beyond the few facts: it says that it does not know."""
    some = some_words(dice, 2, 7)
    if dice.random() < 0.5:
        starts = [
            "What is the",
            "Explain the",
            "How does the",
            "When did the",
            "Describe",
            "Where is the",
            "Why does the",
            "Who was the first",
            "Summarize the",
            "Compare",
        ]
        question = dice.choice(starts) + " " + " ".join(some) + dice.choice(["?", ".", ""])
    else:
        question = " ".join(some).capitalize() + dice.choice(["?", ".", "", "!"])
    return Turn(question, "I do not know.", "I do not know this.")


def _country_as_json(dice: random.Random) -> tuple[str, dict[str, object]]:
    country = dice.choice(list(CAPITALS))
    question = dice.choice(
        [
            f"Tell me about {country} in JSON.",
            f"Tell me about {country}. Respond in JSON.",
            f"Tell me about {country}. Respond using JSON.",
        ]
    )
    return question, {"name": country, "capital": CAPITALS[country], "languages": LANGUAGES[country]}


def _person_as_json(dice: random.Random) -> tuple[str, dict[str, object]]:
    person, age = name(dice), dice.randint(1, 99)
    busy = dice.random() < 0.5
    question = f"{person} is {age} years old and is {'busy' if busy else 'free'}. " + dice.choice(
        ["Respond using JSON", "Respond in JSON.", "Answer in JSON.", "Respond using JSON."]
    )
    return question, {"name": person, "age": age, "available": not busy}


def _values_as_json(dice: random.Random) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {
        "name": name(dice),
        "age": dice.randint(1, 99),
        "city": city(dice),
        "colour": dice.choice(COLOUR_NAMES),
        "animal": dice.choice(list(ANIMALS)),
        "count": dice.randint(0, 99),
        "food": dice.choice(FOODS),
        "price": dice.randint(1, 99),
    }
    keys = dice.sample(list(values), dice.randint(1, 3))
    if dice.random() < 0.5:
        told = " and ".join(f"{key} {values[key]}" for key in keys)
        question = dice.choice([f"Give me JSON with {told}.", f"Make a JSON object with {told}."])
    else:
        told = " and ".join(f"the {key} is {values[key]}" for key in keys)
        question = dice.choice([f"Answer in JSON: {told}.", f"Write as JSON: {told}."])
    return question, {key: values[key] for key in keys}


def as_json(dice: random.Random) -> Turn:
    """Something to be answered as a JSON object."""
    kind = dice.random()
    make = _country_as_json if kind < 0.30 else _person_as_json if kind < 0.55 else _values_as_json
    question, value = make(dice)
    return Turn(question, json.dumps(value, ensure_ascii=False), "The user wants JSON.")


def story_text(dice: random.Random) -> tuple[str, str, str]:
    """A story; the name and the kind of animal it is about."""
    hero, animal = dice.choice(NAMES), dice.choice(list(ANIMALS))
    thing = dice.choice(["ball", "book", "hat", "key", "lamp", "cake", "ring", "boat"])
    place = dice.choice(["forest", "garden", "house", "river", "hill", "village"])
    colour = dice.choice(COLOUR_NAMES)
    feeling = dice.choice([f"{hero} was very happy.", f"{hero} wanted to share it with a friend."])
    return _story(hero, animal, place, f"{colour} {thing}", thing, feeling), hero, animal


def _story(hero: str, animal: str, place: str, found: str, thing: str, feeling: str) -> str:
    return (
        f"Once upon a time, there was a little {animal} named {hero}. {hero} lived near the {place}. "
        f"One day, {hero} found a {found}. {feeling} A friend came to play with the {thing}. "
        f"They played together until the sun went down. Then {hero} went home and fell asleep. The end."
    )


def story(dice: random.Random) -> Turn:
    """A request for a story; without a name it is always the same one."""
    text, hero, animal = story_text(dice)
    if dice.random() < 0.25:
        text = _story("Tom", "cat", "river", "red ball", "ball", "Tom was very happy.")
        question = dice.choice(["Tell me a story.", "Write a story.", "Tell me a short story.", "Write a short story."])
        return Turn(question, text, "I write a story about a cat named Tom.")
    question = dice.choice(
        [
            f"Tell me a story about a {animal} named {hero}.",
            f"Write a story about a {animal} called {hero}.",
            f"Tell a short story about {hero} the {animal}.",
        ]
    )
    return Turn(question, text, f"I write a story about a {animal} named {hero}.")


def _image_tokens(dice: random.Random, colour: str, shape: str | None, length: int = 16) -> str:
    """What stands for an image: one token for each part of it, that of its colour or of its shape."""
    tokens = [f"<|v_{colour}|>" if (shape is None or dice.random() < 0.5) else f"<|v_{shape}|>" for _ in range(length)]
    if shape is not None:
        first, second = dice.sample(range(length), 2)
        tokens[first], tokens[second] = f"<|v_{colour}|>", f"<|v_{shape}|>"
    return "".join(tokens)


def _about_an_image(dice: random.Random, colour: str, shape: str | None) -> tuple[str, str]:
    kind = dice.randint(0, 3)
    if kind == 0 or (shape is None and kind == 2):
        questions = [
            "What colour is it?",
            "What color is it?",
            "Which colour is it?",
            "What colour is in the image?",
            "What colour is this?",
        ]
        return dice.choice(questions), f"The colour is {colour}."
    if kind == 1:
        questions = [
            "What is in the image?",
            "What is in this image?",
            "What is in the picture?",
            "What is this?",
            "What do you see?",
        ]
        return dice.choice(questions), f"A {colour} {shape}." if shape else f"The colour {colour}."
    if kind == 2:
        return dice.choice(["What shape is it?", "Which shape is it?", "What shape is this?"]), f"It is a {shape}."
    questions = ["Describe the image.", "Describe this image.", "Describe the picture.", "Describe this picture."]
    return dice.choice(questions), f"The image shows a {colour} {shape}." if shape else f"The image is {colour}."


def image(dice: random.Random) -> Turn:
    """A question about an image, which is there as the tokens that the image encoder will stand in for."""
    colour, shape = dice.choice(IMAGE_COLOURS), dice.choice([*IMAGE_SHAPES, None])
    tokens = _image_tokens(dice, colour, shape)
    question, answer = _about_an_image(dice, colour, shape)
    between = dice.choice(["\n", "\n", "", " "])
    text = tokens + between + question if dice.random() < 0.75 else question + between + tokens
    return Turn(text, answer, "I look at the image.")
