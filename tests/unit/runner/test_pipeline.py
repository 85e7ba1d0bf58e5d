"""What one generation goes through in the child, on an engine whose tokens are words."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from a3s_power.core.errors import BadTemplate, PromptTooLong
from a3s_power.core.events import Done, Event, Rendered, Text, Thinking, ToolCalls
from a3s_power.core.messages import Message, Tool
from a3s_power.core.model import ModelFiles
from a3s_power.core.options import DEFAULTS, Options
from a3s_power.engines.echo import Echo
from a3s_power.engines.engine import Job, Loaded, LoadOptions, Outcome, Piece, prompt_too_long
from a3s_power.prompt.fit import TOO_LONG
from a3s_power.runner import prompts
from a3s_power.runner.frames import Run
from a3s_power.runner.pipeline import Pipeline

# A turn is two words in this template, so that everything can be counted: `role` and ` content`.
TEMPLATE = "{% for message in messages %}{{ message.role }} {{ message.content }}\n{% endfor %}"
NEVER: Callable[[], None] = lambda: None  # noqa: E731


class Scripted(Echo):
    """Echo that answers a script instead, and keeps the jobs it was given."""

    def __init__(self, *script: str) -> None:
        super().__init__()
        self.script = script
        self.jobs = list[tuple[Any, int, Any, Any]]()

    def generate(self, job: Job, emit: Callable[[Piece], None]) -> Outcome:
        self.jobs.append((job.prompt, job.max_tokens, tuple(job.stop), tuple(job.visible)))
        tokens = job.prompt if not isinstance(job.prompt, str) else self.tokenize(job.prompt)
        if len(tokens) >= self._limit:
            raise prompt_too_long(len(tokens), self._limit)
        for text in self.script:
            emit(Piece(text))
        return Outcome(reason="stop", prompt_tokens=len(tokens), output_tokens=len(self.script))


def _pipeline(engine: Echo, *, context: int = 100, template: str = TEMPLATE, **loaded: Any) -> Pipeline:
    engine.load(ModelFiles(weights=""), LoadOptions(context_length=context), lambda _: None)
    return Pipeline(
        engine,
        Loaded(context_length=context, parallel=1, memory_bytes=0, chat_template=template, **loaded),
    )


def _run(pipeline: Pipeline, **request: Any) -> tuple[list[Event], Any]:
    options = Options.merged(DEFAULTS, request.pop("options", Options()))
    said = list[Event]()
    return said, pipeline.run(Run(options=options, **request), Job("", options), said.append, NEVER)


def _messages(count: int) -> tuple[Message, ...]:
    return tuple(Message(role="user" if n % 2 == 0 else "assistant", content=f"m{n}") for n in range(count))


def test_a_raw_text_goes_through_untouched() -> None:
    engine = Scripted("<think>", "a</think> b", "<tool_call>")
    said, done = _run(_pipeline(engine), text="<|im_start|>x")
    assert said == [Text("<think>"), Text("a</think> b"), Text("<tool_call>")]
    assert engine.jobs[0][0] == "<|im_start|>x"
    assert (done.reason, done.usage.prompt_tokens, done.usage.output_tokens) == ("stop", 1, 3)


def test_messages_are_rendered_with_the_models_template() -> None:
    engine = Scripted("yes")
    _run(_pipeline(engine), messages=_messages(3))
    assert engine.jobs[0][0] == "user m0\nassistant m1\nuser m2\n"


def test_a_prompt_may_be_all_that_is_wanted() -> None:
    engine = Scripted("never")
    said, rendered = _run(_pipeline(engine), messages=_messages(1), render_only=True)
    assert (said, rendered, engine.jobs) == ([], Rendered("user m0\n", 0, 3), [])


def test_thinking_and_calls_are_told_apart_from_the_answer() -> None:
    template = TEMPLATE + "{# <think></think> <tool_call></tool_call> #}"
    engine = Scripted(
        "<think>hm", "</think>", "\n\nWell", '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
    )
    said, _ = _run(_pipeline(engine, template=template), messages=_messages(1), tools=(Tool(name="f"),))
    assert Thinking("hm") in said
    assert Text("Well") in said
    (calls,) = (event.calls for event in said if isinstance(event, ToolCalls))
    assert [(call.name, call.arguments) for call in calls] == [("f", {"a": 1})]
    assert "<think>" in engine.jobs[0][3]


def test_calls_are_left_alone_where_nobody_wants_them_parsed() -> None:
    template = TEMPLATE + "{# <tool_call></tool_call> #}"
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    said, _ = _run(_pipeline(Scripted(call), template=template), messages=_messages(1), parse_tools=False)
    assert said == [Text(call)]


@pytest.mark.parametrize(
    ("asked", "raw", "chat"),
    [
        (-1, 1000, 1000),
        (-2, 1000, 1000),
        (None, 1000, 1000),
        (10_000, 1000, 1000),
        (1000, 1000, 1000),
        (5, 5, 5),
        (0, 1000, 0),
    ],
)
def test_answers_are_limited_as_with_ollama(asked: int | None, raw: int, chat: int) -> None:
    options = Options(num_predict=asked)
    engine = Scripted()
    pipeline = _pipeline(engine)
    _run(pipeline, text="x", options=options)
    _run(pipeline, messages=_messages(1), options=options)
    assert [job[1] for job in engine.jobs] == [raw, chat]


def test_stop_texts_reach_the_engine() -> None:
    engine = Scripted()
    _run(_pipeline(engine), text="x", options=Options(stop=("a", "b")))
    assert engine.jobs[0][2] == ("a", "b")


# Prompts that are too long.


def test_a_conversation_loses_its_oldest_messages_only_when_the_engine_refuses_it() -> None:
    engine = Scripted("yes")
    pipeline = _pipeline(engine, context=12)
    _, fits = _run(pipeline, messages=_messages(5))
    assert fits.usage.dropped_messages == 0
    assert len(engine.jobs) == 1
    _, cut = _run(pipeline, messages=_messages(9))
    assert engine.jobs[-1][0] == "user m4\nassistant m5\nuser m6\nassistant m7\nuser m8\n"
    assert (cut.usage.dropped_messages, cut.usage.cut_tokens) == (4, 0)
    assert len(engine.jobs) == 3


def test_a_system_message_stays() -> None:
    engine = Scripted("yes")
    system = Message(role="system", content="be")
    _run(_pipeline(engine, context=8), messages=(system, *_messages(7)))
    assert engine.jobs[-1][0] == "system be\nassistant m5\nuser m6\n"


def test_nothing_is_cut_where_that_is_forbidden() -> None:
    engine = Scripted()
    with pytest.raises(PromptTooLong, match='"n_prompt_tokens":19,"n_ctx":12'):
        _run(_pipeline(engine, context=12), messages=_messages(9), truncate=False)
    assert len(engine.jobs) == 1


def test_a_chat_whose_last_message_is_too_long_is_the_engines_to_refuse() -> None:
    with pytest.raises(PromptTooLong, match="exceeds the available context size"):
        _run(_pipeline(Scripted(), context=4), messages=(Message(role="user", content="a b c d e"),))


def test_a_prompt_that_is_too_long_loses_its_middle() -> None:
    engine = Scripted("yes")
    words = [f" w{n}" for n in range(40)]
    _, done = _run(_pipeline(engine, context=20), text="".join(words), options=Options(num_keep=4))
    kept = engine.detokenize(engine.jobs[-1][0])
    assert kept == "".join(words[:4] + words[-8:])
    assert done.usage.cut_tokens == 28
    assert done.usage.prompt_tokens == 12


def test_a_beginning_that_the_engine_adds_is_kept_when_the_middle_goes() -> None:
    engine = Scripted("yes")
    pipeline = _pipeline(engine, context=20, bos="<s>", adds_bos=True)
    _run(pipeline, text=" w" * 40, options=Options(num_keep=2))
    first, *_ = engine.jobs[-1][0]
    assert engine.detokenize([first]) == "<s>"


def test_without_shift_a_prompt_that_is_too_long_is_refused_in_ollamas_words() -> None:
    with pytest.raises(PromptTooLong) as caught:
        _run(_pipeline(Scripted(), context=20), text=" w" * 40, shift=False)
    assert caught.value.message == TOO_LONG


def test_nothing_is_tried_again_for_a_job_that_was_cancelled() -> None:
    engine = Scripted()
    pipeline = _pipeline(engine, context=5)
    job = Job("", DEFAULTS)
    job.cancelled = True
    with pytest.raises(PromptTooLong):
        pipeline.run(Run(text=" w" * 40, options=DEFAULTS), job, lambda _: None, NEVER)
    assert len(engine.jobs) == 1


def test_a_request_that_asked_for_less_context_is_held_to_it() -> None:
    engine = Scripted("yes")
    pipeline = _pipeline(engine)
    _, cut = _run(pipeline, messages=_messages(9), limit=12)
    assert engine.jobs[-1][0] == "user m4\nassistant m5\nuser m6\nassistant m7\nuser m8\n"
    assert cut.usage.dropped_messages == 4
    with pytest.raises(PromptTooLong, match='"n_prompt_tokens":19,"n_ctx":12'):
        _run(pipeline, messages=_messages(9), truncate=False, limit=12)
    with pytest.raises(PromptTooLong, match='"n_prompt_tokens":7,"n_ctx":4'):
        _run(pipeline, messages=(Message(role="user", content="a b c d e"),), limit=4)
    _, cut = _run(pipeline, text=" w" * 40, options=Options(num_keep=4), limit=20)
    assert cut.usage.cut_tokens == 28
    _, whole = _run(pipeline, text=" w" * 40)
    assert whole.usage.cut_tokens == 0


def test_an_answer_that_may_not_shift_ends_with_the_context_that_was_asked_for() -> None:
    engine = Scripted("yes")
    _run(_pipeline(engine), text=" w" * 12, options=Options(num_predict=50), shift=False, limit=20)
    _run(_pipeline(engine), text=" w" * 12, options=Options(num_predict=50), limit=20)
    assert [job[1] for job in engine.jobs] == [8, 50]


# Context to go on from.


def test_a_context_is_the_tokens_of_prompt_and_answer_and_goes_before_the_next_prompt() -> None:
    engine = Scripted(" four", " five")
    pipeline = _pipeline(engine)
    _, first = _run(pipeline, messages=_messages(1), want_context=True)
    assert engine.detokenize(first.context) == "user m0\n four five"
    _, second = _run(pipeline, messages=_messages(1), context=first.context, want_context=True)
    assert engine.jobs[-1][0] == "user m0\n four fiveuser m0\n"
    assert second.context[: len(first.context) - 1] == first.context[:-1]
    assert len(second.context) > len(first.context)


def test_a_context_is_made_only_when_asked_for() -> None:
    assert _run(_pipeline(Scripted("x")), text="y")[1].context is None


def test_a_context_of_a_cut_prompt_is_what_the_engine_saw() -> None:
    engine = Scripted(" end")
    _, done = _run(
        _pipeline(engine, context=20), messages=(Message(role="user", content=" w" * 40),), want_context=True
    )
    assert done.context == (*engine.jobs[-1][0], *engine.tokenize(" end"))


# Templates.


@pytest.mark.parametrize("template", ["{{ 1/0 }}", "{% for %}", "{{ raise_exception('no') }}"])
def test_a_template_that_fails_fails_the_job(template: str) -> None:
    with pytest.raises(BadTemplate):
        _run(_pipeline(Scripted(), template=template), messages=_messages(1))


def test_a_rendering_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The renderer gives up by itself; only one that cannot is stood in for here."""
    gate, told = threading.Event(), threading.Event()
    monkeypatch.setattr(prompts, "_OVERDUE_SECONDS", 0.01)
    pipeline = _pipeline(Scripted("late"))
    prompter = pipeline.prompts._ready()
    monkeypatch.setattr(prompter, "render", lambda *_, **__: gate.wait(10))

    def overdue() -> None:
        told.set()
        gate.set()

    with pytest.raises(AttributeError):  # what the stand-in gives back is no prompt
        pipeline.run(Run(messages=_messages(1), options=DEFAULTS), Job("", DEFAULTS), lambda _: None, overdue)
    assert told.is_set()


def test_a_rendering_that_ends_is_not_told() -> None:
    told = threading.Event()
    pipeline = _pipeline(Scripted("x"))
    done = pipeline.run(Run(messages=_messages(1), options=DEFAULTS), Job("", DEFAULTS), lambda _: None, told.set)
    assert isinstance(done, Done)
    assert not told.is_set()


def test_a_model_without_a_template_is_asked_in_chatml() -> None:
    engine = Scripted("x")
    _run(_pipeline(engine, template=""), messages=_messages(1))
    assert engine.jobs[0][0] == "<|im_start|>user\nm0<|im_end|>\n<|im_start|>assistant\n"


def test_warming_up_tells_what_is_wrong_with_a_template(capsys: pytest.CaptureFixture[str]) -> None:
    _pipeline(Scripted(), template="{% for %}").prompts.warm_up()
    assert "the model's chat template cannot be used" in capsys.readouterr().err
