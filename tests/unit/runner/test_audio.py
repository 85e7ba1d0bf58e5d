"""Sound is measured before anybody decodes it."""

import io
import wave

import pytest

from a3s_power.core.errors import BadRequest
from a3s_power.runner.audio import check_audio
from a3s_power.runner.images import prepared


def _wav(seconds: int, rate: int = 8_000) -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(rate)
        file.writeframes(b"\x80" * rate * seconds)
    return written.getvalue()


# MPEG 1 layer III, 32 kbit/s, 48 kHz: 96 bytes and 24 ms a frame. MPEG 2, 8 kbit/s, 24 kHz: 24 bytes and 24 ms.
_FRAME = b"\xff\xfb\x14\xc4" + b"\0" * 92
_SMALL = b"\xff\xf3\x14\xc4" + b"\0" * 20


@pytest.mark.parametrize("data", [_wav(2), _FRAME * 10, b"ID3\x04\0\0\0\0\0\x05abcde" + _SMALL * 3])
def test_sound_passes_as_it_came(data: bytes) -> None:
    assert check_audio(data) is data
    assert prepared([data]) == (data,)


@pytest.mark.parametrize("data", [_wav(1801, rate=100), _SMALL * 75_100, b"ID3\x04\0\0\0\0\0\0" + _SMALL * 75_100])
def test_half_an_hour_is_the_limit(data: bytes) -> None:
    with pytest.raises(BadRequest, match="the image is 30 minutes of sound: the limit is 30"):
        prepared([data])


@pytest.mark.parametrize(
    "data", [_wav(1)[:30], b"RIFF\0\0\0\0WAVE", b"ID3", b"ID3\x04\0\0\0\0\0\0junk", b"\xff\xff" * 40]
)
def test_broken_sound_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest, match=r"is a damaged or incomplete (WAV|MP3) file"):
        prepared([data])
