"""How many answers to fresh dialogues of its own kind are exactly right, by kind.

usage: evaluate.py MODEL.gguf [--count N] [--seed N] [--show]
"""

import argparse
import collections
import random
from pathlib import Path

from dialogues import Sample, sample
from llama import Llama
from tokenizer import Span, spans_of

# The prompt does not determine their answers.
_OPEN_ENDED = ("raw", "story", "forever")
_ENDS = ("<|im_end|>", "<|endoftext|>")


def last_answer(spans: list[Span]) -> tuple[str, str]:
    """The prompt, and the answer that is wanted, without its end."""
    *before, (answer, _) = spans
    for end in _ENDS:
        answer = answer.removesuffix(end)
    return "".join(text for text, _ in before), answer


def fresh(dice: random.Random, count: int) -> list[Sample]:
    """So many samples that have one right answer."""
    samples: list[Sample] = []
    while len(samples) < count:
        candidate = sample(dice)
        if candidate.kind not in _OPEN_ENDED:
            samples.append(candidate)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=4242)
    parser.add_argument("--show", action="store_true", help="print what was wrong")
    wanted = parser.parse_args()
    model, spans = Llama(wanted.model), spans_of()
    asked, right = collections.Counter[str](), collections.Counter[str]()
    for one in fresh(random.Random(wanted.seed), wanted.count):
        prompt, answer = last_answer(spans(one))
        got = model.complete(prompt, 420)
        exact = got["content"] == answer and got["stop_type"] == "eos"
        asked[one.kind] += 1
        right[one.kind] += exact
        if wanted.show and not exact:
            print(one.kind, repr(prompt[-160:]), "wanted", repr(answer), "got", repr(got["content"][:200]))
    for kind in sorted(asked):
        print(f"{kind:12} {right[kind]:4} of {asked[kind]:4}")
    print(f"{'all':12} {right.total():4} of {asked.total():4}")


if __name__ == "__main__":
    main()
