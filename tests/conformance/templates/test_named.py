"""Models that name a renderer or a parser, on a real server."""

from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

NAME: Final = "named-format"
TOOL: Final = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}


@pytest.fixture(autouse=True)
def left_as_found(http: httpx2.Client) -> Iterator[None]:
    yield
    http.request("DELETE", "/api/delete", json={"model": NAME})


def made(http: httpx2.Client, **said: Any) -> httpx2.Response:
    return http.post("/api/create", json={"model": NAME, "from": "power-tiny", "stream": False, **said})


def rendered(http: httpx2.Client, **asked: Any) -> str:
    body = {"model": NAME, "messages": [{"role": "user", "content": "hi"}], "_debug_render_only": True, "stream": False}
    text: str = http.post("/api/chat", json=body | asked).json()["_debug_info"]["rendered_template"]
    return text


@pytest.mark.parametrize(
    ("renderer", "end"),
    [
        ("qwen3.5", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n"),
        ("glm-4.7", "<|user|>hi<|assistant|><think>"),
        ("deepseek3.1", "<｜User｜>hi<｜Assistant｜><think>"),
    ],
)
def test_a_named_renderer_writes_the_prompt(http: httpx2.Client, renderer: str, end: str) -> None:
    assert made(http, renderer=renderer).status_code == 200
    assert rendered(http).endswith(end)
    assert '"f"' in rendered(http, tools=[TOOL]) or "f\n" in rendered(http, tools=[TOOL])


def test_a_renderer_that_is_not_written_here_gives_way_to_the_models_template(http: httpx2.Client) -> None:
    assert made(http, renderer="laguna").status_code == 200
    assert rendered(http, think=False) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_a_go_template_is_read_by_the_named_parser(http: httpx2.Client) -> None:
    template = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}assistant:"
    assert made(http, template=template, parser="qwen3").status_code == 200
    assert rendered(http) == "user: hi\nassistant:"
    shown = http.post("/api/show", json={"model": NAME}).json()
    assert "tools" in shown["capabilities"]
    assert shown["template"] == template


@pytest.mark.parametrize("key", ["renderer", "parser"])
def test_a_name_that_nobody_knows_is_refused(http: httpx2.Client, key: str) -> None:
    """TPL-07."""
    refused = made(http, **{key: "../../x"})
    assert refused.status_code == 400
    assert refused.json() == {"error": f'unknown {key} "../../x"'}
