"""Cards of NVIDIA, by the driver's own library NVML: opened, read and closed at each look; never raises."""

import contextlib
import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from a3s_power.hardware.cgroups import text
from a3s_power.hardware.gpus import Found, Gpu

LIBRARIES: Final = ("libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1")
_TEXT_BYTES: Final = 96
"""What NVML's header says is enough for every name and UUID."""
_VENDOR: Final = "0x10de"
_DISPLAYS: Final = ("0x0300", "0x0302")
"""PCI classes of graphics processors: with and without a socket for a screen."""


class _Failed(Exception):
    """A call of NVML that did not succeed, in NVML's words."""


class _Unsupported(_Failed):
    """This card, or this version of NVML, has no such thing."""


_UNSUPPORTED: Final = 3
"""NVML's number for that."""


def look(root: Path, libraries: tuple[str, ...] = LIBRARIES) -> Found:
    """All cards, or why there is nothing to be said of them. Where all of them sleep, NVML would wake them."""
    if asleep := _asleep(root):
        return Found(asleep)
    nvml, trouble = _library(libraries)
    if nvml is None:
        return Found(troubles=(trouble,), blind=True)
    try:
        _call(nvml, "nvmlInit_v2")
    except _Failed as failure:
        return Found(troubles=(f"NVML cannot be used: {failure}",), blind=True)
    try:
        return _read(nvml)
    except _Failed as failure:
        return Found(troubles=(f"NVML does not answer: {failure}",), blind=True)
    finally:
        with contextlib.suppress(_Failed):
            _call(nvml, "nvmlShutdown")


def _library(names: tuple[str, ...]) -> tuple[ctypes.CDLL | None, str]:
    """The library, or `None` and the reason."""
    reason = ""
    for name in names:
        try:
            return ctypes.CDLL(name), ""
        except OSError as error:
            reason = reason or str(error)
    return None, f"NVML cannot be loaded: {reason}"


def _read(nvml: ctypes.CDLL) -> Found:
    count = ctypes.c_uint()
    _call(nvml, "nvmlDeviceGetCount_v2", ctypes.byref(count))
    driver = _text(nvml, "nvmlSystemGetDriverVersion")
    gpus, troubles = [], []
    for index in range(count.value):
        try:
            gpus.append(_card(nvml, index, driver))
        except _Failed as failure:
            troubles.append(f"graphics processor {index}: {failure}")
    return Found(tuple(gpus), tuple(troubles))


def _card(nvml: ctypes.CDLL, index: int, driver: str) -> Gpu:
    # `nvmlMemory_t`: total, free, used.
    device, memory = ctypes.c_void_p(), (ctypes.c_ulonglong * 3)()
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
    uuid = _text(nvml, "nvmlDeviceGetUUID", device)
    # A processor that shares the main memory has none of its own to tell of.
    with contextlib.suppress(_Unsupported):
        _call(nvml, "nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
    with contextlib.suppress(_Failed):
        _call(nvml, "nvmlDeviceGetCudaComputeCapability", device, ctypes.byref(major), ctypes.byref(minor))
    return Gpu(
        kind="cuda",
        index=index,
        uuid=uuid,
        name=_text(nvml, "nvmlDeviceGetName", device),
        total_bytes=memory[0],
        free_bytes=memory[1],
        capability=f"{major.value}.{minor.value}" if major.value else "",
        driver=driver,
    )


def _call(nvml: ctypes.CDLL, name: str, *arguments: object) -> None:
    try:
        function = getattr(nvml, name)
    except AttributeError as error:
        raise _Unsupported(f"it has no {name}") from error
    if code := function(*arguments):
        raise (_Unsupported if code == _UNSUPPORTED else _Failed)(_words(nvml, code))


def _words(nvml: ctypes.CDLL, code: int) -> str:
    try:
        told = nvml.nvmlErrorString
    except AttributeError:
        return f"error {code}"
    told.restype = ctypes.c_char_p
    words: bytes | None = told(code)
    return words.decode("ascii", "replace") if words else f"error {code}"


def _text(nvml: ctypes.CDLL, name: str, *arguments: object) -> str:
    buffer = ctypes.create_string_buffer(_TEXT_BYTES)
    try:
        _call(nvml, name, *arguments, buffer, ctypes.c_uint(_TEXT_BYTES))
    except _Unsupported:
        return ""
    return buffer.value.decode("utf-8", "replace")


def _asleep(root: Path) -> tuple[Gpu, ...]:
    """All cards, where the system has sent all of them to sleep: what the driver says without touching them."""
    devices = list(_devices(root))
    if not devices or any(text(device / "power/runtime_status").strip() != "suspended" for device in devices):
        return ()
    return tuple(_sleeper(root, index, device.name) for index, device in enumerate(devices))


def _devices(root: Path) -> Iterator[Path]:
    """Its cards on the PCI bus, in the order in which NVML counts them."""
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        if text(device / "vendor").strip() == _VENDOR and text(device / "class").startswith(_DISPLAYS):
            yield device


def _sleeper(root: Path, index: int, address: str) -> Gpu:
    told = dict(re.findall(r"^([^:\n]+):[ \t]*(.*?)[ \t]*$", text(_information(root, address)), re.MULTILINE))
    uuid = told.get("GPU UUID", "")
    return Gpu(
        kind="cuda", index=index, uuid="" if "?" in uuid else uuid, name=told.get("Model", "NVIDIA card"), asleep=True
    )


def _information(root: Path, address: str) -> Path:
    return root / "proc/driver/nvidia/gpus" / address / "information"
