"""Laws of the core's values: printing and parsing undo each other, layers merge, and no text breaks a parser."""

import json
import math
import string
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from a3s_power.core.digests import Digest
from a3s_power.core.durations import NEVER, format_duration, keep_alive, keep_alive_setting, parse_duration
from a3s_power.core.errors import BadManifest, BadRequest, InvalidDigest, InvalidDuration, InvalidName, InvalidOption
from a3s_power.core.manifest import (
    ConfigBlob,
    Layer,
    Manifest,
    go_json,
    read_config,
    read_manifest,
    write_config,
    write_manifest,
)
from a3s_power.core.names import ModelName, Reference
from a3s_power.core.options import NAMES, Asked, Options
from a3s_power.core.sizes import human_bytes, human_count, human_time
from a3s_power.store.layout import Layout

_TEXT = st.text(st.characters(codec="utf-8"))
_FIRST = string.ascii_letters + string.digits + "_"


def _part(others: str, longest: int = 80) -> st.SearchStrategy[str]:
    rest = st.text(st.sampled_from(_FIRST + others), max_size=longest - 1)
    return st.builds(str.__add__, st.sampled_from(_FIRST), rest)


MODEL_NAMES = st.builds(
    ModelName,
    st.just("registry.ollama.ai") | _part("-.:", 350),
    st.just("library") | _part("-"),
    _part("-."),
    _part("-."),
)
DIGESTS = st.builds(Digest, st.text("0123456789abcdef", min_size=64, max_size=64))
LAYERS = st.builds(
    Layer,
    media_type=_TEXT,
    digest=DIGESTS.map(str),
    size=st.integers(0, 2**62),
    source=_TEXT,
    name=_TEXT,
)
MANIFESTS = st.builds(Manifest, config=LAYERS, layers=st.lists(LAYERS, max_size=5).map(tuple))
CONFIGS = st.builds(
    ConfigBlob,
    model_format=_TEXT,
    model_families=st.none() | st.lists(_TEXT, max_size=3),
    renderer=_TEXT,
    capabilities=st.lists(_TEXT, max_size=3),
    context_length=st.integers(0, 2**31),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=10,
)
_VALUES = JSON | st.integers(-(10**400), 10**400) | st.lists(_TEXT, max_size=3)
OPTIONS = st.dictionaries(st.sampled_from(NAMES) | _TEXT, _VALUES, max_size=6)
NAME_LIKE = st.text("aA0_-.:/ \n%\\é~\0", max_size=30)


@given(MODEL_NAMES)
def test_a_name_is_what_its_printed_forms_parse_to(name: ModelName) -> None:
    assert ModelName.parse(name.full) == name
    assert ModelName.parse(name.short).folded == name.folded
    assert ModelName.parse(f"https://{name.full}") == name


@given(NAME_LIKE | _TEXT)
@example("../../../../etc/passwd")
def test_any_text_is_a_name_or_an_invalid_one(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except InvalidName:
        return
    assert ModelName.parse(name.full) == name
    assert name.full.isascii()


@given(NAME_LIKE | _TEXT)
def test_any_text_is_a_reference_or_a_bad_request(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except BadRequest:
        return
    assert reference.source in ("", "local", "cloud")


@given(MODEL_NAMES, DIGESTS)
def test_a_name_and_a_digest_lead_to_one_place_below_the_folder(name: ModelName, digest: Digest) -> None:
    layout = Layout(Path("/models"))
    manifest, blob = layout.manifest(name), layout.blob(digest)
    assert manifest.parts == ("/", "models", "manifests", *name.parts)
    assert blob.parts == ("/", "models", "blobs", f"sha256-{digest.hex}")
    assert ".." not in manifest.parts


@given(DIGESTS)
def test_a_digest_is_what_its_printed_forms_parse_to(digest: Digest) -> None:
    assert (
        Digest.parse(str(digest))
        == Digest.parse(digest.file_name)
        == Digest.parse(f"sha256:{digest.hex.upper()}")
        == digest
    )


@given(_TEXT | st.from_regex(r"sha256[:-][0-9a-fA-F./]{60,68}\n?", fullmatch=True))
def test_any_text_is_a_digest_or_an_invalid_one(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except InvalidDigest:
        return
    assert text in {f"sha256{sign}{digits}" for sign in ":-" for digits in (text[7:],) if digits.lower() == digest.hex}


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_duration_is_what_its_printed_form_parses_to(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@given(st.text("0123456789.-+hmsnuµ ", max_size=40) | _TEXT)
@example("9" * 5000 + "h")
@example("." + "9" * 5000 + "h")
def test_any_text_is_a_duration_of_64_bits_or_an_invalid_one(text: str) -> None:
    try:
        nanoseconds = parse_duration(text)
    except InvalidDuration:
        return
    assert -(2**63) <= nanoseconds < 2**63


@given(_VALUES)
def test_any_value_is_a_keep_alive_or_a_bad_request(value: object) -> None:
    try:
        seconds = keep_alive(value)
    except BadRequest:
        return
    assert seconds == NEVER or 0 <= seconds < 2**63 / 10**9


@given(st.text("0123456789-+hms", max_size=30))
def test_any_setting_is_a_keep_alive_or_an_invalid_duration(text: str) -> None:
    try:
        seconds = keep_alive_setting(text)
    except InvalidDuration:
        return
    assert seconds >= 0


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}


@given(st.integers(1, 10**15))
def test_numbers_for_people_are_nearly_the_numbers(number: int) -> None:
    size, unit = human_bytes(number).removesuffix("B").split(" ")
    assert math.isclose(float(size) * _UNITS[unit], number, rel_tol=0.1)
    count = human_count(number)
    assert math.isclose(float(count.rstrip("KMB")) * _UNITS[count.lstrip("0123456789.")], number, rel_tol=0.34)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_what_is_longer_ago_is_never_told_as_less(one: int, other: int) -> None:
    now = datetime(2026, 9, 1, tzinfo=UTC)
    spans = [human_time(now - timedelta(seconds=seconds), now) for seconds in sorted((one, other))]
    assert spans == sorted(spans, key=_seconds)


def _seconds(span: str) -> float:
    """About how long a span is."""
    names = ("second", "minute", "hour", "day", "week", "month", "year")
    unit = next(number for number, name in enumerate(names) if name in span)
    count = next((int(word) for word in span.split() if word.isdigit()), 0 if span.startswith("Less") else 1)
    return count * (1, 60, 3600, 86400, 604800, 2592000, 31536000)[unit]


@given(MANIFESTS)
def test_a_manifest_is_what_its_file_says(manifest: Manifest) -> None:
    assert read_manifest(write_manifest(manifest)) == manifest
    assert len(manifest.blobs) <= len(manifest.layers) + 1


@given(MANIFESTS, st.data())
def test_a_damaged_manifest_is_another_one_or_a_bad_one(manifest: Manifest, data: st.DataObject) -> None:
    content = bytearray(write_manifest(manifest))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _read_or_refuse(bytes(content[: data.draw(st.integers(0, len(content)))]))


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_manifest_or_a_bad_one(content: bytes) -> None:
    _read_or_refuse(content)


def _read_or_refuse(content: bytes) -> None:
    with suppress(BadManifest):
        assert all(len(blob.hex) == 64 for blob in read_manifest(content).blobs)
    with suppress(BadManifest):
        assert isinstance(read_config(content).capabilities, list)


@given(CONFIGS)
def test_a_config_is_what_its_blob_says(config: ConfigBlob) -> None:
    assert read_config(write_config(config)) == config


@given(JSON)
def test_json_in_go_s_way_is_the_same_value_and_safe_in_a_page(value: Any) -> None:
    encoded = go_json(value)
    assert _same(json.loads(encoded), value)
    assert not set("<>&\u2028\u2029") & set(encoded.decode())


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-15)
    if isinstance(one, list):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


@given(OPTIONS)
def test_any_object_of_options_is_read_and_complains_only_when_asked(values: dict[str, Any]) -> None:
    asked = Asked.read(values)
    assert set(asked.unknown) == set(values) - set(NAMES)
    with suppress(InvalidOption):
        options = asked.checked()
        assert Asked.read(options.said()).checked() == options
        assert set(options.said()) == {name for name in values if name in NAMES and values[name] is not None}


def _options(values: dict[str, Any]) -> Options:
    return Asked.read(values).options


@given(OPTIONS.map(_options), OPTIONS.map(_options), OPTIONS.map(_options))
def test_layers_of_options_merge_in_any_grouping(first: Options, second: Options, third: Options) -> None:
    together = Options.merged(first, second, third)
    assert Options.merged(Options.merged(first, second), third) == together
    assert Options.merged(first, Options.merged(second, third)) == together
    assert Options.merged(first, Options()) == Options.merged(Options(), first) == first
    assert together.said() == first.said() | second.said() | third.said()
