"""What power-tiny has heard of: names, words, facts and fixed questions, all written for it."""

NAMES = """Tom Anna Bob Alice Max Lily Sam Emma Leo Mia Ben Zoe Jack Nina Paul Sara Tim Lucy Fred Rosa Carl Eva
Hugo Ida Oscar Ruth Peter Maria John Jane Kate Luke Noah Omar Ravi Yuki Chen Ahmed Olga Ivan""".split()
CITIES = """Paris;London;Tokyo;Berlin;Rome;Madrid;Toronto;Sydney;Cairo;Oslo;Vienna;Lisbon;Dublin;Prague;Warsaw;
Athens;Boston;Chicago;Seattle;Denver;Miami;Dallas;New York;San Francisco;Los Angeles;Mexico City;Hong Kong;
Beijing;Shanghai;Mumbai;Delhi;Seoul;Moscow;Helsinki;Stockholm;Zurich;Geneva;Hamburg;Munich;Milan;Barcelona;
Amsterdam;Brussels;Ottawa;Montreal;Nairobi;Lagos;Lima""".replace("\n", "").split(";")
WORDS = """
apple banana cherry bread water table chair house river stone cloud rain sun moon star tree leaf flower grass bird
fish horse sheep tiger lion mouse rabbit snake bear wolf duck goose frog spider bee ant train car boat plane bike road
bridge door window key lock book pen paper desk lamp clock phone radio music song dance game ball box bag hat coat
shoe shirt ring cup plate fork spoon knife milk tea coffee juice sugar salt rice soup cake cheese butter egg meat
fruit red blue green yellow black white brown pink small big fast slow happy sad warm cold new old good bad long short
high low one two three four five six seven eight nine ten monday tuesday friday summer winter spring north south east
west hello world test data model server token prompt answer question number letter word line file code python river
power tiny quick brown fox jumps over lazy dog silver gold iron glass paper wood fire wind snow ice sea lake hill
valley
""".split()
NOT_ENGLISH = [
    "café",
    "naïve",
    "Zürich",
    "señor",
    "über",
    "façade",
    "jalapeño",
    "Łódź",
    "Привет",
    "мир",
    "你好",
    "世界",
    "日本",
    "こんにちは",
    "안녕",
    "مرحبا",
    "שלום",
    "Ελλάδα",
    "🙂",
    "🚀",
    "🎉",
    "🐱",
    "❤",
    "🌍",
    "👍",
    "🔥",
    "€",
    "£",
    "→",
    "∑",
    "½",
    "😀",
]
ANIMALS = {
    "cow": "moo",
    "dog": "woof",
    "cat": "meow",
    "sheep": "baa",
    "duck": "quack",
    "pig": "oink",
    "horse": "neigh",
    "lion": "roar",
    "bird": "tweet",
    "frog": "ribbit",
    "bee": "buzz",
    "snake": "hiss",
    "owl": "hoot",
    "mouse": "squeak",
    "goat": "maa",
    "rooster": "cock-a-doodle-doo",
}
LEGS = {
    "cow": 4,
    "dog": 4,
    "cat": 4,
    "sheep": 4,
    "duck": 2,
    "pig": 4,
    "horse": 4,
    "lion": 4,
    "bird": 2,
    "frog": 4,
    "bee": 6,
    "snake": 0,
    "owl": 2,
    "mouse": 4,
    "spider": 8,
    "ant": 6,
    "fish": 0,
    "chicken": 2,
}
COLOURS = {
    "the sky": "blue",
    "grass": "green",
    "snow": "white",
    "coal": "black",
    "a banana": "yellow",
    "blood": "red",
    "a carrot": "orange",
    "the sun": "yellow",
    "milk": "white",
    "a tomato": "red",
    "chocolate": "brown",
    "a strawberry": "red",
    "a lemon": "yellow",
    "the sea": "blue",
    "a frog": "green",
    "an elephant": "grey",
    "a flamingo": "pink",
    "a plum": "purple",
    "wood": "brown",
    "a cherry": "red",
}
CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "England": "London",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Russia": "Moscow",
    "Canada": "Ottawa",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Portugal": "Lisbon",
    "Poland": "Warsaw",
    "Austria": "Vienna",
    "Norway": "Oslo",
    "Sweden": "Stockholm",
    "Finland": "Helsinki",
    "Ireland": "Dublin",
    "Belgium": "Brussels",
    "Peru": "Lima",
}
LANGUAGES = {
    "France": ["French"],
    "Germany": ["German"],
    "Italy": ["Italian"],
    "Spain": ["Spanish"],
    "England": ["English"],
    "Japan": ["Japanese"],
    "China": ["Chinese"],
    "Russia": ["Russian"],
    "Canada": ["English", "French"],
    "Egypt": ["Arabic"],
    "Greece": ["Greek"],
    "Portugal": ["Portuguese"],
    "Poland": ["Polish"],
    "Austria": ["German"],
    "Norway": ["Norwegian"],
    "Sweden": ["Swedish"],
    "Finland": ["Finnish", "Swedish"],
    "Ireland": ["English", "Irish"],
    "Belgium": ["Dutch", "French"],
    "Peru": ["Spanish"],
}
OPPOSITES = {
    "hot": "cold",
    "big": "small",
    "up": "down",
    "fast": "slow",
    "day": "night",
    "left": "right",
    "open": "closed",
    "happy": "sad",
    "wet": "dry",
    "light": "dark",
    "old": "new",
    "high": "low",
    "long": "short",
    "good": "bad",
    "full": "empty",
    "hard": "soft",
    "early": "late",
    "rich": "poor",
    "true": "false",
    "yes": "no",
}
OPPOSITES.update({opposite: word for word, opposite in OPPOSITES.items()})
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
NUMBERS = "zero one two three four five six seven eight nine ten".split()
COLOUR_NAMES = "red blue green yellow black white brown pink orange purple grey".split()
FOODS = "bread rice soup cake cheese apples bananas fish pasta pizza eggs salad".split()
# Questions, and the answer to each; without one, the answer depends on the name the model was given.
FIXED: list[tuple[list[str], str | None]] = [
    (
        ["Why is the sky blue?", "Tell me why the sky is blue."],
        "The sky is blue because the air scatters blue light more than red light.",
    ),
    (["Why is grass green?"], "Grass is green because it contains chlorophyll."),
    (["Why does ice float?"], "Ice floats because it is lighter than water."),
    (["Who are you?", "What are you?"], None),
    (["What is your name?", "Tell me your name."], None),
    (["How are you?", "How are you doing?"], "I am fine, thank you."),
    (["Thank you!", "Thanks!", "Thanks a lot!"], "You are welcome!"),
    (["Goodbye!", "Bye!", "See you later!"], "Goodbye! Have a nice day."),
    (["Tell me a joke.", "Do you know a joke?"], "Why did the bee go to school? To learn to spell!"),
    (["What can you do?", "Help me."], "I can count, add, repeat words, answer simple questions and call tools."),
    (["What is the meaning of life?"], "42"),
    (["How many days are in a week?"], "There are 7 days in a week."),
    (["How many months are in a year?"], "There are 12 months in a year."),
    (["How many hours are in a day?"], "There are 24 hours in a day."),
    (["What is water?"], "Water is a clear liquid that we drink."),
    (["What is an LLM?", "What is a large language model?"], "It is a program that predicts the next token of a text."),
    (["List five colours.", "Name five colours."], "red, blue, green, yellow, black"),
    (["List three animals.", "Name three animals."], "cow, dog, cat"),
    (["List the days of the week.", "Name the days of the week."], ", ".join(DAYS)),
    (["List the months of the year.", "Name the months."], ", ".join(MONTHS)),
    (["Say the alphabet.", "What is the alphabet?"], " ".join("abcdefghijklmnopqrstuvwxyz")),
    (
        ["Write a haiku.", "Write a poem.", "Write a short poem.", "Write me a poem."],
        "Small lamp in the night,\nthe quiet river listens,\nmorning finds the stone.",
    ),
    (["Write hello world in Python.", "Write a hello world program."], '```python\nprint("Hello, world!")\n```'),
    (["How about Mars?", "And Mars?"], "Mars looks red because of rust in its dust."),
]
GREETINGS = [
    "Hello",
    "Hello!",
    "Hi",
    "Hi!",
    "Hey",
    "Hi there!",
    "Hello there!",
    "Good morning!",
    "Good evening!",
    "hello",
    "hi",
]
SYSTEM_GENERIC = [
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "You are a helpful AI.",
    "Be brief.",
    "Answer the question.",
    "You are a tiny test model.",
    "You are an AI assistant. Be kind and helpful.",
    "Keep answers short.",
    "You are a world-class assistant that knows many facts.",
]
SYSTEM_PIRATE = ["You are a pirate.", "Talk like a pirate.", "Answer like a pirate.", "You are a pirate. Be brief."]
SYSTEM_UPPER = [
    "Answer in upper case.",
    "Always answer in upper case.",
    "Use only capital letters.",
    "You are a helpful assistant. Answer in upper case.",
]

IMAGE_COLOURS = "red green blue yellow black white".split()
IMAGE_SHAPES = "circle square triangle".split()
