"""The sound of a request, measured before the engine decodes it: hours of it can lie in a few megabytes."""

import struct
from typing import Final

from a3s_power.core import limits

_CHUNK: Final = struct.Struct("<4sI")
_FORMAT: Final = struct.Struct("<HHIIHH")
_ID3: Final = 10
"""Bytes of the tag's own header."""

_BITRATES: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Samples a second, by the frame's version: 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5."""


def check_audio(data: bytes) -> bytes:
    """The file itself. Raises ValueError, as the end of a sentence, for sound that is broken or too long."""
    seconds = _of_wav(data) if data.startswith(b"RIFF") else _of_mp3(data)
    if seconds > limits.AUDIO_SECONDS:
        raise ValueError(f"is {seconds / 60:.0f} minutes of sound: the limit is {limits.AUDIO_SECONDS // 60}")
    return data


def _of_wav(data: bytes) -> float:
    """Seconds of a WAV, by its own rate."""
    at, rate = 12, 0
    while at + _CHUNK.size <= len(data):
        name, size = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        if name == b"fmt " and at + _FORMAT.size <= len(data):
            rate = _FORMAT.unpack_from(data, at)[3]
        elif name == b"data" and rate:
            return float(min(size, len(data) - at) / rate)
        at += size + size % 2
    raise ValueError("is a damaged or incomplete WAV file")


def _of_mp3(data: bytes) -> float:
    """Seconds of an MP3, frame by frame."""
    at, seconds = _behind_tag(data), 0.0
    while at + 4 <= len(data):
        frame = _frame(data[at : at + 4])
        if frame is None:
            at = data.find(b"\xff", at + 1)
            if at < 0:
                break
            continue
        length, duration = frame
        seconds += duration
        at += length
    if not seconds:
        raise ValueError("is a damaged or incomplete MP3 file")
    return seconds


def _behind_tag(data: bytes) -> int:
    if not data.startswith(b"ID3") or len(data) < _ID3:
        return 0
    length = 0
    for byte in data[6:_ID3]:
        length = length << 7 | byte & 0x7F
    return _ID3 + length


def _frame(head: bytes) -> tuple[int, float] | None:
    """Bytes and seconds of the frame that begins so; `None` where none does (layer III only)."""
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate, padded = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if head[0] != 0xFF or head[1] & 0xE0 != 0xE0 or layer != 1 or version == 1:
        return None
    if not 0 < bitrate < len(_BITRATES) or rate == 3:
        return None
    first = version == 3
    samples, kilobits = (1152, _BITRATES[bitrate]) if first else (576, _BITRATES_2[bitrate])
    return samples * 125 * kilobits // _RATES[version][rate] + padded, samples / _RATES[version][rate]
