"""Names: what parses to what, what is no name, and where a name leads."""

import pytest

from a3s_power.core.errors import BadRequest, InvalidName
from a3s_power.core.names import ModelName, Reference

DEFAULT = ("registry.ollama.ai", "library")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("llama3.2", (*DEFAULT, "llama3.2", "latest")),
        ("llama3.2:1b", (*DEFAULT, "llama3.2", "1b")),
        ("me/chat", (DEFAULT[0], "me", "chat", "latest")),
        ("hf.co/user/repo:Q8_0", ("hf.co", "user", "repo", "Q8_0")),
        ("localhost:5000/ns/m", ("localhost:5000", "ns", "m", "latest")),
        ("localhost:5000/ns/m:v1", ("localhost:5000", "ns", "m", "v1")),
        ("http://localhost:5000/ns/m", ("localhost:5000", "ns", "m", "latest")),
        ("https://registry.ollama.ai/library/m:t", (*DEFAULT, "m", "t")),
        ("_m", (*DEFAULT, "_m", "latest")),
        ("MiXed:CaSe", (*DEFAULT, "MiXed", "CaSe")),
        (" m:t\n", (*DEFAULT, "m", "t")),
        ("m" * 80 + ":" + "t" * 80, (*DEFAULT, "m" * 80, "t" * 80)),
        ("h" * 350 + "/n/m", ("h" * 350, "n", "m", "latest")),
    ],
)
def test_a_text_is_read_into_its_parts(text: str, parts: tuple[str, str, str, str]) -> None:
    assert ModelName.parse(text).parts == parts


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ":", "/", ":t", "m:", "/m", "m/", "a//b", "//", "a/b/c/d", "://", "https://", "https://m"),
        *("https://ns/m", "a://b://h/n/m", "file:///etc/passwd", "/etc/passwd", "./x", "~/x", "C:\\x"),
        *("..", ".", "../x", "a/../b", "../../x", "a/..", "x:..", ".hidden", "-x", "-rf", "--help", "a\\b"),
        *("a:b:c", "a:b/c", "localhost:5000/m", "ns.dot/m", "a b", "a\nb", "a\x00", "a\x1b[31m", "%2e%2e"),
        *("m@sha256:" + "0" * 64, "é", "\N{ROCKET}", "\u202em", "ａ", "m\u0661", "K\u212a"),
        *("m" * 81, "m:" + "t" * 81, "n" * 81 + "/m", "h" * 351 + "/n/m", "m" * 2**20),
    ],
)
def test_what_is_no_name_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InvalidName, match=r"^invalid model name$"):
        ModelName.parse(text)


@pytest.mark.parametrize("bad", ["..", ".", "", "a/b", "a\\b", "a\0", "a\n", "-a", "é"])
@pytest.mark.parametrize("place", range(4))
def test_no_part_can_be_a_path_however_the_name_is_made(bad: str, place: int) -> None:
    parts = ["host", "namespace", "model", "tag"]
    parts[place] = bad
    with pytest.raises(InvalidName):
        ModelName(*parts)


@pytest.mark.parametrize(
    ("text", "short", "full"),
    [
        ("chat", "chat:latest", "registry.ollama.ai/library/chat:latest"),
        ("Library/chat", "chat:latest", "registry.ollama.ai/Library/chat:latest"),
        ("REGISTRY.ollama.ai/ns/c:v1", "ns/c:v1", "REGISTRY.ollama.ai/ns/c:v1"),
        ("hf.co/u/m", "hf.co/u/m:latest", "hf.co/u/m:latest"),
        ("hf.co/library/m", "hf.co/library/m:latest", "hf.co/library/m:latest"),
    ],
)
def test_the_short_form_leaves_out_the_defaults_and_shows_the_tag(text: str, short: str, full: str) -> None:
    name = ModelName.parse(text)
    assert (name.short, str(name), name.full) == (short, short, full)


@pytest.mark.parametrize(
    ("text", "name", "source"),
    [
        ("gpt-oss:20b", "gpt-oss:20b", ""),
        ("gpt-oss:20b:cloud", "gpt-oss:20b", "cloud"),
        ("gpt-oss:20b-cloud", "gpt-oss:20b", "cloud"),
        ("gpt-oss:20b-CLOUD", "gpt-oss:20b", "cloud"),
        ("gpt-oss:cloud", "gpt-oss:latest", "cloud"),
        ("gpt-oss:Cloud", "gpt-oss:latest", "cloud"),
        ("x:local", "x:latest", "local"),
        ("x:7b:LOCAL", "x:7b", "local"),
        ("ns/cloud", "ns/cloud:latest", ""),
        ("cloud", "cloud:latest", ""),
        ("local", "local:latest", ""),
    ],
)
def test_a_reference_has_its_source_split_off(text: str, name: str, source: str) -> None:
    reference = Reference.parse(text)
    assert (reference.name.short, reference.source) == (name, source)


@pytest.mark.parametrize("text", ["x:cloud:local", "x:local:cloud", "x:7b-cloud:local", "x:7b:local:cloud"])
def test_a_reference_has_one_source_only(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Reference.parse(text)
    assert caught.value.message == f'use either :local or :cloud, not both: "{text}"'


@pytest.mark.parametrize("text", ["", ":cloud", ":local", "x:-cloud", "../x:cloud", "x y:local"])
def test_a_reference_needs_a_name(text: str) -> None:
    with pytest.raises(InvalidName):
        Reference.parse(text)
