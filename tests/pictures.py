"""Pictures of one figure, as power-tiny's image encoder knows them, and every way to write them down."""

import base64
import io
import random
from typing import Any, Final

import msgspec
from PIL import Image, ImageDraw

COLOURS: Final = {
    "red": (220, 20, 20),
    "green": (20, 160, 40),
    "blue": (20, 40, 220),
    "yellow": (245, 225, 20),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}
SHAPES: Final = ("circle", "square", "triangle")
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_SIDES: Final = (31, 48, 64, 97, 128, 201)
_SCALE: Final = 4


class Picture(msgspec.Struct, frozen=True):
    """A figure of a colour on another ground; what it shows, and its pixels."""

    colour: str
    shape: str
    image: Image.Image

    def file(self, kind: str = "PNG", **options: Any) -> bytes:
        """The picture as a file of this format."""
        return file(self.image, kind, **options)


def picture(seed: int) -> Picture:
    """The picture of this number: always the same one."""
    chance = random.Random(seed)
    colour, shape = chance.choice(list(COLOURS)), chance.choice(SHAPES)
    width = chance.choice(_SIDES)
    height = width if chance.random() < 0.5 else chance.choice([side for side in _SIDES if 2 * side > width])
    ground = chance.choice([other for other in ("white", "black", "grey") if other != colour])
    large = (width * _SCALE, height * _SCALE)
    image = Image.new("RGB", large, COLOURS.get(ground, (128, 128, 128)))
    radius = min(large) * chance.uniform(0.3, 0.42)
    x, y = (chance.uniform(radius, side - radius) for side in large)
    _draw(ImageDraw.Draw(image), shape, (x, y), radius, COLOURS[colour])
    return Picture(colour, shape, image.resize((width, height), Image.Resampling.LANCZOS))


def _draw(
    pen: ImageDraw.ImageDraw, shape: str, at: tuple[float, float], radius: float, colour: tuple[int, int, int]
) -> None:
    x, y = at
    match shape:
        case "circle":
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
        case "square":
            half = radius * 0.9
            pen.rectangle([x - half, y - half, x + half, y + half], fill=colour)
        case _:
            corners = [(x, y - radius), (x - radius * 0.95, y + radius * 0.8), (x + radius * 0.95, y + radius * 0.8)]
            pen.polygon(corners, fill=colour)


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image as a file of this format."""
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def pixels(data: bytes) -> Image.Image:
    """An image file's first frame in red, green and blue."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def base64_of(data: bytes) -> str:
    """A file as the APIs take it."""
    return base64.b64encode(data).decode()
