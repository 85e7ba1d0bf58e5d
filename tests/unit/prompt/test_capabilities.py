"""What a model can do, and which template makes its prompts."""

from typing import Any, Final

import pytest

from a3s_power.core.errors import BadRequest
from a3s_power.core.manifest import ConfigBlob
from a3s_power.core.model import Facts
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from a3s_power.prompt.capabilities import Way, capabilities, check_names, way
from tests.shared import BUILTIN_MODEL

TOOLS: Final = "{{ tools }}"
ROUND_TRIP: Final = "{{ tools }}{{ message.tool_calls }}{% if message.role == 'tool' %}<tool_response>{% endif %}"
THINKS: Final = "<think></think>"
GO_TOOLS: Final = "{{ range .Messages }}{{ .Content }}{{ end }}{{ .Tools }}"
GO_ROUND_TRIP: Final = (
    '{{ .Tools }}{{ range .Messages }}{{ if .ToolCalls }}x{{ else if eq .Role "tool" }}y{{ end }}{{ end }}'
)
GO_THINKS: Final = "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ end }}"


def can(template: str = "", config: ConfigBlob | None = None, projector: Facts | None = None, **said: Any) -> set[str]:
    return set(capabilities(Facts(architecture="llama", **said), config or ConfigBlob(), template, projector))


def test_the_built_in_model_completes_thinks_and_calls_tools() -> None:
    found = capabilities(facts(read_header(BUILTIN_MODEL)), ConfigBlob())
    assert found == ("completion", "tools", "thinking")


@pytest.mark.parametrize(
    ("chat_template", "more"),
    [
        ("", set()),
        ("{{ messages }}", set()),
        (TOOLS, {"tools"}),
        ("tool_call", {"tools"}),
        (THINKS, {"thinking"}),
        ("<think>", set()),
        ("{{ content.split('</think>') }}", {"thinking"}),
        ('{{ content.split("</think>") }}', {"thinking"}),
        ("{{ content.split('</think>') }}{{ reasoning_content }}", set()),
        ("{{ content.split('</think>') }}<SPECIAL_12>", set()),
        ("[THINK][/THINK]", {"thinking"}),
    ],
)
def test_what_a_jinja_template_adds(chat_template: str, more: set[str]) -> None:
    assert can(chat_template=chat_template) == {"completion", *more}


@pytest.mark.parametrize(
    ("template", "more"),
    [
        ("{{ .Prompt }}", set()),
        (GO_TOOLS, {"tools"}),
        ("{{ .Prompt }}{{ .Suffix }}", {"insert"}),
        (GO_THINKS, {"thinking"}),
        ("{{ .Broken", set()),
        ('{{ "tools" }} .Tools', set()),
    ],
)
def test_what_a_go_template_adds(template: str, more: set[str]) -> None:
    assert can(template) == {"completion", *more}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"pooling": 1}, {"embedding"}),
        ({"pooling": 4}, {"rerank"}),
        ({"vision": True}, {"completion", "vision"}),
        ({"audio": True}, {"completion", "audio"}),
        ({"projector": Facts(architecture="clip")}, {"completion", "vision"}),
        ({"projector": Facts(architecture="clip", audio=True)}, {"completion", "vision", "audio"}),
        ({"config": ConfigBlob(parser="qwen3-thinking")}, {"completion", "tools", "thinking"}),
        ({"config": ConfigBlob(parser="unheard-of")}, {"completion"}),
        ({"config": ConfigBlob(model_family="gptoss")}, {"completion", "thinking"}),
        ({"config": ConfigBlob(capabilities=["tools", "flight"])}, {"completion", "tools"}),
        ({"config": ConfigBlob(model_family="nemotron_h_omni"), "audio": True}, {"completion"}),
        (
            {"config": ConfigBlob(model_format="safetensors", renderer="gemma4-small"), "vision": True, "audio": True},
            {"completion"},
        ),
        (
            {"config": ConfigBlob(model_format="safetensors", renderer="glimmer"), "vision": True, "audio": True},
            {"completion", "vision"},
        ),
    ],
)
def test_what_files_and_config_say(said: dict[str, Any], found: set[str]) -> None:
    assert can(**said) == found


def test_each_capability_is_named_once() -> None:
    config = ConfigBlob(capabilities=["tools", "completion"], parser="qwen3")
    assert capabilities(Facts(architecture="llama", chat_template=TOOLS), config) == ("tools", "completion")


@pytest.mark.parametrize(
    ("template", "chat_template", "kind"),
    [
        ("", "", "jinja"),
        ("", TOOLS, "jinja"),
        (GO_TOOLS, "", "go"),
        (GO_TOOLS, "{{ messages }}", "go"),
        (GO_TOOLS, TOOLS, "go"),
        (GO_TOOLS, TOOLS + THINKS, "jinja"),
        (GO_TOOLS, ROUND_TRIP, "jinja"),
        (GO_ROUND_TRIP, ROUND_TRIP, "go"),
        (GO_ROUND_TRIP, TOOLS + THINKS, "go"),
        (GO_ROUND_TRIP, ROUND_TRIP + THINKS, "jinja"),
        ("{{ .Prompt }}", THINKS, "jinja"),
    ],
)
def test_the_template_that_can_do_more_makes_the_prompts(template: str, chat_template: str, kind: str) -> None:
    assert way(ConfigBlob(), template, chat_template).kind == kind


@pytest.mark.parametrize(
    ("prefer_go", "template", "chat_template", "kind"),
    [
        (True, GO_TOOLS, TOOLS + THINKS, "go"),
        (True, "", TOOLS, "jinja"),
        (False, GO_TOOLS, TOOLS, "jinja"),
        (False, GO_TOOLS, "", "jinja"),
    ],
)
def test_the_setting_decides_where_it_says_something(
    prefer_go: bool, template: str, chat_template: str, kind: str
) -> None:
    assert way(ConfigBlob(), template, chat_template, prefer_go=prefer_go).kind == kind


HARMONY: Final = "<|start|>{{ .Prompt }}<|end|>"


@pytest.mark.parametrize(
    ("config", "template", "chat_template", "chosen"),
    [
        (ConfigBlob(renderer="qwen3-coder"), GO_TOOLS, TOOLS, Way("renderer", "qwen3-coder")),
        (ConfigBlob(renderer="qwen3-coder"), "", "", Way("renderer", "qwen3-coder")),
        (ConfigBlob(renderer="qwen3.5", parser="qwen3.5"), "", TOOLS, Way("renderer", "qwen3.5", "qwen3.5")),
        (ConfigBlob(parser="qwen3"), GO_TOOLS, TOOLS, Way("go", "", "qwen3")),
        (ConfigBlob(parser="qwen3"), "", TOOLS, Way("jinja", "", "qwen3")),
        (ConfigBlob(model_family="gptoss"), HARMONY, "{{ messages }}", Way("go", "", "harmony")),
        (ConfigBlob(model_family="gpt-oss"), HARMONY, "", Way("go", "", "harmony")),
        (ConfigBlob(model_family="gptoss"), "{{ .Prompt }}<|end|>", "", Way("go")),
        (ConfigBlob(model_family="llama"), HARMONY, "", Way("go")),
    ],
)
def test_what_a_model_names_goes_before_its_templates(
    config: ConfigBlob, template: str, chat_template: str, chosen: Way
) -> None:
    assert way(config, template, chat_template) == chosen


def test_a_setting_does_not_outweigh_what_the_model_names() -> None:
    assert way(ConfigBlob(parser="qwen3"), GO_TOOLS, TOOLS, prefer_go=False).kind == "go"
    assert way(ConfigBlob(renderer="lfm2"), GO_TOOLS, TOOLS, prefer_go=True).kind == "renderer"


@pytest.mark.parametrize(
    ("config", "template", "chat_template", "note"),
    [
        (ConfigBlob(), "", "", "the model has no chat template: ChatML is used"),
        (ConfigBlob(), GO_TOOLS, "", ""),
        (ConfigBlob(), "", TOOLS, ""),
        (ConfigBlob(renderer="qwen3-coder"), "", TOOLS, ""),
        (
            ConfigBlob(renderer="gemma4"),
            GO_TOOLS,
            TOOLS,
            "the model asks for gemma4; its jinja template is used in its stead",
        ),
        (
            ConfigBlob(renderer="gemma4"),
            GO_TOOLS,
            "",
            "the model asks for gemma4; its go template is used in its stead",
        ),
        (ConfigBlob(renderer="gemma4"), "", "", "the model has no chat template: ChatML is used"),
    ],
)
def test_what_is_odd_about_a_way_is_said(config: ConfigBlob, template: str, chat_template: str, note: str) -> None:
    assert way(config, template, chat_template).note == note


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (ConfigBlob(renderer="../../x"), r'^unknown renderer "\.\./\.\./x"$'),
        (ConfigBlob(parser="__import__('os')"), r"""^unknown parser "__import__\('os'\)"$"""),
    ],
)
def test_a_name_that_nobody_knows_is_refused(config: ConfigBlob, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        check_names(config)
    check_names(ConfigBlob(renderer="gemma4-small", parser="gemma4"))


@pytest.mark.parametrize(
    ("config", "template", "more"),
    [
        (ConfigBlob(renderer="qwen3-coder"), "", {"tools"}),
        (ConfigBlob(renderer="deepseek3.1"), "", {"tools", "thinking"}),
        (ConfigBlob(renderer="qwen3-coder"), "{{ .Prompt }}{{ .Suffix }}", {"insert"}),
        (ConfigBlob(renderer="lfm2", parser="lfm2-thinking"), "{{ .Prompt }}", {"tools", "thinking"}),
    ],
)
def test_what_a_named_renderer_adds(config: ConfigBlob, template: str, more: set[str]) -> None:
    assert can(template, config, chat_template="{{ messages }}") == {"completion", *more}
