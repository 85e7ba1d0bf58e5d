"""Whatever the body of a request is, it is answered, and never with a bug."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from a3s_power.api.app import ENDPOINTS
from a3s_power.api.endpoint import Endpoint
from a3s_power.core.events import Done, Text
from a3s_power.core.requests import Detokenize, Embeddings, Ranked, Ranking, Tokenized
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, FakeTransfers, client, service

_EXAMPLES = int(os.environ.get("A3S_POWER_FUZZ", "0")) // 40 or 12
_BUG = "internal server error"
_POSTS = [endpoint for endpoint in ENDPOINTS if set(endpoint.methods) & {"POST", "DELETE"}]
_KEY_WORDS = (
    "type role content text thinking reasoning reasoning_content summary encrypted_content tool_calls tool_call_id "
    "tool_use_id call_id id name function functions arguments input output parameters properties required enum items "
    "input_schema description image_url url input_audio data source media_type images image schema json_schema format "
    "effort budget_tokens include_usage mode tools allowed_tools namespace index stop num_predict temperature seed "
    "num_ctx keep_alive logit_bias file_id detail status strict error_code title path digest"
)
_KEYS = _KEY_WORDS.split()
_VALUE_WORDS = (
    "text image_url input_audio input_text output_text input_image input_file message reasoning function_call "
    "function_call_output item_reference web_search_call function web_search tool tool_use tool_result thinking image "
    "document base64 user assistant system developer auto none required any json json_object json_schema enabled "
    "disabled high max minimal m power-tiny m:cloud hf.co/a/b http://x data:image/png;base64,AAAA data:;base64,! AAAA "
    'true 5m -1 1e999h {} [] {"a":1} sha256:00 ../.. C:\\x \x00 \u2028'
)
_WORDS = _VALUE_WORDS.split(" ")

_NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from((2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**300, -(10**300))),
    st.floats(allow_nan=False, allow_infinity=False),
)
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, st.sampled_from(_WORDS), st.text(max_size=12))
_KEY = st.one_of(st.sampled_from(_KEYS), st.text(max_size=4))
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_KEY, inner, max_size=5),
        st.dictionaries(_KEY, inner, max_size=5).flatmap(
            lambda value: st.sampled_from(_WORDS).map(lambda word: value | {"type": word})
        ),
    ),
    max_leaves=12,
)
_ODD = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        (
            b"",
            b"null",
            b"[]",
            b"{}{}",
            b'"\\ud800"',
            b'{"model":"\\ud800"}',
            b'{"\\udfff":1}',
            b'{"model":"\xff"}',
            b"\xef\xbb\xbf{}",
            b"[" * 100_000,
            b'{"a":' * 5_000,
            b'{"options":{"seed":' + b"9" * 5_000 + b"}}",
            b'{"model":"m","options":{"temperature":1e999}}',
            b'{"model":"m","num_ctx":1e400}',
            b'{"model":NaN}',
            b'{"model":"m","keep_alive":-0.0}',
        )
    ),
)


def _likely(endpoint: Endpoint) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies with fields that the route reads, most of them of wrong types, some of right ones."""
    fields = [] if endpoint.body is None else list(endpoint.body.__struct_encode_fields__)
    shaped = {
        "model": st.just("m"),
        "name": st.just("m"),
        "query": st.just("q"),
        "max_tokens": st.just(3),
        "messages": st.lists(
            st.dictionaries(st.sampled_from(("role", "content", "type", "tool_calls")), _VALUES), max_size=3
        ),
    }
    return st.fixed_dictionaries(
        {}, optional={name: st.one_of(_VALUES, _VALUES, shaped.get(name, _VALUES)) for name in fields}
    ).flatmap(lambda body: st.booleans().map(lambda named: body | {"model": "m"} if named else body))


def _encoded(value: Any) -> bytes:
    """As JSON; what cannot be written as UTF-8 is written as an escape."""
    return json.dumps(value).encode()


class _Talker(FakeInference):
    """Knows every token."""

    async def detokenize(self, request: Detokenize) -> Tokenized:
        """A word, whichever tokens they are."""
        return Tokenized(text="a", tokens=request.tokens)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server whose model answers every request with a word."""
    inference = _Talker(
        Text("a"),
        Done(reason="stop", usage=Usage()),
        vectors=Embeddings(vectors=((0.5,),)),
        ranking=Ranking(results=(Ranked(index=0, score=0.5, logit=0.0),)),
    )
    played = service(tmp_path_factory.mktemp("models"), inference, transfers=FakeTransfers())
    with client(tmp_path_factory.mktemp("others"), played) as found:
        yield found


@pytest.mark.parametrize("endpoint", _POSTS, ids=lambda endpoint: f"{endpoint.methods[0]} {endpoint.path}")
def test_no_body_is_answered_with_a_bug(http: TestClient, endpoint: Endpoint) -> None:
    path = endpoint.path.replace("{digest}", "sha256:" + "0" * 64).replace("{", "").replace("}", "")

    @settings(max_examples=_EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(
        body=st.one_of(_likely(endpoint).map(_encoded), _likely(endpoint).map(_encoded), _VALUES.map(_encoded), _ODD)
    )
    def answered(body: bytes) -> None:
        answer = http.request(endpoint.methods[-1], path, content=body)
        assert 200 <= answer.status_code < 600
        assert _BUG not in answer.text, answer.text

    answered()
