"""The encoders of `torch_networks` as ONNX files, by both exporters of torch, and inputs for them."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch_networks import (
    CHANNELS,
    HEADS,
    SIZE,
    T5,
    WORDS,
    Bert,
    DistilBert,
    Gpt2,
    Roberta,
    Sdpa,
    TorchAttention,
    TorchEncoder,
    Vit,
)

Exporter = Literal["torchscript", "dynamo"]
Sizes = tuple[int, int]  # sequences, tokens
EXAMPLE: Sizes = (2, 10)


@dataclass(frozen=True)
class Network:
    """A module's maker, inputs by name for given sizes, the axes of them that may be symbolic, and the symbols whose
    example sizes the older exporter writes into the graph.
    """

    make: Callable[[], nn.Module]
    inputs: Callable[[Sizes], dict[str, Tensor]]
    symbols: dict[str, dict[int, str]]
    baked: tuple[str, ...] = ()

    def build(self) -> nn.Module:
        """The module with seeded weights; norms and biases do something."""
        torch.manual_seed(0)
        module = self.make().eval()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        return module

    def sizes(self, inputs: dict[str, Tensor]) -> dict[str, int]:
        """The size of each symbol in `inputs`."""
        return {s: inputs[name].shape[axis] for name in inputs for axis, s in self.symbols.get(name, {}).items()}


def export(name: str, path: Path, exporter: Exporter, opset: int, dynamic: bool) -> Path:
    """Write the network `name`, at the example's sizes or with symbols."""
    network = NETWORKS[name]
    inputs, module = network.inputs(EXAMPLE), network.build()
    symbols = {given: network.symbols.get(given, {}) for given in inputs} if dynamic else None
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if exporter == "torchscript":
            torch.onnx.export(
                module,
                tuple(inputs.values()),
                path,
                dynamo=False,
                opset_version=opset,
                input_names=list(inputs),
                dynamic_axes=symbols,
            )
        else:
            dims = {symbol: torch.export.Dim(symbol, min=2, max=16) for symbol in ("batch", "seq", "keys")}
            shapes = symbols and {given: {axis: dims[s] for axis, s in axes.items()} for given, axes in symbols.items()}
            torch.onnx.export(
                module,
                kwargs=inputs,
                f=path,
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
            )
    logging.disable(logging.NOTSET)
    return path


def outputs(name: str, inputs: dict[str, Tensor]) -> list[Tensor]:
    """What torch computes."""
    with torch.no_grad():
        found = NETWORKS[name].build()(**inputs)
    return list(found) if isinstance(found, tuple) else [found]


# ---- inputs


def _ids(sizes: Sizes) -> Tensor:
    return torch.randint(2, WORDS, sizes, generator=torch.Generator().manual_seed(1))


def _kept(sizes: Sizes) -> Tensor:
    """True for tokens; the second sequence is shorter than the others."""
    kept = torch.ones(sizes, dtype=torch.bool)
    kept[1, sizes[1] // 2 + 1 :] = False
    return kept


_TEXT: dict[str, Callable[[Sizes], Tensor]] = {
    "input_ids": _ids,
    "attention_mask": lambda sizes: _kept(sizes).long(),
    "token_type_ids": lambda sizes: (_ids(sizes) > WORDS // 2).long(),
    "padding": lambda sizes: ~_kept(sizes),
}
_TOKENS = {0: "batch", 1: "seq"}


def _text(make: Callable[[], nn.Module], *names: str, baked: tuple[str, ...] = ()) -> Network:
    def inputs(sizes: Sizes) -> dict[str, Tensor]:
        return {name: _TEXT[name](sizes) for name in names}

    return Network(make, inputs, dict.fromkeys(names, _TOKENS), baked)


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _pixels(sizes: Sizes) -> dict[str, Tensor]:
    return {"pixel_values": _normal(1, sizes[0], 3, 16, 16)}


def _two_sequences(sizes: Sizes) -> dict[str, Tensor]:
    batch, length = sizes
    keys = 7
    return {
        "query": _normal(1, batch, length, CHANNELS),
        "key": _normal(2, batch, keys, CHANNELS),
        "padding": ~_kept((batch, keys)),
        "attn_mask": torch.ones(length, keys, dtype=torch.bool).triu(3),
    }


_CROSS = {
    "query": _TOKENS,
    "key": {0: "batch", 1: "keys"},
    "padding": {0: "batch", 1: "keys"},
    "attn_mask": {0: "seq", 1: "keys"},
}


def _sdpa(mask: Callable[[Sizes], Tensor] | None = None, axes: dict[int, str] | None = None, **options) -> Network:
    """scaled_dot_product_attention with `options`, and a mask whose `axes` are symbols."""

    def inputs(sizes: Sizes) -> dict[str, Tensor]:
        found = {name: _normal(seed, sizes[0], HEADS, sizes[1], SIZE) for seed, name in enumerate("qkv")}
        return {**found, "mask": mask(sizes)} if mask else found

    by_head = {0: "batch", 2: "seq"}
    return Network(lambda: Sdpa(**options), inputs, {"q": by_head, "k": by_head, "v": by_head, "mask": axes or {}})


NETWORKS: dict[str, Network] = {
    "bert": _text(Bert, "input_ids", "attention_mask", "token_type_ids"),
    "distilbert": _text(DistilBert, "input_ids", "attention_mask"),
    "roberta": _text(Roberta, "input_ids", "attention_mask"),
    "vit": Network(Vit, _pixels, {"pixel_values": {0: "batch"}}),
    "gpt2": _text(Gpt2, "input_ids"),
    "t5": _text(T5, "input_ids", "attention_mask"),
    "torch_encoder": _text(TorchEncoder, "input_ids", "padding", baked=("seq",)),
    "torch_encoder_pre_norm": _text(lambda: TorchEncoder(True, "gelu"), "input_ids", "padding", baked=("seq",)),
    "torch_attention": Network(TorchAttention, _two_sequences, _CROSS, ("keys",)),
    "sdpa": _sdpa(),
    "sdpa_scaled": _sdpa(scale=0.3),
    "sdpa_causal": _sdpa(is_causal=True),
    "sdpa_boolean": _sdpa(lambda sizes: _kept(sizes)[:, None, None, :], {0: "batch", 3: "seq"}),
    "sdpa_additive": _sdpa(lambda sizes: _normal(4, 1, HEADS, sizes[1], sizes[1]), {2: "seq", 3: "seq"}),
}
