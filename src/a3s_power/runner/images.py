"""The images of a request, decoded under limits: the engine only ever reads PNGs that were written here."""

import sys
import threading
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from types import ModuleType
from typing import TYPE_CHECKING, Final

import msgspec

from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.media import is_audio
from a3s_power.runner.audio import check_audio
from a3s_power.runner.frames import Run

if TYPE_CHECKING:
    from PIL import Image

_MAGIC: Final = {
    "PNG": (b"\x89PNG\r\n\x1a\n", 0),
    "JPEG": (b"\xff\xd8\xff", 0),
    "WEBP": (b"WEBP", 8),
    "GIF": (b"GIF8", 0),
    "BMP": (b"BM", 0),
}
"""What files begin with, by Pillow's names for their formats, and where that stands."""
_SCAN: Final = b"\xff\xda"
_ORIENTATION: Final = 0x0112
_FASTEST: Final = 1

_decoding = threading.Lock()


class _Unusable(Exception):
    """Why an image is refused, as the end of a sentence that begins with the image."""


def with_images(request: Run) -> Run:
    """The request, its images as the engine takes them. Raises BadRequest as `prepared`."""
    files = [*(image for message in request.messages for image in message.images), *request.images]
    if not files:
        return request
    ready = iter(prepared(files))
    messages = tuple(
        msgspec.structs.replace(message, images=tuple(next(ready) for _ in message.images))
        if message.images
        else message
        for message in request.messages
    )
    return msgspec.structs.replace(request, messages=messages, images=tuple(ready))


def prepared(files: Sequence[bytes]) -> tuple[bytes, ...]:
    """Every image as a PNG without transparency, turned upright; sound as it came. What is left out goes to the log.

    Raises:
        BadRequest: one of them cannot be decoded or is over a limit; the message says which one, and why.
    """
    images: list[bytes] = []
    room = limits.IMAGES_PIXELS
    for place, data in enumerate(files, 1):
        name = f"image {place} of {len(files)}" if len(files) > 1 else "the image"
        try:
            if is_audio(data):
                images.append(check_audio(data))
                continue
            # One at a time, in the whole process: a large one takes half a gigabyte while it is decoded.
            with _decoding:
                image, pixels = _as_png(data, name, room)
        except (_Unusable, ValueError) as error:
            raise BadRequest(f"Failed to load image or audio file: {name} {error}") from error
        images.append(image)
        room -= pixels
    return tuple(images)


def _as_png(data: bytes, name: str, room: int) -> tuple[bytes, int]:
    """The image as a PNG, and how many pixels it has."""
    if not data:
        raise _Unusable("is empty")
    kind = next((kind for kind, (magic, at) in _MAGIC.items() if data.startswith(magic, at)), None)
    if kind is None:
        raise _Unusable("is neither PNG, JPEG, WebP, GIF nor BMP")
    try:
        return _decoded(data, kind, name, room)
    except _Unusable:
        raise
    except _pillow().UnidentifiedImageError as error:
        # What it says tells where our buffer lies, and nothing else.
        raise _Unusable(f"is a damaged or incomplete {kind} file") from error
    except Exception as error:  # Pillow's decoders raise whatever a broken file leads them to
        raise _Unusable(f"is a damaged or incomplete {kind} file ({error})") from error


def _decoded(data: bytes, kind: str, name: str, room: int) -> tuple[bytes, int]:
    pillow = _pillow()
    with pillow.open(BytesIO(data), formats=(kind,)) as image:
        pixels = _checked(image, data, room)
        if getattr(image, "is_animated", False):
            if kind == "WEBP":
                raise _Unusable("is an animated WebP: send one of its frames")
            print(f"{name} is animated: only its first frame is used", file=sys.stderr, flush=True)  # noqa: T201 -- a child's stderr is its log
        opaque = _opaque(image)
        turn = _turn(image)
        if turn is not None:
            opaque = opaque.transpose(turn)
    png = BytesIO()
    opaque.save(png, "PNG", compress_level=_FASTEST)
    return png.getvalue(), pixels


def _checked(image: "Image.Image", data: bytes, room: int) -> int:
    """How many pixels the file says that it has, before any of them is decoded. Raises _Unusable for too many."""
    width, height = image.size
    pixels = width * height
    if not pixels:
        raise _Unusable("has no pixels")
    if pixels > limits.IMAGE_PIXELS:
        raise _Unusable(f"has {width} x {height} pixels: the limit is {limits.IMAGE_PIXELS // 10**6} million")
    if pixels > room:
        most = limits.IMAGES_PIXELS // 10**6
        raise _Unusable(f"has {width} x {height} pixels, and all together may have {most} million")
    if max(width, height) > limits.IMAGE_RATIO * min(width, height):
        ratio = limits.IMAGE_RATIO
        raise _Unusable(f"has {width} x {height} pixels: no side may be more than {ratio} times as long as the other")
    # Each of them goes through all pixels again, however few bytes it takes.
    if "progressive" in image.info and data.count(_SCAN) > limits.IMAGE_SCANS:
        raise _Unusable(f"has more than {limits.IMAGE_SCANS} scans")
    return pixels


def _opaque(image: "Image.Image") -> "Image.Image":
    """The first frame in red, green and blue; what is transparent shows white, as on paper."""
    if image.mode.startswith("I;16") or image.mode == "I":
        # Sixteen bits a pixel, which a plain conversion would cut off at 255.
        return image.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper: Image.Image = _pillow().new("RGB", layer.size, "white")
    paper.paste(layer, mask=layer.getchannel("A"))
    return paper


def _turn(image: "Image.Image") -> "Image.Transpose | None":
    """What brings a photo upright that was taken with a turned camera, as every viewer shows it."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception as error:  # noqa: BLE001 -- as above; a photo may be whole where its notes are not
        print(f"an image's EXIF data cannot be read: {error}", file=sys.stderr, flush=True)  # noqa: T201 -- its log
        return None
    turns = _pillow().Transpose
    upright = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }
    return upright.get(orientation) if isinstance(orientation, int) else None


@cache
def _pillow() -> ModuleType:
    # 35 ms of imports that no child needs before its first image.
    from PIL import Image  # noqa: PLC0415

    # Its own limit would warn of half of what it refuses; here the size is asked for before anything is decoded.
    Image.MAX_IMAGE_PIXELS = None
    return Image
