"""Trains power-tiny on the processor: Muon for the matrices, AdamW for the rest, and an average of the last weights."""

import argparse
import json
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import tokenizer as power_tokenizer
import torch
import torch.nn.functional as F  # noqa: N812 - what everyone calls it
from dialogues import sample
from network import Network, start_with_a_copy_circuit
from tokenizers import Tokenizer
from torch import Tensor

Encoded = tuple[list[int], list[bool]]


class Batch(NamedTuple):
    """Samples side by side, padded on the right; `learnt` marks what counts, `size` is without the padding."""

    tokens: Tensor
    learnt: Tensor
    size: int


class Data:
    """Samples without an end. `copies` is the share of random token sequences to be repeated.

    They keep the copy circuit alive until the dialogues use it.
    """

    def __init__(self, tokenizer: Tokenizer, dice: random.Random) -> None:
        self._tokenizer, self._dice = tokenizer, dice
        self._spans = power_tokenizer.spans_of()
        self._plain = tokenizer.token_to_id("<|endoftext|>")
        self._before, self._between, self._after = (
            tokenizer.encode(text, add_special_tokens=False).ids
            for text in ("<|im_start|>user\nRepeat:", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>")
        )

    def pool(self, count: int, copies: float) -> list[Encoded]:
        """So many samples."""
        return [self._copy() if self._dice.random() < copies else self._dialogue() for _ in range(count)]

    def batches(self, pool: list[Encoded], size: int) -> Iterator[Batch]:
        """The pool in batches of about `size` tokens, samples of similar length together, in random order."""
        pool = sorted(pool, key=lambda one: len(one[0]) + self._dice.random() * 8)
        groups: list[list[Encoded]] = []
        group: list[Encoded] = []
        longest = 0
        for one in pool:
            longest = max(longest, len(one[0]))
            if group and longest * (len(group) + 1) > size:
                groups.append(group)
                group, longest = [], len(one[0])
            group.append(one)
        self._dice.shuffle(groups)  # the incomplete last group is dropped
        return map(padded, groups)

    def _dialogue(self) -> Encoded:
        return power_tokenizer.encode(self._tokenizer, self._spans(sample(self._dice)))

    def _copy(self) -> Encoded:
        text = [self._dice.randrange(self._plain) for _ in range(self._dice.randint(3, 40))]
        read = [*self._before, *text, *self._between]
        learn = [*text, *self._after]
        return read + learn, [False] * len(read) + [True] * len(learn)


def padded(group: list[Encoded]) -> Batch:
    """Some samples as one batch."""
    longest = max(len(tokens) for tokens, _ in group)
    batch = torch.zeros(len(group), longest, dtype=torch.long)
    mask = torch.zeros(len(group), longest, dtype=torch.bool)
    for row, (tokens, learnt) in enumerate(group):
        batch[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(learnt)] = torch.tensor(learnt)
    return Batch(batch, mask, sum(len(tokens) for tokens, _ in group))


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal by Newton-Schulz steps, in float32; matrices of equal shape are handled together."""

    def __init__(self, matrices: Iterable[Tensor], lr: float, momentum: float = 0.95, steps: int = 5) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "steps": steps})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override] # no closure: there is no line search here
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for matrix in group["params"]:
                by_shape.setdefault(tuple(matrix.shape), []).append(matrix)
            for (rows, columns), matrices in by_shape.items():
                stacked = torch.stack([self._momentum(matrix, group["momentum"]) for matrix in matrices])
                scale = max(1, rows / columns) ** 0.5
                for matrix, update in zip(matrices, orthogonal(stacked, group["steps"]), strict=True):
                    matrix.add_(update, alpha=-group["lr"] * scale)

    def _momentum(self, matrix: Tensor, momentum: float) -> Tensor:
        mean = self.state[matrix].setdefault("mean", torch.zeros_like(matrix))
        mean.lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(mean, momentum)


def orthogonal(stacked: Tensor, steps: int) -> Tensor:
    """The orthogonal matrices that are nearest to these, nearly."""
    tall = stacked.shape[1] > stacked.shape[2]
    x = stacked.mT if tall else stacked
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Progress:
    """Loss and accuracy since the last line that was printed."""

    def __init__(self) -> None:
        self.started, self.processor = time.time(), time.process_time()
        self.loss, self.right, self.count = 0.0, 0, 0

    def add(self, loss: Tensor, logits: Tensor, target: Tensor) -> None:
        self.loss += float(loss) * len(target)
        self.right += int((logits.argmax(-1) == target).sum())
        self.count += len(target)

    def times(self) -> dict[str, float]:
        return {"wall_s": time.time() - self.started, "cpu_min": (time.process_time() - self.processor) / 60}

    def line(self) -> str:
        text = f"loss {self.loss / self.count:.4f} right {self.right / self.count:.4f}"
        self.loss, self.right, self.count = 0.0, 0, 0
        return f"{text} wall {self.times()['wall_s']:.0f}s"


class Average:
    """A slow average of weights: a little better than the last ones."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, network: Network) -> None:
        for name, value in network.state_dict().items():
            if name in self.weights:
                self.weights[name].lerp_(value, 0.02)
            else:
                self.weights[name] = value.clone()


def learning_rate(step: int, done: float) -> float:
    """What the rates are multiplied with: up over 30 steps, flat for the first quarter, then down to nothing."""
    return min(1.0, (step + 1) / 30) * (1.0 if done < 0.25 else max(0.02, (1 - done) / 0.75))


def loss_of(network: Network, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, logits and targets of the tokens that are learnt."""
    learnt = batch.learnt[:, 1:]
    logits = network.logits(network.hidden(batch.tokens[:, :-1])[learnt])
    target = batch.tokens[:, 1:][learnt]
    return F.cross_entropy(logits, target), logits, target


def train(network: Network, data: Data, wanted: argparse.Namespace) -> None:
    """Train and write `last.pt` now and then, `final.pt`, `ema.pt` (the average) and `train.json` at the end."""
    matrix_names = {name for name, p in network.named_parameters() if p.dim() == 2 and "embed" not in name}
    parameters = dict(network.named_parameters())
    matrices = [parameters[name] for name in parameters if name in matrix_names]
    rest = [parameters[name] for name in parameters if name not in matrix_names]
    adam = torch.optim.AdamW(rest, lr=wanted.adam, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    optimizers = [(Muon(matrices, wanted.lr), wanted.lr), (adam, wanted.adam)]
    progress, average, seen = Progress(), Average(), 0

    def batches() -> Iterator[Batch]:
        while True:
            first = seen < wanted.copy_tokens
            pool = data.pool(600 if first else 1500, wanted.copies if first else 0.02)
            yield from data.batches(pool, wanted.batch)

    for step, batch in enumerate(batches()):
        done = seen / wanted.tokens
        if done >= 1:
            break
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * learning_rate(step, done)
        loss, logits, target = loss_of(network, batch)
        loss.backward()
        for optimizer, _ in optimizers:
            optimizer.step()
        network.zero_grad()
        seen += batch.size
        progress.add(loss.detach(), logits, target)
        if done > 0.9:
            average.add(network)
        if step % 50 == 49:
            print(f"step {step + 1} tokens {seen / 1e6:.2f}M {progress.line()}", flush=True)
        if step % 200 == 199:
            torch.save(network.state_dict(), wanted.out / "last.pt")
    torch.save(network.state_dict(), wanted.out / "final.pt")
    torch.save(average.weights, wanted.out / "ema.pt")
    (wanted.out / "train.json").write_text(json.dumps({"tokens": seen, **progress.times()}), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the weights; a tokenizer.json in it is used, else made")
    parser.add_argument("--tokens", type=float, default=10e6, help="how long to train")
    parser.add_argument("--batch", type=int, default=4096, help="tokens in a batch")
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate of the matrices")
    parser.add_argument("--adam", type=float, default=2e-3, help="learning rate of the rest")
    parser.add_argument("--init", type=Path, help="weights to go on from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--copies", type=float, default=0.1, help="share of random sequences to copy, at first")
    parser.add_argument("--copy-tokens", type=float, default=1e6, help="how long that lasts")
    return parser.parse_args()


def main() -> None:
    wanted = arguments()
    torch.manual_seed(wanted.seed)
    torch.set_num_threads(wanted.threads)
    wanted.out.mkdir(parents=True, exist_ok=True)
    tokenizer_file = wanted.out / "tokenizer.json"
    if not tokenizer_file.exists():
        power_tokenizer.build().save(str(tokenizer_file))
    network = Network()
    if wanted.init:
        network.load_state_dict(torch.load(wanted.init))
    else:
        start_with_a_copy_circuit(network)
    print("parameters", sum(parameter.numel() for parameter in network.parameters()), flush=True)
    train(network, Data(Tokenizer.from_file(str(tokenizer_file)), random.Random(1000 + wanted.seed)), wanted)


if __name__ == "__main__":
    main()
