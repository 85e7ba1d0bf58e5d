"""Our own routes for tokens: ids that the engine has, texts that come back whole, and what a prompt really costs."""

from typing import Any

import httpx2
import pytest

TEXT = "How är you? 👍 <|im_start|>"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


def _asked(http: httpx2.Client, path: str, **body: Any) -> Any:
    answer = http.post(path, json={"model": "power-tiny"} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("there", "back", "name"),
    [("/api/tokenize", "/api/detokenize", "text"), ("/tokenize", "/detokenize", "content")],
)
def test_a_text_becomes_tokens_and_comes_back(http: httpx2.Client, there: str, back: str, name: str) -> None:
    made = _asked(http, there, **{name: TEXT})
    assert made["count"] == len(made["tokens"]) > 5
    assert _asked(http, back, tokens=made["tokens"])[name] == TEXT


def test_a_special_token_is_one_token_or_plain_text(http: httpx2.Client) -> None:
    special = _asked(http, "/api/tokenize", text="<|im_start|>")
    plain = _asked(http, "/api/tokenize", text="<|im_start|>", parse_special=False)
    assert len(special["tokens"]) == 1 < len(plain["tokens"])


def test_the_vocabularys_first_token_is_there_when_it_is_asked_for(http: httpx2.Client) -> None:
    without = _asked(http, "/api/tokenize", model="m", text="ab")["tokens"]
    assert _asked(http, "/api/tokenize", model="m", text="ab", add_special=True)["tokens"] == [1, *without]
    assert _asked(http, "/api/tokenize", model="m", text="<s>ab", add_special=True)["tokens"] == [1, *without]


def test_a_model_that_embeds_has_tokens_too(http: httpx2.Client) -> None:
    assert _asked(http, "/api/tokenize", model="b", text="ab")["count"] == 3


def test_a_conversation_counts_what_it_will_cost(http: httpx2.Client) -> None:
    answer = _asked(http, "/api/chat", messages=MESSAGES, stream=False, options={"num_predict": 1})
    made = _asked(http, "/api/tokenize", messages=MESSAGES)
    rendered = _asked(http, "/apply-template", messages=MESSAGES)
    assert made["count"] == rendered["count"] == answer["prompt_eval_count"]
    assert made["prompt"] == rendered["prompt"]
    assert rendered["prompt"].endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/api/tokenize", {"model": "", "text": "a"}, 400, "model is required"),
        ("/api/tokenize", {}, 400, "text or messages is required"),
        ("/api/tokenize", {"model": "absent", "text": "a"}, 404, "model 'absent' not found"),
        ("/api/tokenize", {"text": "a", "options": {"num_ctx": "x"}}, 500, 'option "num_ctx" must be of type integer'),
        ("/api/detokenize", {"model": "absent", "tokens": [1]}, 404, "model 'absent' not found"),
        ("/apply-template", {}, 400, "messages is required"),
    ],
)
def test_what_cannot_be_is_refused(
    http: httpx2.Client, path: str, body: dict[str, Any], status: int, error: str
) -> None:
    answer = http.post(path, json={"model": "power-tiny"} | body)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_a_token_that_there_is_not_is_refused(http: httpx2.Client) -> None:
    answer = http.post("/api/detokenize", json={"model": "power-tiny", "tokens": [10**6]})
    assert answer.status_code == 400
    assert "invalid tokens" in answer.text
