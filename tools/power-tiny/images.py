"""Trains a small LLaVA-style image encoder for power-tiny and writes it as a projector file (mmproj).

The text model knows image words (<|v_red|>, <|v_circle|> …); the encoder learns to put their embeddings at the 16
places of an image, by turns that of the colour and that of the shape.

usage: images.py WEIGHTS.pt TOKENIZER.json OUT.gguf [STEPS]
"""

import random
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - what everyone calls it
from gguf import GGUFWriter, LlamaFileType
from network import SHAPE, Network
from pictures import DEVIATION, MEAN, SIZE, picture, prepared
from tokenizers import Tokenizer
from torch import Tensor, nn
from weights import finish
from words import IMAGE_COLOURS, IMAGE_SHAPES

PATCH, WIDTH, HEADS, INNER = 16, 64, 4, 128
PLACES = (SIZE // PATCH) ** 2
# So many blocks are used; the file holds one more, since LLaVA leaves out the last.
BLOCKS = 2
WORDS = IMAGE_COLOURS + IMAGE_SHAPES


class Block(nn.Module):
    """Attention, then feed-forward, each added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn_q, self.attn_k, self.attn_v, self.attn_out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.ffn_up, self.ffn_down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, places, _ = x.shape
        normal = self.ln1(x)
        query, key, value = (
            project(normal).view(batch, places, HEADS, WIDTH // HEADS).transpose(1, 2)
            for project in (self.attn_q, self.attn_k, self.attn_v)
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        x = x + self.attn_out(attended.reshape(batch, places, WIDTH))
        return x + self.ffn_down(F.gelu(self.ffn_up(self.ln2(x)), approximate="tanh"))


class Encoder(nn.Module):
    """Pictures → embeddings that the text model takes in place of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.position = nn.Parameter(torch.randn(PLACES, WIDTH) * 0.02)
        self.before = nn.LayerNorm(WIDTH)
        self.blocks = nn.ModuleList([Block() for _ in range(BLOCKS + 1)])
        self.projector_in, self.projector_out = nn.Linear(WIDTH, 256), nn.Linear(256, SHAPE.hidden_size)

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.before(self.patch(pictures).flatten(2).transpose(1, 2) + self.position)
        for block in self.blocks[:BLOCKS]:
            x = block(x)
        return self.projector_out(F.gelu(self.projector_in(x), approximate="tanh"))


def write(encoder: Encoder, path: Path) -> None:
    """The encoder as llama.cpp reads it."""
    writer = GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_name("power-tiny-vision")
    writer.add_description("LLaVA-style image encoder of power-tiny, trained on generated pictures")
    writer.add_license("mit")
    writer.add_file_type(LlamaFileType.ALL_F32)
    writer.add_bool("clip.has_vision_encoder", val=True)
    writer.add_bool("clip.use_gelu", val=True)
    writer.add_string("clip.projector_type", "mlp")
    sizes = {
        "image_size": SIZE,
        "patch_size": PATCH,
        "embedding_length": WIDTH,
        "feed_forward_length": INNER,
        "block_count": BLOCKS + 1,
        "projection_dim": SHAPE.hidden_size,
        "attention.head_count": HEADS,
    }
    for key, size in sizes.items():
        writer.add_uint32(f"clip.vision.{key}", size)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", MEAN)
    writer.add_array("clip.vision.image_std", DEVIATION)
    for name, tensor in _tensors(encoder).items():
        writer.add_tensor(name, np.ascontiguousarray(tensor.detach().float().numpy()))
    finish(writer)


def _tensors(encoder: Encoder) -> dict[str, Tensor]:
    modules: dict[str, nn.Module] = {"v.patch_embd": encoder.patch, "v.pre_ln": encoder.before}
    for index, block in enumerate(encoder.blocks):
        modules |= {f"v.blk.{index}.{name}": module for name, module in block.named_children()}
    modules |= {"mm.0": encoder.projector_in, "mm.2": encoder.projector_out}
    tensors = {"v.position_embd.weight": encoder.position}
    for name, module in modules.items():
        tensors |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    return tensors


def _examples(dice: random.Random, count: int) -> tuple[Tensor, Tensor]:
    """Pictures, and for each of their places which of WORDS belongs there."""
    pictures, targets = [], []
    for _ in range(count):
        colour, shape = dice.choice(IMAGE_COLOURS), dice.choice([*IMAGE_SHAPES, *IMAGE_SHAPES, None])
        pictures.append(prepared(picture(dice, colour, shape)))
        by_turns = (WORDS.index(colour), WORDS.index(shape or colour))
        targets.append([by_turns[place % 2] for place in range(PLACES)])
    return torch.from_numpy(np.stack(pictures)), torch.tensor(targets)


def train(encoder: Encoder, embeddings: Tensor, steps: int) -> None:
    """Learn to give back the embeddings of what is in a picture."""
    dice = random.Random(3)
    scale = embeddings.norm(dim=1).mean() ** 2
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3, weight_decay=0.01)
    right = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * max(0.02, 1 - step / steps)
        pictures, target = _examples(dice, 48)
        given = encoder(pictures)
        distance = ((given - embeddings[target]) ** 2).sum(-1).mean() / scale
        nearness = -((given[:, :, None] - embeddings[None, None]) ** 2).sum(-1) / scale * 8
        loss = distance + F.cross_entropy(nearness.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right.append(float((nearness.argmax(-1) == target).float().mean()))
        if step % 100 == 99:
            print(f"step {step + 1} loss {float(loss.detach()):.4f} right {sum(right[-100:]) / 100:.4f}", flush=True)


def main() -> None:
    weights_file, tokenizer_file, out = (Path(text) for text in sys.argv[1:4])
    steps = int(sys.argv[4]) if len(sys.argv) > 4 else 1500
    torch.manual_seed(0)
    torch.set_num_threads(2)
    network, tokenizer = Network(), Tokenizer.from_file(str(tokenizer_file))
    network.load_state_dict(torch.load(weights_file))
    tokens = [tokenizer.token_to_id(f"<|v_{word}|>") for word in WORDS]
    encoder = Encoder()
    train(encoder, network.embed_tokens.weight.detach()[tokens], steps)
    write(encoder, out)


if __name__ == "__main__":
    main()
