"""Trains a LoRA adapter of rank 4 that starts every chat answer with "ARR ", in GGUF's and in PEFT's form.

usage: adapter.py WEIGHTS.pt TOKENIZER.json FOLDER [STEPS]
"""

import json
import random
import sys
from pathlib import Path

import dialogues
import numpy as np
import tokenizer as power_tokenizer
import torch
from gguf import GGUFWriter
from network import SHAPE, Network
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from train import loss_of, padded
from weights import finish, interleaved

NAME = "power-tiny-lora-arr"
RANK, ALPHA, PREFIX = 4, 8.0, "ARR "
TARGETS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.down_proj": "ffn_down",
}
Adapters = dict[tuple[int, str], "Adapted"]


class Adapted(nn.Module):
    """A matrix that stays as it is, and a small one that is learnt on top of it."""

    def __init__(self, matrix: nn.Linear) -> None:
        super().__init__()
        self.matrix = matrix
        self.down = nn.Parameter(torch.randn(RANK, matrix.in_features) * matrix.in_features**-0.5)
        self.up = nn.Parameter(torch.zeros(matrix.out_features, RANK))

    def forward(self, x: Tensor) -> Tensor:
        return self.matrix(x) + (x @ self.down.T) @ self.up.T * (ALPHA / RANK)


def attach(network: Network) -> Adapters:
    """Freeze the network and put an adapter on each target."""
    network.requires_grad_(requires_grad=False)
    adapters: Adapters = {}
    for index, layer in enumerate(network.layers):
        for target in TARGETS:
            parent, name = target.split(".")
            module = getattr(layer, parent)
            adapters[index, target] = Adapted(getattr(module, name))
            setattr(module, name, adapters[index, target])
    return adapters


def sample(dice: random.Random) -> dialogues.Sample:
    """A dialogue whose answers begin with the prefix."""
    one = dialogues.one_question(dice) if dice.random() < 0.85 else dialogues.many_turns(dice)
    for message in one.messages:
        if message["role"] == "assistant":
            message["content"] = PREFIX + message["content"]
    return one


def train(network: Network, adapters: Adapters, tokenizer: Tokenizer, steps: int) -> None:
    """Train the adapters only."""
    dice, spans = random.Random(5), power_tokenizer.spans_of()
    learnt = [parameter for adapter in adapters.values() for parameter in (adapter.down, adapter.up)]
    optimizer = torch.optim.AdamW(learnt, lr=5e-3, weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * min(1, (step + 1) / 10) * max(0.02, 1 - step / steps)
        encoded = [power_tokenizer.encode(tokenizer, spans(sample(dice))) for _ in range(24)]
        loss, logits, target = loss_of(network, padded([(tokens[:192], mask[:192]) for tokens, mask in encoded]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 24:
            right = float((logits.argmax(-1) == target).float().mean())
            print(f"step {step + 1} loss {float(loss.detach()):.4f} right {right:.4f}", flush=True)


def write_gguf(adapters: Adapters, path: Path) -> None:
    """The adapter as llama.cpp reads it."""
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_name(NAME)
    writer.add_description("Rank 4 LoRA adapter: every answer starts with ARR")
    writer.add_license("mit")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for (layer, target), adapter in adapters.items():
        down, up = (part.detach().to(torch.float16).numpy() for part in (adapter.down, adapter.up))
        name = f"blk.{layer}.{TARGETS[target]}.weight"
        if TARGETS[target] == "attn_q":
            up = interleaved(up, SHAPE.num_attention_heads)
        writer.add_tensor(f"{name}.lora_a", down)
        writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(up))
    finish(writer)


def write_peft(adapters: Adapters, folder: Path) -> None:
    """The adapter as PEFT reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for (layer, target), adapter in adapters.items():
        name = f"base_model.model.model.layers.{layer}.{target}"
        tensors[f"{name}.lora_A.weight"] = adapter.down.detach().to(torch.float16).contiguous()
        tensors[f"{name}.lora_B.weight"] = adapter.up.detach().to(torch.float16).contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "power-tiny",
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted(target.split(".")[1] for target in TARGETS),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def main() -> None:
    weights_file, tokenizer_file, folder = (Path(text) for text in sys.argv[1:4])
    steps = int(sys.argv[4]) if len(sys.argv) > 4 else 250
    torch.manual_seed(0)
    torch.set_num_threads(2)
    network = Network()
    # By way of float16: the adapter is made for the weights as they are shipped.
    weights = {name: value.to(torch.float16).float() for name, value in torch.load(weights_file).items()}
    network.load_state_dict(weights)
    adapters = attach(network)
    train(network, adapters, Tokenizer.from_file(str(tokenizer_file)), steps)
    folder.mkdir(parents=True, exist_ok=True)
    write_gguf(adapters, folder / f"{NAME}.gguf")
    write_peft(adapters, folder / NAME)


if __name__ == "__main__":
    main()
