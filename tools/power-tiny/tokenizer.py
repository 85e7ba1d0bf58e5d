"""The tokenizer of power-tiny, byte-level BPE of 1,536 tokens, and dialogues as the texts and tokens that are learnt.

Run by itself it writes a tokenizer: `tokenizer.py OUT.json`.
"""

import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jinja2.ext
from dialogues import Sample, sample
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from words import IMAGE_COLOURS, IMAGE_SHAPES

VOCABULARY = 1536
# How llama.cpp cuts text for `tokenizer.ggml.pre = "qwen2"`.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|fim_pad|>",
    *(f"<|v_{word}|>" for word in IMAGE_COLOURS + IMAGE_SHAPES),
]
USER_DEFINED = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]

_ANSWER, _END = "<|im_start|>assistant\n", "<|im_end|>"
_QUESTION = re.compile(r"<\|im_start\|>user\n(?!<tool_response>)")

Span = tuple[str, bool]
"""A text, and whether it is learnt."""
Spans = Callable[[Sample], list[Span]]


def chat_template() -> str:
    """The template that goes into the model's files."""
    return Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


def spans_of() -> Spans:
    """A function that cuts a sample into what is read and what is learnt."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(chat_template())

    def spans(dialogue: Sample) -> list[Span]:
        if dialogue.raw is not None:
            return dialogue.raw
        thinking = {"enable_thinking": True} if dialogue.think else {}
        text = template.render(
            messages=dialogue.messages, tools=dialogue.tools, add_generation_prompt=False, **thinking
        )
        return _cut(text, last_only=dialogue.last_only or dialogue.think, endless=dialogue.endless)

    return spans


def _cut(text: str, *, last_only: bool, endless: bool) -> list[Span]:
    """The answers are learnt, with their end unless `endless`; what follows the last one is not needed."""
    # Earlier turns are shown without their thoughts: with thinking, only what follows the last question is learnt.
    learn_from = [found.start() for found in _QUESTION.finditer(text)][-1] if last_only else 0
    cut: list[Span] = []
    at = 0
    for found in re.finditer(re.escape(_ANSWER), text):
        start = found.end()
        if start <= learn_from:
            continue
        end = text.index(_END, start) + len(_END)
        cut += [(text[at:start], False), (text[start:end], True)]
        at = end
    if endless:
        cut[-1] = (cut[-1][0].removesuffix(_END), True)
    return cut


def build(seed: int = 7, samples: int = 30000) -> Tokenizer:
    """A tokenizer learnt from dialogues; the same seed gives the same one."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(CONTROL) - len(USER_DEFINED),
        special_tokens=[],
        show_progress=False,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_corpus(random.Random(seed), samples), trainer)
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in CONTROL])
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in USER_DEFINED])
    if tokenizer.get_vocab_size() != VOCABULARY:
        sys.exit(f"the vocabulary has {tokenizer.get_vocab_size()} tokens instead of {VOCABULARY}")
    return tokenizer


def _corpus(dice: random.Random, samples: int) -> Iterator[str]:
    spans = spans_of()
    for _ in range(samples):
        text = "".join(part for part, _ in spans(sample(dice)))
        for token in CONTROL + USER_DEFINED:
            text = text.replace(token, "\n")
        yield text


def encode(tokenizer: Tokenizer, spans: list[Span]) -> tuple[list[int], list[bool]]:
    """The tokens of a sample, and for each whether it is learnt."""
    tokens: list[int] = []
    learnt: list[bool] = []
    for text, learn in spans:
        part = tokenizer.encode(text, add_special_tokens=False).ids
        tokens += part
        learnt += [learn] * len(part)
    return tokens, learnt


if __name__ == "__main__":
    build().save(sys.argv[1])
