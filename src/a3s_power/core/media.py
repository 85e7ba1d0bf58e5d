"""What kind of file came as an image: audio travels in the same list."""

from typing import Final

_FRAME: Final = 0xE0
"""The bits that begin every frame of an MP3, behind a byte that is all ones."""


def is_audio(data: bytes) -> bool:
    """Whether the file is sound (WAV or MP3, by its first bytes); all else is taken for an image."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return True
    return data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] & _FRAME == _FRAME)
