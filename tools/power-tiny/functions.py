"""Functions that a dialogue may offer the model: their descriptions, questions that need them, and what they answer."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sayings import city, name, sentence

Json = dict[str, Any]
Call = tuple[str, Json]


class Request(NamedTuple):
    """A question, the calls that it needs, and what each call is about."""

    question: str
    calls: list[Call]
    subjects: list[object]


class Function(NamedTuple):
    """A function as one dialogue describes it. `ask` takes how many things are asked about at once."""

    description: Json
    ask: Callable[[random.Random, int], Request]
    answer: Callable[[random.Random, Json, object], tuple[str, str]]


def _describe(called: str, text: str, properties: Json, required: list[str]) -> Json:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": called, "description": text, "parameters": parameters}}


def _parameter(dice: random.Random, kind: str, text: str, choices: list[str] | None = None) -> Json:
    parameter: Json = {"type": kind}
    if dice.random() < 0.7:
        parameter["description"] = text
    if choices:
        parameter["enum"] = choices
    return parameter


def weather(dice: random.Random) -> Function:
    """The weather of one city or two, sometimes with a unit."""
    called = dice.choice(
        [
            "get_weather",
            "get_weather",
            "get_current_weather",
            "get_current_weather",
            "fetch_weather",
            "weather",
            "get_temperature",
            "get_forecast",
            "get_current_temperature",
            "get_conditions",
        ]
    )
    key = dice.choice(["city", "city", "location", "location", "place", "town"])
    texts = [
        "The city",
        f"The {key}",
        "The name of the city",
        "The location to get the weather for, e.g. San Francisco, CA",
        "City name",
    ]
    properties = {key: _parameter(dice, "string", dice.choice(texts))}
    required, unit = [key], ""
    if dice.random() < 0.3:
        unit = dice.choice(["unit", "format", "units"])
        properties[unit] = _parameter(dice, "string", "The unit of the temperature", ["celsius", "fahrenheit"])
        required = [key, unit] if dice.random() < 0.7 else [key]
    text = dice.choice(
        [
            "Get the weather for a city",
            "Get the current weather",
            "Get the current weather for a location",
            "Returns the weather",
            "Get the temperature for a city",
        ]
    )

    def ask(dice: random.Random, count: int) -> Request:
        cities: list[str] = []
        while len(cities) < count:
            candidate = city(dice)
            if candidate not in cities:
                cities.append(candidate)
        wanted = dice.choice(["celsius", "fahrenheit"]) if unit and dice.random() < 0.5 else None
        question = _weather_question(dice, " and ".join(cities), wanted)
        default = (wanted or "celsius") if unit and (wanted or unit in required) else None
        calls = [(called, {key: one} | ({unit: default} if default else {})) for one in cities]
        return Request(question, calls, list(cities))

    return Function(_describe(called, text, properties, required), ask, _weather_answer)


def _weather_question(dice: random.Random, where: str, unit: str | None) -> str:
    what = dice.choice(["weather", "weather", "temperature"])
    question = dice.choice(
        [
            f"What is the {what} in {where}?",
            f"What's the {what} in {where}?",
            f"How is the weather in {where}?",
            f"What is the {what} today in {where}?",
            f"What is the {what} in {where} today?",
            f"Tell me the {what} in {where}.",
            f"What is the weather like in {where}?",
            f"Get the {what} for {where}.",
        ]
    )
    return f"{question[:-1]} in {unit}{question[-1]}" if unit else question


def _weather_answer(dice: random.Random, arguments: Json, subject: object) -> tuple[str, str]:
    degrees = dice.randint(-10, 40)
    sky = dice.choice(["sunny", "cloudy", "rainy", "windy", "foggy", "clear", "snowy"])
    kind = dice.random()
    if kind < 0.35:
        return (
            json.dumps({"temperature": degrees, "condition": sky}),
            f"It is {sky} and {degrees} degrees in {subject}.",
        )
    if kind < 0.5:
        return json.dumps({"temperature": degrees}), f"It is {degrees} degrees in {subject}."
    if kind < 0.75:
        return f"{sky}, {degrees} degrees", f"It is {sky} and {degrees} degrees in {subject}."
    if kind < 0.9:
        return f"{degrees} degrees", f"It is {degrees} degrees in {subject}."
    return sky, f"It is {sky} in {subject}."


def time_of_day(dice: random.Random) -> Function:
    """The time in one city or two."""
    called = dice.choice(["get_time", "get_current_time", "time_in", "clock"])
    key = dice.choice(["city", "location", "timezone", "place"])
    text = dice.choice(["Get the time in a city", "Get the current time", "Returns the local time"])
    description = _describe(called, text, {key: _parameter(dice, "string", "The city")}, [key])

    def ask(dice: random.Random, count: int) -> Request:
        cities = [city(dice) for _ in range(count)]
        where = " and ".join(cities)
        questions = [
            f"What time is it in {where}?",
            f"Tell me the time in {where}.",
            f"What is the time in {where}?",
        ]
        return Request(dice.choice(questions), [(called, {key: one}) for one in cities], list(cities))

    def answer(dice: random.Random, arguments: Json, subject: object) -> tuple[str, str]:
        clock = f"{dice.randint(0, 23):02d}:{dice.randint(0, 59):02d}"
        return (json.dumps({"time": clock}) if dice.random() < 0.5 else clock), f"It is {clock} in {subject}."

    return Function(description, ask, answer)


_ARITHMETIC = {
    "add": (["add", "add_numbers", "add_two_numbers", "sum"], "Add two numbers", "+", "plus"),
    "multiply": (["multiply", "multiply_numbers", "product"], "Multiply two numbers", "*", "times"),
    "subtract": (["subtract", "subtract_two_numbers", "minus"], "Subtract two numbers", "-", "minus"),
}


def calculator(dice: random.Random) -> Function:
    """Sums, products and differences of numbers that are too big for the model's head."""
    kind = dice.choice(["add", "add", "multiply", "subtract"])
    names, text, operator, word = _ARITHMETIC[kind]
    called = dice.choice(names)
    first, second = dice.choice([("a", "b"), ("a", "b"), ("x", "y"), ("first", "second")])
    number = dice.choice(["integer", "integer", "number"])
    properties = {
        first: _parameter(dice, number, "The first number"),
        second: _parameter(dice, number, "The second number"),
    }

    def ask(dice: random.Random, count: int) -> Request:
        a, b = dice.randint(0, 999), dice.randint(0, 999)
        if dice.random() < 0.5:
            a, b = dice.randint(0, 30), dice.randint(0, 30)
        blank = dice.choice(["", " "])
        sum_ = f"{a}{blank}{operator}{blank}{b}"
        questions = [
            f"What is {sum_}?",
            f"Calculate {sum_}.",
            f"How much is {a} {word} {b}?",
            f"What is {a} {word} {b}?",
        ]
        return Request(dice.choice(questions), [(called, {first: a, second: b})], ["it"])

    def answer(dice: random.Random, arguments: Json, subject: object) -> tuple[str, str]:
        a, b = arguments.values()
        result = {"+": a + b, "*": a * b, "-": a - b}[operator]
        told = json.dumps({"result": result}) if dice.random() < 0.4 else str(result)
        return told, f"The result is {result}."

    return Function(_describe(called, text, properties, [first, second]), ask, answer)


def _of_one_value(
    names: Sequence[str],
    texts: Sequence[str],
    keys: Sequence[str],
    about: str,
    questions: Sequence[str],
    value: Callable[[random.Random], object],
    answer: Callable[[random.Random, object], tuple[str, str]],
    kind: str = "string",
) -> Callable[[random.Random], Function]:
    """A maker of functions that take a single value, which the question holds."""

    def make(dice: random.Random) -> Function:
        called, key = dice.choice(names), dice.choice(keys)
        description = _describe(called, dice.choice(texts), {key: _parameter(dice, kind, about)}, [key])

        def ask(dice: random.Random, count: int) -> Request:
            subject = value(dice)
            return Request(dice.choice(questions).format(subject), [(called, {key: subject})], [subject])

        return Function(description, ask, lambda dice, arguments, subject: answer(dice, subject))

    return make


def _done(text: str) -> Callable[[random.Random, object], tuple[str, str]]:
    return lambda dice, subject: (dice.choice(["ok", "done", '{"status": "ok"}']), text.format(subject))


def _search_answer(dice: random.Random, subject: object) -> tuple[str, str]:
    found = dice.randint(0, 99)
    told = json.dumps({"results": found}) if dice.random() < 0.5 else f"{found} results"
    return told, f"I found {found} results for {subject}."


def _stock_answer(dice: random.Random, subject: object) -> tuple[str, str]:
    price = dice.randint(1, 999)
    told = json.dumps({"price": price}) if dice.random() < 0.5 else str(price)
    return told, f"The price of {subject} is {price}."


def _user_answer(dice: random.Random, subject: object) -> tuple[str, str]:
    home, age = city(dice), dice.randint(10, 90)
    return json.dumps({"age": age, "city": home}), f"{subject} is {age} years old and lives in {home}."


def _symbol(dice: random.Random) -> str:
    return "".join(dice.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(dice.randint(2, 4)))


def _room(dice: random.Random) -> str:
    return dice.choice(["kitchen", "garden", "office", "hall", "bedroom", "garage", "cellar", "bathroom"])


search = _of_one_value(
    ["search", "web_search", "search_web", "find"],
    ["Search the web", "Search for a text"],
    ["query", "query", "q", "text"],
    "The search query",
    ["Search for {}.", "Search the web for {}.", "Find {}.", "Look up {}."],
    lambda dice: sentence(dice, 1, 4),
    _search_answer,
)
timer = _of_one_value(
    ["set_timer", "start_timer", "timer"],
    ["Set a timer", "Start a timer"],
    ["minutes", "minutes", "duration"],
    "Number of minutes",
    ["Set a timer for {} minutes.", "Start a timer for {} minutes.", "Timer for {} minutes, please."],
    lambda dice: dice.randint(1, 90),
    _done("The timer is set for {} minutes."),
    kind="integer",
)
music = _of_one_value(
    ["play_music", "play_song", "play"],
    ["Play music", "Play a song"],
    ["song", "title", "name"],
    "What to play",
    ["Play {}.", "Please play {}.", "Play the song {}."],
    lambda dice: sentence(dice, 1, 3),
    _done("I am playing {}."),
)
light = _of_one_value(
    ["turn_on_light", "light_on", "switch_on"],
    ["Turn on the light in a room", "Switch on a light"],
    ["room", "room", "place"],
    "The room",
    ["Turn on the light in the {}.", "Switch on the {} light.", "Light on in the {}."],
    _room,
    _done("The light in the {} is on."),
)
stock = _of_one_value(
    ["get_stock_price", "stock_price", "get_price"],
    ["Get the price of a stock", "Returns a stock price"],
    ["symbol", "symbol", "ticker", "stock"],
    "The symbol",
    ["What is the stock price of {}?", "What is the price of {}?", "Get the stock price of {}."],
    _symbol,
    _stock_answer,
)
user = _of_one_value(
    ["get_user", "find_user", "lookup_user", "get_person"],
    ["Find a user by name", "Look up a person"],
    ["name", "name", "user", "person"],
    "The name",
    ["Find the user {}.", "Look up {}.", "Who is {}?", "Get the user {}."],
    name,
    _user_answer,
)
note = _of_one_value(
    ["save_note", "create_note", "add_note", "remember"],
    ["Save a note", "Create a note"],
    ["text", "note", "content"],
    "The text of the note",
    ["Save the note: {}", "Note: {}", "Create a note: {}", "Remember: {}"],
    lambda dice: sentence(dice, 1, 5),
    _done("I saved the note."),
)


def mail(dice: random.Random) -> Function:
    """A message to a person about something: two values."""
    called = dice.choice(["send_email", "send_mail", "send_message"])
    to, about = dice.choice([("to", "subject"), ("recipient", "subject"), ("to", "text"), ("name", "message")])
    text = dice.choice(["Send an email", "Send a message to a person"])
    properties = {
        to: _parameter(dice, "string", "The recipient"),
        about: _parameter(dice, "string", "The subject"),
    }

    def ask(dice: random.Random, count: int) -> Request:
        person, subject = name(dice), sentence(dice, 1, 3)
        what = "a message" if "message" in called else "an email"
        questions = [f"Send {what} to {person} about {subject}.", f"Write {what} to {person} about {subject}."]
        return Request(dice.choice(questions), [(called, {to: person, about: subject})], [person])

    def answer(dice: random.Random, arguments: Json, subject: object) -> tuple[str, str]:
        return dice.choice(["ok", "sent", '{"status": "sent"}']), f"I sent it to {subject}."

    return Function(_describe(called, text, properties, [to, about]), ask, answer)


def _date(dice: random.Random) -> tuple[str, str]:
    date = f"{dice.randint(2020, 2029)}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}"
    return date, f"The date is {date}."


def _server_status(dice: random.Random) -> tuple[str, str]:
    status = dice.choice(["up", "down", "busy", "idle"])
    return status, f"The server is {status}."


def _dice_roll(dice: random.Random) -> tuple[str, str]:
    points = str(dice.randint(1, 6))
    return points, f"You rolled a {points}."


_WITHOUT_VALUES = [
    ("get_date", "Get the date of today", ["What is the date today?", "What date is it?"], _date),
    (
        "get_status",
        "Get the status of the server",
        ["What is the server status?", "How is the server?"],
        _server_status,
    ),
    ("roll_dice", "Roll a dice", ["Roll the dice.", "Roll a dice."], _dice_roll),
]


def without_values(dice: random.Random) -> Function:
    """A function that takes nothing; `required` is there or not, as clients do it."""
    called, text, questions, tell = dice.choice(_WITHOUT_VALUES)
    description = _describe(called, text, {}, [])
    if dice.random() >= 0.5:
        del description["function"]["parameters"]["required"]

    def ask(dice: random.Random, count: int) -> Request:
        return Request(dice.choice(questions), [(called, {})], ["it"])

    return Function(description, ask, lambda dice, arguments, subject: tell(dice))


# More than once where it is asked for more often.
FUNCTIONS = (
    weather,
    weather,
    weather,
    time_of_day,
    calculator,
    calculator,
    search,
    timer,
    music,
    light,
    stock,
    user,
    note,
    mail,
    without_values,
)
