"""The network of power-tiny: what Transformers calls LlamaForCausalLM, small, its embedding tied to its output."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - what everyone calls it
from torch import Tensor, nn


class Shape(NamedTuple):
    """The sizes of the network, by the names that Transformers' config.json gives them."""

    vocab_size: int = 1536
    hidden_size: int = 256
    intermediate_size: int = 512
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5


SHAPE = Shape()


def _rotations(shape: Shape) -> tuple[Tensor, Tensor]:
    frequencies = 1.0 / (shape.rope_theta ** (torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim))
    angles = torch.outer(torch.arange(shape.max_position_embeddings, dtype=torch.float32), frequencies)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Norm(nn.Module):
    """Root mean square normalisation with a weight."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(shape.hidden_size)), shape.rms_norm_eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Attention(nn.Module):
    """Causal attention with rotary positions; several heads share a key and a value."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        size, head = shape.hidden_size, shape.head_dim
        self.q_proj = nn.Linear(size, shape.num_attention_heads * head, bias=False)
        self.k_proj = nn.Linear(size, shape.num_key_value_heads * head, bias=False)
        self.v_proj = nn.Linear(size, shape.num_key_value_heads * head, bias=False)
        self.o_proj = nn.Linear(shape.num_attention_heads * head, size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            project(x).view(batch, length, -1, self.shape.head_dim).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = _rotated(q, cos[:length], sin[:length]), _rotated(k, cos[:length], sin[:length])
        group = self.shape.num_attention_heads // self.shape.num_key_value_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(attended.transpose(1, 2).reshape(batch, length, -1))


class Mlp(nn.Module):
    """The gated feed-forward part."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention, then feed-forward, each added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(shape), Mlp(shape)
        self.input_layernorm, self.post_attention_layernorm = Norm(shape), Norm(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Network(nn.Module):
    """The whole of it. Names of its parameters are those of Transformers, without the leading `model.`."""

    def __init__(self, shape: Shape = SHAPE) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList([Layer(shape) for _ in range(shape.num_hidden_layers)])
        self.norm = Norm(shape)
        cos, sin = _rotations(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                deviation = 0.02 if "embed" in name else parameter.shape[1] ** -0.5
                writes = "o_proj" in name or "down_proj" in name
                nn.init.normal_(parameter, std=deviation * 0.3 if writes else deviation)

    def hidden(self, tokens: Tensor) -> Tensor:
        """What the network makes of each token, before the output."""
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """How likely each token is to come next."""
        return hidden @ self.embed_tokens.weight.T


@torch.no_grad()
def start_with_a_copy_circuit(network: Network, seed: int = 0, constant: float = 0.5) -> None:
    """Begin with an "induction head" instead of waiting for one to emerge, which costs millions of tokens.

    In layer 0 the first head looks at the previous token and notes what it was. In layer 1 one head of each group looks
    for the place whose previous token equals the current one, and writes the token found there. All else is random, and
    training is free to change everything.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = network.shape
    size, head, half = shape.hidden_size, shape.head_dim, shape.head_dim // 2

    def orthonormal(columns: int) -> Tensor:
        return torch.linalg.qr(torch.randn(size, columns, generator=generator))[0]

    for layer in network.layers:  # nothing else writes into the residual stream at first
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    common = orthonormal(1)[:, 0]  # a direction that every embedding shares: what is there at every position
    embedding = torch.randn(shape.vocab_size, size, generator=generator) * size**-0.5
    embedding -= (embedding @ common)[:, None] * common
    network.embed_tokens.weight.copy_(embedding + constant * common)
    seen, noted = orthonormal(head), orthonormal(head)
    _look_at_previous(network, common * 5.5 / (size**0.5 * constant / (1 + constant**2) ** 0.5))
    first, second = network.layers[0].self_attn, network.layers[1].self_attn
    first.v_proj.weight[:head].copy_(seen.T)
    first.o_proj.weight[:, :head].copy_(noted / 8)
    low = torch.cat([torch.arange(half // 2, half), torch.arange(half + half // 2, 2 * half)])
    group = shape.num_attention_heads // shape.num_key_value_heads
    for key in range(shape.num_key_value_heads):
        part = slice(key * half, (key + 1) * half)  # another part of the identity for each group
        query_rows, key_rows = torch.zeros(head, size), torch.zeros(head, size)
        query_rows[low], key_rows[low] = 2.0 * seen[:, part].T, 2.0 * noted[:, part].T
        at, value = key * group, orthonormal(head)
        second.q_proj.weight[at * head : (at + 1) * head].copy_(query_rows)
        second.k_proj.weight[key * head : (key + 1) * head].copy_(key_rows)
        second.v_proj.weight[key * head : (key + 1) * head].copy_(value.T)
        second.o_proj.weight[:, at * head : (at + 1) * head].copy_(value * 0.4)


def _look_at_previous(network: Network, strength: Tensor) -> None:
    """Turn the query of layer 0's first head one position back, in the eight fastest rotations."""
    shape = network.shape
    head, half = shape.head_dim, shape.head_dim // 2
    angles = 1.0 / (shape.rope_theta ** (torch.arange(half, dtype=torch.float32) / half))
    query, key = torch.zeros(head, shape.hidden_size), torch.zeros(head, shape.hidden_size)
    for index in range(8):
        key[index] = strength
        query[index] = torch.cos(-angles[index]) * strength
        query[index + half] = torch.sin(-angles[index]) * strength
    attention = network.layers[0].self_attn
    attention.q_proj.weight[:head].copy_(query)
    attention.k_proj.weight[:head].copy_(key)
