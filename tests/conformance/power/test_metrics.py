"""`GET /metrics`, on a real server."""

import httpx2


def _value(http: httpx2.Client, line: str) -> float:
    found = [each for each in http.get("/metrics").text.splitlines() if each.startswith(f"{line} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def test_it_is_text_for_prometheus(http: httpx2.Client) -> None:
    answer = http.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "# TYPE power_models_loaded gauge\n" in answer.text


def test_a_prompt_that_was_cut_is_counted(http: httpx2.Client) -> None:
    """Beside the answer itself, which says so, and the log."""
    line = 'power_prompt_truncated_total{model="registry.ollama.ai/library/m:latest"}'
    before = _value(http, line)
    body = {"model": "m", "prompt": "a" * 2000, "stream": False, "options": {"num_predict": 1}}
    assert http.post("/api/generate", json=body).json()["cut_tokens"] > 0
    assert _value(http, line) == before + 1
    assert http.post("/api/generate", json={**body, "prompt": "a"}).status_code == 200
    assert _value(http, line) == before + 1
    assert _value(http, "power_models_loaded") >= 1


def test_a_text_to_embed_that_was_cut_is_counted(http: httpx2.Client) -> None:
    line = 'power_prompt_truncated_total{model="registry.ollama.ai/library/b:latest"}'
    before = _value(http, line)
    assert http.post("/api/embed", json={"model": "b", "input": ["a", "a" * 2000]}).status_code == 200
    assert _value(http, line) == before + 1
