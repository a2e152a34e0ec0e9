"""Attention, computed as its definition says. Sums are kept in f64 and rounded once, as in the other ops."""

from __future__ import annotations

import numpy as np

from sparsec.interpreter.scalars import evaluate_region
from sparsec.ir import AttentionOp
from sparsec.ir.dims import Dim


def attention(
    op: AttentionOp, query: np.ndarray, key: np.ndarray, value: np.ndarray, *extras: np.ndarray
) -> np.ndarray:
    shape = op.shape
    q = _split(query, shape.sequences, shape.heads)
    k, v = (_split(x, shape.sequences, shape.kv_heads) for x in (key, value))
    k, v = (np.repeat(x, shape.heads // shape.kv_heads, axis=1) for x in (k, v))
    products = (q.astype(np.float64) @ k.astype(np.float64).swapaxes(-1, -2)).astype(np.float32)
    scores = np.broadcast_to(evaluate_region(op.score, [products, *extras])[0], products.shape)
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        weights = weights / np.sum(weights, axis=-1, keepdims=True, dtype=np.float64)
    if op.guard:
        weights = np.where(np.isnan(weights), 0, weights)
    result = weights @ v.astype(np.float64)
    return result.transpose(1, 3, 0, 2).reshape(1, -1, query.shape[2], 1).astype(np.float32)


def _split(x: np.ndarray, sequences: Dim, heads: int) -> np.ndarray:
    """[1, heads·D, B·S, 1] as [B, heads, S, D]."""
    depth, tokens = x.shape[1] // heads, x.shape[2] // int(sequences)  # pyright: ignore[reportArgumentType]
    return x.reshape(heads, depth, -1, tokens).transpose(2, 0, 3, 1)
