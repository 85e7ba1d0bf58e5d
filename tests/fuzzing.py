"""Calls that nobody thought of, made from the server's own description, and whether their answers keep to it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from unittest import SkipTest

import jsonschema_rs
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.checks import response_headers_conformance as headers_conformance
from schemathesis.core.failures import FailureGroup

SECONDS = 30.0

MODELS = ("power-tiny", "power-tiny", "m", "nobody")
_ABLE = dict.fromkeys(("/api/embed", "/api/embeddings", "/v1/embeddings"), "b") | dict.fromkeys(
    ("/rerank", "/v1/rerank", "/v1/reranking", "/v2/rerank", "/api/rerank"), "r"
)
_STREAMS = ("application/x-ndjson", "text/event-stream")
_NOT_AIMED = ("/api/delete", "/api/pull", "/api/push", "/api/create", "/pull", "/api/copy")
_RELOADS = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "use_mlock", "flash_attention")
_LEAVES = ("keep_alive", "num_thread_batch", "draft_num_predict")
_LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict", "n")
_LATE = (
    r"option .*",
    r"invalid format: .*",
    r"json: cannot unmarshal .*",
)
"""What Ollama finds wrong with a request only once it works on it, and calls its own failure."""


@schemathesis.serializer("application/x-tar")
def _as_is(_context: Any, value: Any) -> bytes:
    """A body that is no tar, most likely."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


_Case = Case[Any]


class Finding(NamedTuple):
    """A call whose answer is not as described."""

    route: str
    sent: str
    status: int
    answered: str
    problem: str


def closed(description: dict[str, Any]) -> dict[str, Any]:
    """The description with answers that have no field beside those described: clients may bear more, this test not."""
    whole: dict[str, Any] = json.loads(json.dumps(description))
    schemas = whole["components"]["schemas"]
    told = [operation["responses"] for methods in whole["paths"].values() for operation in methods.values()]
    waiting, seen = set(_references(told)), set[str]()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= set(_references(schemas[name])) - seen
    for name in seen:
        if "properties" in schemas[name]:
            schemas[name]["additionalProperties"] = False
    return whole


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": str(reference)}:
            yield reference.rpartition("/")[2]
        case dict():
            for each in value.values():
                yield from _references(each)
        case list():
            for each in value:
                yield from _references(each)


class Fuzzer:
    """Calls every route of a description, each as it should be called and as it should not."""

    def __init__(self, url: str, description: dict[str, Any]) -> None:
        self._description = closed(description)
        self._schema = schemathesis.openapi.from_dict(self._description)
        self._schema.config.update(base_url=url)
        self._items: dict[str, Any] = {}
        self.calls = 0
        self.statuses: dict[int, int] = {}
        self.findings: list[Finding] = []

    def run(self, examples: int, number: int) -> None:
        """So many calls of every route, right ones and wrong ones each; one of a route that takes nothing.

        Those of the same number are the same.
        """
        for found in self._schema.get_all_operations():
            operation = found.ok()  # type: ignore[union-attr]  # a route that cannot be read is a failure here
            told = self._description["paths"][operation.path][operation.method]
            takes = "requestBody" in told or "parameters" in told
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)[: 1 + takes]:
                try:
                    self._play(operation.as_strategy(generation_mode=mode), examples if takes else 1, number)
                except (Unsatisfiable, SkipTest):
                    continue

    def _play(self, cases: Any, examples: int, number: int) -> None:
        @seed(number)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases, model=st.sampled_from(MODELS), aimed=st.integers(0, 9))
        def play(case: _Case, model: str, aimed: int) -> None:
            if aimed and case.operation.path not in _NOT_AIMED:
                if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
                    case.body = meant(case.body, pictures=aimed == 1)
                aim(case.body, _ABLE.get(case.operation.path, model), stream=aimed % 2 == 0)
            self._call(case)

        play()

    def _call(self, case: _Case) -> None:
        self.calls += 1
        try:
            response = case.call(timeout=SECONDS, allow_redirects=False)
        except Exception as error:  # noqa: BLE001 -- whatever a client raises is a finding
            self._note(case, 0, "", f"{type(error).__name__}: {error}")
            return
        self.statuses[response.status_code] = self.statuses.get(response.status_code, 0) + 1
        checks = [status_code_conformance, content_type_conformance, response_schema_conformance, headers_conformance]
        try:
            case.validate_response(response, checks=checks)
        except FailureGroup as group:
            for failure in group.exceptions:
                self._note(case, response.status_code, response.text, f"{type(failure).__name__}: {failure}")
        except AssertionError as failure:
            self._note(case, response.status_code, response.text, f"{type(failure).__name__}: {failure}")
        if response.status_code == 500 and not foreseen(response.text):
            self._note(case, 500, response.text, "a 500 that no sheet has")
        for line in self._lines(case, response):
            self._check_item(case, line)

    def _lines(self, case: _Case, response: Any) -> Iterator[Any]:
        kind = response.headers.get("content-type", [""])[0] if response.status_code == 200 else ""
        if kind.startswith("application/x-ndjson"):
            yield from map(json.loads, response.content.splitlines())
        elif kind.startswith("text/event-stream"):
            for line in response.content.split(b"\n"):
                if line.startswith(b"data: ") and line != b"data: [DONE]":
                    yield json.loads(line.removeprefix(b"data: "))

    def _check_item(self, case: _Case, item: Any) -> None:
        told = self._description["paths"][case.operation.path][case.method.lower()]["responses"]["200"]["content"]
        schema = next(each["schema"] for media, each in told.items() if media in _STREAMS)
        data = schema.get("properties", {}).get("data", {})
        schema = data.get("anyOf", [data])[-1].get("contentSchema", schema)
        label = case.operation.label
        if label not in self._items:
            self._items[label] = jsonschema_rs.Draft202012Validator(
                {**schema, "components": self._description["components"]}
            )
        if not self._items[label].is_valid(item):
            problems = "; ".join(str(error.message) for error in self._items[label].iter_errors(item))
            self._note(case, 200, json.dumps(item), f"no such piece of a stream: {problems}")

    def _note(self, case: _Case, status: int, answered: str, problem: str) -> None:
        sent = f"{case.method} {case.formatted_path} {case.query} {case.headers} {case.body!r}"
        self.findings.append(Finding(case.operation.label, sent[:1500], status, answered[:400], problem[:600]))


def foreseen(answered: str) -> bool:
    """Whether a 500 is one of those that Ollama gives to what is wrong with a request."""
    try:
        said = json.loads(answered)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(said, str) and any(re.fullmatch(each, said, re.DOTALL) for each in _LATE)


def aim(body: Any, model: str, *, stream: bool) -> None:
    """Let a body name a model that is here and ask for few words of it, and for a stream if it does not say."""
    if not isinstance(body, dict):
        return
    if isinstance(body.get("model"), str):
        body["model"] = model
    if body.get("stream", None) is None and stream:
        body["stream"] = True
    options = body.setdefault("options", {})
    for each in (body, options):
        if isinstance(each, dict):
            _shorten(each)
    if isinstance(options, dict):
        options.setdefault("num_predict", 2)


def meant(value: Any, *, pictures: bool = True) -> Any:
    """A body that is right as JSON Schema, as a client would write it: whole numbers without a point.

    Without pictures there are only texts, which every model reads.
    """
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case {"type": "image" | "image_url" | "input_audio" | "input_image"} if not pictures:
            return {"type": "text", "text": "a"}
        case dict():
            written = {name: meant(each, pictures=pictures) for name, each in value.items()}
            if isinstance(written.get("arguments"), str):
                written["arguments"] = "{}"
            if not pictures:
                written.pop("images", None)
            return written
        case list():
            return [meant(each, pictures=pictures) for each in value]
    return value


def _shorten(values: dict[str, Any]) -> None:
    for name in (*_RELOADS, *_LEAVES):
        values.pop(name, None)
    for name in _LENGTHS:
        if isinstance(values.get(name), int) and not isinstance(values[name], bool) and values[name] > 3:
            values[name] = 3


def described(findings: list[Finding]) -> str:
    """The findings, one of each kind, to be read by a person."""
    kinds: Mapping[tuple[str, int, str], Finding] = {
        (each.route, each.status, each.problem[:80]): each for each in findings
    }
    return "\n\n".join("\n".join(map(str, each)) for each in kinds.values())
