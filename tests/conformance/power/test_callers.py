"""Headers that say how urgent a request is, on a real server."""

import httpx2
import pytest


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        ({"X-Power-Priority": "batch", "X-Power-Deadline": "1m"}, 200, '"done":true'),
        ({"X-Power-Priority": "normal", "Authorization": "Bearer x"}, 200, '"done":true'),
        ({"X-Power-Priority": "urgent"}, 400, '{"error":"X-Power-Priority must be'),
        ({"X-Power-Deadline": "soon"}, 400, '{"error":"X-Power-Deadline: '),
    ],
)
def test_a_request_may_say_how_urgent_it_is(
    http: httpx2.Client, headers: dict[str, str], status: int, part: str
) -> None:
    body = {"model": "m", "prompt": "a", "stream": False, "options": {"num_predict": 2}}
    answer = http.post("/api/generate", json=body, headers=headers)
    assert (answer.status_code, part in answer.text) == (status, True), answer.text
