"""Attention, computed as its definition says. Sums are kept in f64 and rounded once, as in the other ops."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sparsec.interpreter.scalars import evaluate_region
from sparsec.ir import AttentionOp, SelectBlocksOp
from sparsec.ir.dims import Dim

_STRIPE = 1 << 22  # scores that are computed at once, about: 8 heads of 8192 tokens have 2^29


def attention(
    op: AttentionOp, query: np.ndarray, key: np.ndarray, value: np.ndarray, *others: np.ndarray
) -> np.ndarray:
    shape = op.shape
    q = _split(query, shape.sequences, shape.heads)
    k, v = (_split(x, shape.sequences, shape.kv_heads) for x in (key, value))
    k, v = (np.repeat(x, shape.heads // shape.kv_heads, axis=1) for x in (k, v))
    extras = [np.broadcast_to(x, (*q.shape[:3], k.shape[2])) for x in others[: len(op.extras)]]
    rest = list(others[len(op.extras) :])
    mask = rest.pop(0) if op.mask is not None else None
    result = np.empty((*q.shape[:3], v.shape[3]))
    for place in _stripes(q.shape[0], q.shape[1], q.shape[2], k.shape[2]):
        b, h, rows = place
        products = (q[place].astype(np.float64) @ k[b, h].astype(np.float64).swapaxes(-1, -2)).astype(np.float32)
        scores = evaluate_region(op.score, [products, *(extra[place] for extra in extras)])[0]
        scores = np.broadcast_to(scores, products.shape)
        if mask is not None:
            scores = np.where(mask[h if len(mask) > 1 else slice(None), rows], scores, -np.inf)
        if rest and op.block is not None:
            kept = _selected(rest[0][b, h], op.block.value.data, rows, k.shape[2])
            scores = np.where(kept, scores, -np.inf)
        result[place] = _softmax(scores, bool(op.guard)) @ v[b, h].astype(np.float64)
    return result.transpose(1, 3, 0, 2).reshape(1, -1, query.shape[2], 1).astype(np.float32)


def _stripes(sequences: int, heads: int, queries: int, keys: int) -> Iterator[tuple[slice, slice, slice]]:
    """Parts of [sequences, heads, queries]: all of it where there are few scores, else some queries of one head."""
    if sequences * heads * queries * keys <= _STRIPE:
        yield slice(0, sequences), slice(0, heads), slice(0, queries)
        return
    step = max(1, _STRIPE // keys)
    for b in range(sequences):
        for h in range(heads):
            for first in range(0, queries, step):
                yield slice(b, b + 1), slice(h, h + 1), slice(first, min(queries, first + step))


def _softmax(scores: np.ndarray, guard: bool) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        weights = weights / np.sum(weights, axis=-1, keepdims=True, dtype=np.float64)
    return np.where(np.isnan(weights), 0, weights) if guard else weights


def _selected(selection: np.ndarray, block: int, rows: slice, keys: int) -> np.ndarray:
    """[..., query blocks, kept] as booleans [..., rows, keys]."""
    blocks = np.arange(-(-keys // block))
    kept = (selection[..., None] == blocks).any(axis=-2)
    return np.repeat(kept[..., np.arange(rows.start, rows.stop) // block, :], block, axis=-1)[..., :keys]


def select_blocks(op: SelectBlocksOp, query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Means of blocks are f32, their products are summed in f64."""
    heads, kv_heads, sequences = op.heads.value.data, op.kv_heads.value.data, op.sequences.data[0]
    block, keep = op.block.value.data, op.keep.value.data
    q, k = _split(query, sequences, heads), np.repeat(_split(key, sequences, kv_heads), heads // kv_heads, axis=1)
    first, last, blocks = _own_blocks(q.shape[2], k.shape[2], block)
    scores = _means(q, block) @ _means(k, block).swapaxes(-1, -2)
    columns = np.arange(blocks)
    scores = np.where(columns == 0, np.finfo(np.float64).max, scores)
    scores = np.where((columns >= first[:, None]) & (columns <= last[:, None]), np.inf, scores)
    if op.causal:
        scores = np.where(columns <= last[:, None], scores, -np.inf)
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :keep]
    chosen = np.where(np.take_along_axis(scores, order, -1) == -np.inf, blocks, order)
    chosen = np.sort(chosen, axis=-1)
    result = np.full((*scores.shape[:-1], keep), -1, np.int32)
    result[..., : chosen.shape[-1]] = np.where(chosen == blocks, -1, chosen)
    return result


def _own_blocks(queries: int, keys: int, block: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The first and last block of keys at which the queries of each block stand, and how many blocks of keys there are.

    The last query stands at the last key.
    """
    blocks = -(-keys // block)
    starts = np.arange(0, queries, block)
    ends = np.minimum(starts + block, queries) - 1
    first, last = (np.clip((x + keys - queries) // block, 0, blocks - 1) for x in (starts, ends))
    return first, last, blocks


def _means(x: np.ndarray, block: int) -> np.ndarray:
    """[B, heads, S, D] as the means of blocks of tokens, [B, heads, blocks, D]."""
    starts = np.arange(0, x.shape[2], block)
    counts = np.minimum(block, x.shape[2] - starts)
    sums = np.add.reduceat(x.astype(np.float64), starts, axis=2)
    return (sums / counts[:, None]).astype(np.float32).astype(np.float64)


def _split(x: np.ndarray, sequences: Dim, heads: int) -> np.ndarray:
    """[1, heads·D, B·S, 1] as [B, heads, S, D]."""
    depth, tokens = x.shape[1] // heads, x.shape[2] // int(sequences)  # pyright: ignore[reportArgumentType]
    return x.reshape(heads, depth, -1, tokens).transpose(2, 0, 3, 1)
