"""What nodes of onnxruntime's own operators (domain com.microsoft) may look like; the onnx package does not know."""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import AttributeProto

_KINDS = {
    "i": AttributeProto.INT,
    "f": AttributeProto.FLOAT,
    "s": AttributeProto.STRING,
    "is": AttributeProto.INTS,
    "fs": AttributeProto.FLOATS,
}


@dataclass(frozen=True)
class Shape:
    """The least and greatest numbers of inputs and outputs, and attributes with their kinds; `!` marks needed ones."""

    inputs: tuple[int, int]
    outputs: tuple[int, int] = (1, 1)
    attributes: dict[str, str] = field(default_factory=dict)

    def typed(self) -> dict[str, tuple[int, bool]]:
        """Attributes: name → type, required."""
        return {name: (_KINDS[kind.rstrip("!")], kind.endswith("!")) for name, kind in self.attributes.items()}


_ACTIVATION = {"activation": "s", "activation_alpha": "f", "activation_beta": "f", "activation_gamma": "f"}
_CONV = {"auto_pad": "s", "dilations": "is", "group": "i", "kernel_shape": "is", "pads": "is", "strides": "is"}
_HEADS = {"num_heads": "i!", "scale": "f", "mask_filter_value": "f", "unidirectional": "i"}
_MATMUL = {"alpha": "f", "transA": "i", "transB": "i"}

SHAPES: dict[str, Shape] = {
    "Attention": Shape((2, 7), (1, 2), {
        **_HEADS, "do_rotary": "i", "past_present_share_buffer": "i", "qkv_hidden_sizes": "is",
        "rotary_embedding_dim": "i",
    }),
    "BiasGelu": Shape((2, 2)),
    "EmbedLayerNormalization": Shape((7, 9), (1, 3), {"epsilon": "f", "mask_index_type": "i"}),
    "FastGelu": Shape((1, 2)),
    "FusedConv": Shape((2, 4), (1, 1), {**_CONV, "activation": "s", "activation_params": "fs"}),
    "FusedGemm": Shape((2, 3), (1, 1), {**_MATMUL, "beta": "f", **_ACTIVATION}),
    "FusedMatMul": Shape((2, 2), (1, 1), {**_MATMUL, "transBatchA": "i", "transBatchB": "i"}),
    "Gelu": Shape((1, 1)),
    "MultiHeadAttention": Shape((1, 10), (1, 4), _HEADS),
    "QuickGelu": Shape((1, 1), (1, 1), {"alpha": "f"}),
    "RelativePositionBias": Shape((3, 3), (1, 1), {"is_bidirectional": "i", "max_distance": "i!"}),
    "RotaryEmbedding": Shape((4, 4), (1, 1), {
        "interleaved": "i", "is_packed_batching": "i", "num_heads": "i", "rotary_embedding_dim": "i", "scale": "f",
    }),
    "SkipLayerNormalization": Shape((3, 5), (1, 4), {"epsilon": "f"}),
    "SkipSimplifiedLayerNormalization": Shape((3, 4), (1, 4), {"epsilon": "f"}),
    "TransposeMatMul": Shape((2, 2), (1, 1), _MATMUL),
}  # fmt: skip
