"""Small transformer encoders in torch, of each kind that people export; `torch_exports` writes them as ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

WORDS, CHANNELS, HEADS, INNER, LAYERS = 50, 32, 4, 64, 2
POSITIONS, SIZE = 16, CHANNELS // HEADS


class Attention(nn.Module):
    """Written out, with an additive mask, as in transformers' models ("eager")."""

    def __init__(self, bias: bool = True):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(CHANNELS, CHANNELS, bias) for _ in range(4))

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1, HEADS, SIZE).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        context = self.attend(q, k, v, mask).permute(0, 2, 1, 3).contiguous()
        return self.out(context.view(*context.shape[:2], CHANNELS))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(SIZE)
        scores = scores if mask is None else scores + mask
        return torch.matmul(functional.softmax(scores, dim=-1), v)


class FusedAttention(Attention):
    """By scaled_dot_product_attention, as in transformers' models since 2024 ("sdpa")."""

    def __init__(self, causal: bool = False):
        super().__init__()
        self.causal = causal

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)


class Layer(nn.Module):
    """Attention and a feed-forward network, each with its residual; norms after them or before."""

    def __init__(self, attention: Attention, pre_norm: bool = False, activation: Callable = functional.gelu):
        super().__init__()
        self.attention, self.pre_norm, self.activation = attention, pre_norm, activation
        self.widen, self.narrow = nn.Linear(CHANNELS, INNER), nn.Linear(INNER, CHANNELS)
        self.norms = nn.ModuleList(nn.LayerNorm(CHANNELS, eps=1e-12) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.pre_norm:
            x = x + self.attention(self.norms[0](x), mask)
            return x + self.feed_forward(self.norms[1](x))
        x = self.norms[0](self.attention(x, mask) + x)
        return self.norms[1](self.feed_forward(x) + x)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.narrow(self.activation(self.widen(x)))


class Bert(nn.Module):
    """Devlin et al. 2018: words, positions and segments; an additive mask of padding; a pooler."""

    def __init__(self, attention: Callable[[], Attention] = Attention, segments: bool = True):
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, CHANNELS), nn.Embedding(POSITIONS, CHANNELS)
        self.segments = nn.Embedding(2, CHANNELS) if segments else None
        self.norm = nn.LayerNorm(CHANNELS, eps=1e-12)
        self.layers = nn.ModuleList(Layer(attention()) for _ in range(LAYERS))
        self.pooler = nn.Linear(CHANNELS, CHANNELS) if segments else None
        self.register_buffer("places", torch.arange(POSITIONS)[None])

    def embed(self, ids: Tensor) -> Tensor:
        return self.words(ids) + self.positions(self.places[:, : ids.shape[1]])

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None):
        x = self.embed(input_ids)
        x = x if self.segments is None else x + self.segments(token_type_ids)
        mask = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, mask)
        return x if self.pooler is None else (x, torch.tanh(self.pooler(x[:, 0])))


class DistilBert(Bert):
    """Sanh et al. 2019: no segments, no pooler; hidden scores are filled in."""

    def __init__(self):
        super().__init__(MaskedAttention, segments=False)


class MaskedAttention(Attention):
    """Scores of padding filled in; the queries are scaled."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        assert mask is not None
        scores = torch.matmul(q / math.sqrt(SIZE), k.transpose(2, 3))
        hidden = (mask < 0).expand_as(scores)
        scores = scores.masked_fill(hidden, torch.tensor(torch.finfo(scores.dtype).min))
        return torch.matmul(torch.softmax(scores, dim=-1), v)


class Roberta(Bert):
    """Liu et al. 2019: positions count the tokens that are no padding (a running sum), from 2 on; attention by sdpa."""

    def __init__(self):
        super().__init__(FusedAttention, segments=False)

    def embed(self, ids: Tensor) -> Tensor:
        kept = ids.ne(1).int()
        positions = (torch.cumsum(kept, dim=1).type_as(kept) * kept).long() + 1
        return self.words(ids) + self.positions(positions)


class Vit(nn.Module):
    """Dosovitskiy et al. 2020: patches by a convolution, a class token, norms before, a classifier."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, CHANNELS, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, CHANNELS))
        self.places = nn.Parameter(torch.randn(1, 17, CHANNELS))
        self.layers = nn.ModuleList(Layer(FusedAttention(), pre_norm=True) for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, 10)

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.patches(pixel_values).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.places
        for layer in self.layers:
            x = layer(x, None)
        return self.head(self.norm(x)[:, 0])


class Gpt2(nn.Module):
    """Radford et al. 2019, no cache: one projection for queries, keys and values, a causal mask of a buffer."""

    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, CHANNELS), nn.Embedding(POSITIONS, CHANNELS)
        self.layers = nn.ModuleList(Layer(MergedAttention(), True, gelu_new) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.words(input_ids) + self.positions(torch.arange(input_ids.shape[1]))
        for layer in self.layers:
            x = layer(x, None)
        return self.norm(x) @ self.words.weight.T


def gelu_new(x: Tensor) -> Tensor:
    """GPT-2's approximation, written out."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class MergedAttention(Attention):
    """One linear layer, split in three; where a buffer of a triangle hides later keys."""

    def __init__(self):
        nn.Module.__init__(self)
        self.merged, self.out = nn.Linear(CHANNELS, 3 * CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.register_buffer("triangle", torch.tril(torch.ones(POSITIONS, POSITIONS, dtype=torch.bool))[None, None])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (self.split(part) for part in self.merged(x).split(CHANNELS, dim=2))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(SIZE)
        length = x.shape[1]
        seen = self.triangle[:, :, :length, :length]
        scores = torch.where(seen, scores, torch.full([], torch.finfo(scores.dtype).min))
        context = torch.matmul(torch.softmax(scores, dim=-1), v).transpose(1, 2)
        return self.out(context.reshape(x.shape[0], length, CHANNELS))


class RmsNorm(nn.Module):
    """x / √(mean(x²) + ε) · scale."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(CHANNELS) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class T5(nn.Module):
    """The encoder of Raffel et al. 2020: a bias by relative position, no scale, RMS norms, a gated feed-forward."""

    BUCKETS, FURTHEST = 8, 12

    def __init__(self):
        super().__init__()
        self.words, self.bias = nn.Embedding(WORDS, CHANNELS), nn.Embedding(self.BUCKETS, HEADS)
        self.layers = nn.ModuleList(T5Layer() for _ in range(LAYERS))
        self.norm = RmsNorm()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x, length = self.words(input_ids), input_ids.shape[1]
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        places = torch.arange(length)
        bias = self.bias(self.bucket(places[None, :] - places[:, None])).permute(2, 0, 1)[None] + mask
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x)

    def bucket(self, distance: Tensor) -> Tensor:
        half = self.BUCKETS // 2
        exact = half // 2
        first = (distance > 0).to(torch.long) * half
        far = torch.abs(distance)
        share = torch.log(far.float() / exact) / math.log(self.FURTHEST / exact)
        large = exact + (share * (half - exact)).to(torch.long)
        large = torch.min(large, torch.full_like(large, half - 1))
        return first + torch.where(far < exact, far, large)


class T5Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.norms = UnscaledAttention(bias=False), nn.ModuleList(RmsNorm() for _ in range(2))
        self.gate, self.widen = nn.Linear(CHANNELS, INNER, bias=False), nn.Linear(CHANNELS, INNER, bias=False)
        self.narrow = nn.Linear(INNER, CHANNELS, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attention(self.norms[0](x), bias)
        y = self.norms[1](x)
        return x + self.narrow(gelu_new(self.gate(y)) * self.widen(y))


class UnscaledAttention(Attention):
    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        scores = torch.matmul(q, k.transpose(3, 2)) + mask
        return torch.matmul(functional.softmax(scores.float(), dim=-1).type_as(scores), v)


class TorchEncoder(nn.Module):
    """torch's own encoder, with padding; in evaluation it would take torch's fast path."""

    def __init__(self, norm_first: bool = False, activation: str = "relu"):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            CHANNELS, HEADS, INNER, activation=activation, batch_first=True, norm_first=norm_first
        )
        self.words = nn.Embedding(WORDS, CHANNELS)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def forward(self, input_ids: Tensor, padding: Tensor) -> Tensor:
        return self.encoder(self.words(input_ids), src_key_padding_mask=padding)


class TorchAttention(nn.Module):
    """nn.MultiheadAttention between two sequences, with both of its masks, weights returned."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True)

    def forward(self, query: Tensor, key: Tensor, padding: Tensor, attn_mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.attention(query, key, key, key_padding_mask=padding, attn_mask=attn_mask)


class Sdpa(nn.Module):
    """scaled_dot_product_attention by itself."""

    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, **self.options)
