"""Small encoders compiled for all targets, their linear layers over panels of tokens, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from whole_models import compile_and_compare, write_model

ISAS = {"arm": (None,), "wasm": ("wasm-relaxed", "wasm")}
HIDDEN, INNER, HEADS = 32, 64, 2

HEAD = """
encoder (float[{b},{s},{c}] x, float[{b},{s},1] mask) => (float[{b},{s},{c}] y, float[{b},{c}] pooled)
<int64[4] heads = {{{b}, {s}, {heads}, {d}}}, int64[3] joined = {{{b}, {s}, {c}}}, int64[1] one = {{1}},
 float scale = {{0.25}}, float root = {{1.4142135}}, float unit = {{1.0}}, float half = {{0.5}},
 float cube = {{0.044715}}, float slope = {{0.7978846}}>
{{
"""
LAYER = """
  {n}q0 = MatMul ({x}, {n}wq)    {n}q1 = Add ({n}q0, {n}bq)    {n}q2 = Reshape ({n}q1, heads)
  {n}q3 = Transpose <perm = [0, 2, 1, 3]> ({n}q2)
  {n}k0 = MatMul ({x}, {n}wk)    {n}k1 = Add ({n}bk, {n}k0)    {n}k2 = Reshape ({n}k1, heads)
  {n}k3 = Transpose <perm = [0, 2, 3, 1]> ({n}k2)
  {n}v0 = MatMul ({x}, {n}wv)    {n}v1 = Add ({n}v0, {n}bv)    {n}v2 = Reshape ({n}v1, heads)
  {n}v3 = Transpose <perm = [0, 2, 1, 3]> ({n}v2)
  {n}s0 = MatMul ({n}q3, {n}k3)  {n}s1 = Mul ({n}s0, scale)    {n}s2 = Softmax <axis = -1> ({n}s1)
  {n}c0 = MatMul ({n}s2, {n}v3)  {n}c1 = Transpose <perm = [0, 2, 1, 3]> ({n}c0)
  {n}c2 = Reshape ({n}c1, joined)
  {n}o0 = MatMul ({n}c2, {n}wo)  {n}o1 = Add ({n}o0, {n}bo)    {n}r0 = Add ({n}o1, {x})
  {n}n0 = LayerNormalization <axis = -1, epsilon = 1e-5> ({n}r0, {n}g, {n}bq)
  {n}f0 = MatMul ({n}n0, {n}wi)  {n}f1 = Add ({n}f0, {n}bi)
  {gelu}
  {n}h0 = MatMul ({n}f, {n}wd)   {n}h1 = Add ({n}h0, {n}bd)    {n}r1 = Add ({n}h1, {n}n0)
  {y} = LayerNormalization <axis = -1, epsilon = 1e-5> ({n}r1, {n}g, {n}bk)
"""
ERF = """
  {n}e0 = Div ({n}f1, root)      {n}e1 = Erf ({n}e0)           {n}e2 = Add ({n}e1, unit)
  {n}e3 = Mul ({n}f1, {n}e2)     {n}f = Mul ({n}e3, half)
"""
TANH = """
  {n}e0 = Mul ({n}f1, {n}f1)     {n}e1 = Mul ({n}e0, {n}f1)    {n}e2 = Mul ({n}e1, cube)
  {n}e3 = Add ({n}f1, {n}e2)     {n}e4 = Mul ({n}e3, slope)    {n}e5 = Tanh ({n}e4)
  {n}e6 = Add ({n}e5, unit)      {n}e7 = Mul ({n}f1, {n}e6)    {n}f = Mul ({n}e7, half)
"""
TAIL = """
  p0 = Mul (y, mask)
  pooled = ReduceSum <keepdims = 0> (p0, one)
}
"""


def encoder(folder: Path, batch: int, sequence: int, sparsity: float = 0.0, block: int = 1) -> Path:
    """Two layers of an encoder, one with GELU by erf, one by tanh; the sum of the tokens that count."""
    sizes = {"b": batch, "s": sequence, "c": HIDDEN, "heads": HEADS, "d": HIDDEN // HEADS}
    text = HEAD.format(**sizes)
    text += LAYER.format(x="x", y="z", n="a", gelu=ERF.format(n="a")) + LAYER.format(
        x="z", y="y", n="b", gelu=TANH.format(n="b")
    )
    rng = np.random.default_rng(0)
    constants = {}
    for layer in "ab":
        for part in "qkvoid":
            k, m = {"i": (HIDDEN, INNER), "d": (INNER, HIDDEN)}.get(part, (HIDDEN, HIDDEN))
            kept = np.repeat(rng.random((k, m // block)) >= sparsity, block, axis=1)
            constants[f"{layer}w{part}"] = rng.standard_normal((k, m), np.float32) * np.float32(k**-0.5) * kept
            constants[f"{layer}b{part}"] = rng.standard_normal(m, np.float32)
        constants[f"{layer}g"] = rng.uniform(0.5, 1.5, HIDDEN).astype(np.float32)
    return write_model(folder / f"encoder_{batch}_{sequence}.onnx", text + TAIL, constants)


@pytest.mark.parametrize(("batch", "sequence"), [(1, 1), (1, 7), (1, 16), (3, 17), (1, 33), (3, 33), (1, 197)])
def test_tokens(batch: int, sequence: int, tmp_path: Path) -> None:
    compile_and_compare(encoder(tmp_path, batch, sequence), tmp_path)


@pytest.mark.parametrize("block", [1, 4])
def test_sparse(block: int, tmp_path: Path) -> None:
    compile_and_compare(encoder(tmp_path, 1, 40, 0.8, block), tmp_path, formats="sparse")


@pytest.mark.parametrize("target", ISAS)
@pytest.mark.parametrize("sparsity", [0.0, 0.8])
def test_other_targets(target: str, sparsity: float, tmp_path: Path) -> None:
    path = encoder(tmp_path, 3, 17, sparsity)
    compile_and_compare(path, tmp_path, target=target, isas=ISAS[target], threads=(1,))


def test_bf16(tmp_path: Path) -> None:
    isas = ("avx512-amx", "avx512-bf16", "avx512", "avx2")
    compile_and_compare(encoder(tmp_path, 1, 33), tmp_path, 5e-2, isas, precision="bf16")
