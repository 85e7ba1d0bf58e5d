"""What the official client makes of failures and of waiting: its exceptions, and what it does not trip over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest

from a3s_power.api.streams import EventResponse
from a3s_power.core.errors import (
    EngineRefused,
    LoadFailed,
    ModelNotFound,
    NotAllowed,
    PowerError,
    QueueFull,
    RunnerDied,
)
from a3s_power.core.events import Done, Event, Text
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, service
from tests.running import playing

_ASKED: Any = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
_DONE = Done("stop", Usage(prompt_tokens=3, output_tokens=2))


def _with_client(
    folder: Path, script: tuple[Event | Exception, ...], work: Callable[[anthropic.Anthropic], None]
) -> None:
    """Do something with a client of a server whose model says this."""
    with (
        playing(service(folder, FakeInference(*script))) as port,
        anthropic.Anthropic(base_url=f"http://127.0.0.1:{port}", api_key="any", max_retries=0) as client,
    ):
        work(client)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "exception", "kind"),
    [
        (ModelNotFound("m"), anthropic.NotFoundError, "not_found_error"),
        (EngineRefused("bad"), anthropic.BadRequestError, "invalid_request_error"),
        (NotAllowed("no"), anthropic.PermissionDeniedError, "permission_error"),
        (QueueFull(), anthropic.InternalServerError, "overloaded_error"),
        (LoadFailed("no"), anthropic.InternalServerError, "api_error"),
    ],
)
def test_a_failure_is_an_exception_of_its_class(
    tmp_path: Path, error: PowerError, exception: type[anthropic.APIStatusError], kind: str, *, stream: bool
) -> None:
    """Rows 44, 47, 48."""

    def work(client: anthropic.Anthropic) -> None:
        with pytest.raises(exception) as raised:
            client.messages.create(**_ASKED, stream=stream)
        assert (raised.value.type, raised.value.status_code) == (kind, error.status)
        assert raised.value.request_id

    _with_client(tmp_path, (error,), work)


def test_a_failure_in_mid_stream_is_an_exception(tmp_path: Path) -> None:
    """Row 41."""

    def work(client: anthropic.Anthropic) -> None:
        said: list[str] = []
        with (
            pytest.raises(anthropic.APIStatusError, match="it died") as raised,
            client.messages.stream(**_ASKED) as stream,
        ):
            said.extend(stream.text_stream)
        assert (said, raised.value.type) == (["a"], "api_error")

    _with_client(tmp_path, (Text("a"), RunnerDied("it died")), work)


def test_signs_of_life_are_no_events_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 42: with one between all words."""
    monkeypatch.setattr(EventResponse, "beat_seconds", 0.0)

    def work(client: anthropic.Anthropic) -> None:
        with client.messages.stream(**_ASKED) as stream:
            types = {event.type for event in stream}
            assert stream.get_final_text() == "ab"
        assert "ping" not in types

    _with_client(tmp_path, (Text("a"), Text("b"), _DONE), work)
