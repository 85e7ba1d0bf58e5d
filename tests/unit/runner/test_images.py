"""Images become PNGs that anybody can read; what cannot is named, before much is spent on it."""

import struct
import zlib

import pytest
from PIL import Image

from a3s_power.core import limits
from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Message
from a3s_power.runner.frames import Run
from a3s_power.runner.images import prepared, with_images
from tests.pictures import FORMATS, file, picture, pixels

_PICTURE = picture(1).image


def _one(data: bytes) -> Image.Image:
    (ready,) = prepared([data])
    assert ready.startswith(b"\x89PNG")
    image = pixels(ready)
    assert image.mode == "RGB"
    return image


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 64), (201, 97)])
def test_every_format_and_size_keeps_its_pixels(kind: str, size: tuple[int, int]) -> None:
    data = file(_PICTURE.resize(size), kind)
    assert _one(data).tobytes() == pixels(data).tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_every_kind_of_colour_is_read(mode: str) -> None:
    data = file(_PICTURE.convert(mode), "JPEG" if mode in ("CMYK", "YCbCr") else "PNG")
    assert _one(data).tobytes() == pixels(data).tobytes()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_is_white(kind: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.putpixel((1, 1), (255, 0, 0, 255))
    seen = _one(file(image, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert (seen.getpixel((0, 0)), seen.getpixel((1, 1))) == ((255, 255, 255), (255, 0, 0))


def test_a_palette_s_transparent_colour_is_white() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    seen = _one(file(image, "GIF", transparency=0))
    assert (seen.getpixel((0, 0)), seen.getpixel((1, 0))) == ((255, 255, 255), (0, 0, 255))


def test_sixteen_bits_a_pixel_become_eight() -> None:
    image = Image.new("I;16", (3, 1))
    for x, value in enumerate((0, 0x8000, 0xFFFF)):
        image.putpixel((x, 0), value)
    seen = _one(file(image))
    assert [seen.getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]


_CORNERS = Image.new("RGB", (3, 2), "black")
_CORNERS.putpixel((0, 0), (255, 0, 0))


@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    [
        (1, (3, 2), (0, 0)),
        (2, (3, 2), (2, 0)),
        (3, (3, 2), (2, 1)),
        (4, (3, 2), (0, 1)),
        (5, (2, 3), (0, 0)),
        (6, (2, 3), (1, 0)),
        (7, (2, 3), (1, 2)),
        (8, (2, 3), (0, 2)),
        (99, (3, 2), (0, 0)),
    ],
)
def test_a_photo_stands_upright(orientation: int, size: tuple[int, int], red: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = _one(file(_CORNERS, exif=exif))
    assert (seen.size, seen.getpixel(red)) == (size, (255, 0, 0))


def test_a_photo_s_broken_notes_do_not_spoil_it() -> None:
    data = file(_CORNERS, exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 64)
    assert _one(data).getpixel((0, 0)) == (255, 0, 0)


def _animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    return file(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_of_an_animation_the_first_frame_is_seen_and_the_log_says_so(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _one(_animated(kind)).getpixel((0, 0)) == (255, 0, 0)
    assert capfd.readouterr().err == "the image is animated: only its first frame is used\n"


def _png_of_size(width: int, height: int) -> bytes:
    """A PNG that says so and holds next to nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    pieces = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


_MILLION = limits.IMAGE_PIXELS // 10**6


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"\x89PNG", "is neither PNG, JPEG, WebP, GIF nor BMP"),
        (b"\x89PNG\r\n\x1a\n", "is a damaged or incomplete PNG file"),
        (_png_of_size(0, 5), "is a damaged or incomplete PNG file"),
        (_png_of_size(2**31 - 1, 2**31 - 1), "has 2147483647 x 2147483647 pixels"),
        (_png_of_size(10_000, 10_000), f"has 10000 x 10000 pixels: the limit is {_MILLION} million"),
        (_png_of_size(9, 9), "is a damaged or incomplete PNG file"),
        (_png_of_size(1, 201), "has 1 x 201 pixels: no side may be more than 200 times as long as the other"),
        (_animated("WEBP"), "is an animated WebP: send one of its frames"),
        (file(_PICTURE, "JPEG", progressive=True) + b"\xff\xda" * 200, "has more than 200 scans"),
        (b"GIF89a" + b"\0" * 7 + b";", "is a damaged or incomplete GIF file"),
        (b"BM" + b"\xff" * 60, "is a damaged or incomplete BMP file"),
    ],
)
def test_an_unusable_image_is_named_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match="Failed to load image or audio file: image 2") as raised:
        prepared([file(_PICTURE), data])
    assert why in raised.value.message
    assert " at 0x" not in raised.value.message


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_anywhere_is_an_error_or_the_whole_image(kind: str) -> None:
    data = file(_PICTURE, kind)
    whole = pixels(data).tobytes()
    errors = 0
    for end in range(0, len(data), max(1, len(data) // 40)):
        try:
            assert _one(data[:end]).tobytes() == whole
        except BadRequest:
            errors += 1
    assert errors > 30


def test_all_together_have_a_limit() -> None:
    half = file(Image.new("1", (7_000, 7_000)))
    with pytest.raises(BadRequest, match="image 3 of 3 has 7000 x 7000 pixels, and all together may have 128 million"):
        prepared([half, half, half])


def test_each_message_gets_its_own_back() -> None:
    red, blue = (file(Image.new("RGB", (4, 4), colour), "BMP") for colour in ("red", "blue"))
    messages = (Message(images=(red,)), Message(content="x"), Message(images=(blue, red)))
    request = with_images(Run(messages=messages))
    colours = [[pixels(image).getpixel((0, 0)) for image in message.images] for message in request.messages]
    assert colours == [[(255, 0, 0)], [], [(0, 0, 255), (255, 0, 0)]]
    assert [message.content for message in request.messages] == ["", "x", ""]


def test_a_request_without_images_stays_the_same() -> None:
    request = Run(messages=(Message(content="x"),))
    assert with_images(request) is request
