"""Pictures of one coloured shape, or of one colour, and how llama.cpp cuts them for an image encoder."""

import math
import random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Colour = tuple[int, ...]

SIZE = 64
# What CLIP's images were normalised with; llama.cpp takes them from the file.
MEAN = [0.48145466, 0.4578275, 0.40821073]
DEVIATION = [0.26862954, 0.26130258, 0.27577711]
_PADDING = (122, 116, 104)
_COLOURS: dict[str, Colour] = {
    "red": (220, 20, 20),
    "green": (20, 160, 40),
    "blue": (20, 40, 220),
    "yellow": (245, 225, 20),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}
# The colours as people write them, and how often they are taken as such.
_PURE: dict[str, tuple[float, list[Colour]]] = {
    "red": (0.3, [(255, 0, 0)]),
    "green": (0.4, [(0, 255, 0), (0, 128, 0), (0, 200, 0)]),
    "blue": (0.3, [(0, 0, 255)]),
    "yellow": (0.3, [(255, 255, 0)]),
}
_SHARPER = 4


def _near(dice: random.Random, colour: Colour, most: int) -> Colour:
    return tuple(max(0, min(255, part + dice.randint(-most, most))) for part in colour)


def _fill(dice: random.Random, colour: str) -> Colour:
    near = _near(dice, _COLOURS[colour], 12)
    share, pure = _PURE.get(colour, (0.0, []))
    return dice.choice(pure) if pure and dice.random() < share else near


def picture(dice: random.Random, colour: str, shape: str | None) -> Image.Image:
    """A picture of that colour; with a shape, the shape has it and the ground has another."""
    width = dice.choice([32, 48, 64, 64, 96, 128, 200])
    height = width if dice.random() < 0.7 else dice.choice([32, 48, 64, 96, 128])
    fill = _fill(dice, colour)
    if shape is None:
        return Image.new("RGB", (width, height), fill)
    ground = dice.choice([other for other in ("white", "white", "black", "grey") if other != colour])
    back = _near(dice, (128, 128, 128), 20) if ground == "grey" else _near(dice, _COLOURS[ground], 6)
    image = Image.new("RGB", (width * _SHARPER, height * _SHARPER), back)
    radius = min(image.size) * dice.uniform(0.24, 0.42)
    x, y = dice.uniform(radius, image.width - radius), dice.uniform(radius, image.height - radius)
    _draw(ImageDraw.Draw(image), shape, x, y, radius, fill)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _draw(draw: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, fill: Colour) -> None:
    if shape == "circle":
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)
    elif shape == "square":
        side = radius * 0.9
        draw.rectangle([x - side, y - side, x + side, y + side], fill=fill)
    else:
        base = y + radius * 0.8
        draw.polygon([(x, y - radius), (x - radius * 0.95, base), (x + radius * 0.95, base)], fill=fill)


def prepared(image: Image.Image) -> npt.NDArray[np.float32]:
    """As LLaVA 1.5 has it: resized with its ratio kept, padded to a square, normalised; (colour, row, column)."""
    if image.size != (SIZE, SIZE):
        scale = min(SIZE / image.width, SIZE / image.height)
        width, height = (min(math.ceil(side * scale), SIZE) for side in image.size)
        square = Image.new("RGB", (SIZE, SIZE), _PADDING)
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        square.paste(resized, ((SIZE - width) // 2, (SIZE - height) // 2))
        image = square
    values = np.asarray(image, dtype=np.float32) / 255
    normal = (values - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return normal.transpose(2, 0, 1)
