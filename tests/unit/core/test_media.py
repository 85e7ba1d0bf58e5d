"""Sound and images are told apart by their first bytes."""

import pytest

from a3s_power.core.media import is_audio


@pytest.mark.parametrize(
    ("data", "audio"),
    [
        (b"RIFF\x24\0\0\0WAVEfmt ", True),
        (b"RIFF\x24\0\0\0WEBPVP8 ", False),
        (b"ID3\x04\0", True),
        (b"\xff\xfb\x90\x64", True),
        (b"\xff\xe3\x18\xc4", True),
        (b"\xff\xd8\xff\xe0", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"\xff", False),
        (b"", False),
    ],
)
def test_a_file_is_sound_by_what_it_begins_with(data: bytes, audio: bool) -> None:
    assert is_audio(data) is audio
