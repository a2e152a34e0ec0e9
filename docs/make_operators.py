"""Writes docs/operators.md from the table of handlers: `python docs/make_operators.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx.defs

PAGE = Path(__file__).parent / "operators.md"
PLANE = "1 or 2 spatial axes"
NOTES = {
    "Attention": "scores returned as a second result are stored; float32 whatever softmax_precision says",
    "AveragePool": PLANE,
    "BatchNormalization": "inference only; constant statistics fold into a scale and a shift",
    "BitShift": "uint8 only",
    "Clip": "bounds may be computed",
    "ConstantOfShape": "shape constant, or sizes with symbols",
    "Constant": "no strings",
    "Conv": f"constant weight; {PLANE}",
    "ConvTranspose": f"constant weight; {PLANE}",
    "CumSum": "constant axis",
    "Dropout": "inference only",
    "Expand": "shape constant, or sizes with symbols",
    "If": "constant condition: the branch taken; else both branches, whose results must have equal shapes",
    "Loop": "unrolled: constant number of rounds and condition, at most 4096 rounds",
    "LpPool": PLANE,
    "MaxPool": f"without the indices output; {PLANE}",
    "NonZero": "of constants only",
    "OneHot": "constant depth and values",
    "Pad": "constant pads and value",
    "Range": "constant, or up to a size with symbols",
    "Reshape": "shape constant, or sizes with symbols",
    "Resize": "constant scales, sizes and region of interest",
    "ReverseSequence": "constant lengths",
    "Scan": "unrolled: fixed length, at most 4096 rounds; opset 9 and later",
    "Shape": "a constant, or sizes with symbols that Gather, Concat, Mul, … compute with",
    "Slice": "constant bounds and steps; on axes of symbolic size, a start from the front",
    "Split": "constant sizes",
    "Tile": "constant repeats, or sizes with symbols",
    "TopK": "constant k",
    "Trilu": "constant k",
    "Upsample": "constant scales",
    "com.microsoft.Attention": "no do_rotary, no shared buffer of past and present, no mask of four axes",
    "com.microsoft.FusedConv": f"constant weight; {PLANE}",
    "com.microsoft.MultiHeadAttention": "no shared buffer of past and present, no cache_indirection, no scores",
    "com.microsoft.RelativePositionBias": "constant lengths",
    "com.microsoft.RotaryEmbedding": "no packed batches, no scale",
    "com.microsoft.SkipSimplifiedLayerNormalization": "without the mean output",
}
HEAD = """# Operators

sparsec reads ONNX opsets 9 to 24; a node of another opset is read where it uses nothing that those lack.
Elements are float32, int64, int32, int16, int8, uint8 and bool; float64 and float16 only where they fold away.
Any operator whose inputs are constants is folded. Model-local functions are inlined.
`sparsec check MODEL` lists everything in a model that is not supported.

This page is written by `docs/make_operators.py`, and a test keeps it true.

"""
EXPANDED = """
## By their ONNX definition

These have no handler of their own: they are imported as the function that ONNX defines them by.

"""


def page() -> str:
    """The text of docs/operators.md."""
    from sparsec.frontend.onnx.ops import HANDLERS

    parts = [HEAD]
    for domain in sorted({domain for domain, _ in HANDLERS}):
        names = sorted(name for at, name in HANDLERS if at == domain)
        parts.append(f"## {domain or 'ai.onnx'} ({len(names)})\n\n")
        parts.append("| Operator | Definitions of opset | Limits |\n|---|---|---|\n")
        parts += [
            f"| {name} | {_opsets(name, domain)} | {NOTES.get(f'{domain}.{name}' if domain else name, '')} |\n"
            for name in names
        ]
        parts.append("\n")
    return "".join(parts).rstrip() + "\n" + EXPANDED + ", ".join(_expanded(HANDLERS)) + "\n"


def _opsets(name: str, domain: str) -> str:
    """The opsets between 9 and 24 at which the operator's definition changed."""
    found: list[int] = []
    for opset in range(9, 25):
        try:
            schema = onnx.defs.get_schema(name, opset, domain)
        except onnx.defs.SchemaError:
            continue
        if not schema.deprecated and schema.since_version not in found:
            found.append(schema.since_version)
    return ", ".join(map(str, found)) or "none (contributed)"


def _expanded(handlers: dict) -> list[str]:
    """Operators without a handler whose backend tests pass all the same."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    import onnx_node_tests

    tests = [onnx_node_tests.collect()[name] for name in onnx_node_tests.claimed()]
    operators = {(node.domain, node.op_type) for test in tests if test for node in test.model.graph.node}
    return sorted(name for domain, name in operators if (domain, name) not in handlers)


if __name__ == "__main__":
    PAGE.write_text(page())
