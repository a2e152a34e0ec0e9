"""Attention looks only at the tiles of keys that count: by constant masks, by `is_causal`, or by a file of patterns.

    %y = sp.attention(%q, %k, %v, sp.weight @m) {s + m}    ⇒    %kept = sp.weight @m : !sp.tensor<[1, S, S], i1,
                                                                         #sp.format<"d0: dense, d1/64: dense, …">>
                                                                %y = sp.attention(%q, %k, %v) {s}, mask %kept

What masks say is found by evaluating the region of scores (`known_scores`), so it does not matter how they come: added,
by Where, as booleans, or as positions that are compared. Masks become formats where the target predicts that to be
faster; a file (`patterns`, see sparsec/attention_file.py) changes what the model means and is followed in any case.
Without a target that is all that happens: it is the meaning with which artifacts are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xdsl.dialects.builtin import StringAttr
from xdsl.rewriter import Rewriter

from sparsec.attention_file import BLOCK, AttentionFile, Entry, TopK, read
from sparsec.errors import UsageError
from sparsec.ir import AttentionOp, SelectBlocksOp, node_name, type_of
from sparsec.ir.ops import NODE
from sparsec.ir.shapes import format_shape
from sparsec.masks import EMPTY, FULL, BlockMask
from sparsec.model import Model
from sparsec.passes.base import Pass
from sparsec.passes.choose_formats import Alternative, Decision
from sparsec.passes.constant_masks import ConstantMasks, Found
from sparsec.passes.regions import drop_unused_arguments
from sparsec.target import Target

TILE = (BLOCK, BLOCK)  # of masks where no target says otherwise


@dataclass(frozen=True)
class SparseAttention(Pass):
    """`patterns`: the file that `--attention` names, or nothing."""

    needs_target = True

    patterns: str = ""

    def apply(self, model: Model, target: Target | None) -> list[Decision]:
        ops = [op for op in model.main.body.block.ops if isinstance(op, AttentionOp)]
        file = read(Path(self.patterns)) if self.patterns else None
        if file is not None:
            file.check_names([node_name(op) for op in ops])
        masks = ConstantMasks(model.weights)
        decisions = [_rewrite(op, model, target, file, masks) for op in ops]
        return [decision for decision in decisions if decision is not None]


def _rewrite(
    op: AttentionOp, model: Model, target: Target | None, file: AttentionFile | None, masks: ConstantMasks
) -> Decision | None:
    """Puts a sparse op in the place of `op`, if it is asked for or faster, and tells why."""
    entry = file.of(node_name(op)) if file is not None else None
    tile = target.mask_tile(op) if target is not None else TILE
    if (entry is None and target is None) or tile is None or op.mask is not None:
        return None
    if not all(isinstance(size, int) for size in op.shape.scores):
        if entry is None:
            return None
        raise UsageError(f"{entry.where}: the sizes of {node_name(op)} must be known: fix them with --dim or --shape")
    _, heads, queries, keys = (int(size) for size in op.shape.scores)  # pyright: ignore[reportArgumentType]
    patterns = entry.patterns(heads, queries, keys) if entry is not None else []
    found = masks.find(op, tile, patterns)
    if found is None:
        return None
    new = _sparse_op(op, found, entry.topk if entry is not None else None, entry is not None and entry.causal, masks)
    pattern = f"{_pattern(found.words, entry)}{f' (by {file.path.name})' if entry is not None and file else ''}"
    decision = _decide(op, new, found.mask, pattern, target, model, entry) if target is not None else None
    if decision is None or decision.format != "dense":
        assert op.parent is not None, "the op is in the function"
        op.parent.insert_op_before(new, op)
        Rewriter.replace_op(op, [], [new.result])
    else:
        new.erase()
    return decision


def _sparse_op(op: AttentionOp, found: Found, topk: TopK | None, causal: bool, masks: ConstantMasks) -> AttentionOp:
    """The op with mask and selection, whose own ops come before `op`."""
    shape, block = op.shape, op.parent
    assert block is not None, "the op is in the function"
    extras, score = drop_unused_arguments(found.score, found.extras, keep=1)
    mask = selection = None
    if (found.mask.places != FULL).any():
        mask = masks.weight(found.mask, op)
    if topk is not None:
        keep = topk.count(int(shape.keys))  # pyright: ignore[reportArgumentType]
        causal = causal or _is_causal(found.mask)
        sizes = (shape.heads, shape.kv_heads, shape.sequences, topk.block, keep, causal)
        select = SelectBlocksOp(op.query, op.key, *sizes)
        select.attributes[NODE] = StringAttr(f"{node_name(op)}/blocks")
        block.insert_op_before(select, op)
        selection = select.result
    new = AttentionOp(
        op.query,
        op.key,
        op.value,
        shape.heads,
        shape.sequences,
        shape.kv_heads,
        bool(op.guard),
        extras,
        score,
        mask,
        selection,
        topk.block if topk is not None else 0,
    )
    new.attributes.update(op.attributes)
    return new


def _is_causal(mask: BlockMask) -> bool:
    """Whether no tile that begins behind its last query keeps a pair."""
    _, queries, keys = mask.shape
    last = [min((row + 1) * mask.tile[0], queries) - 1 + keys - queries for row in range(mask.places.shape[1])]
    return all((mask.places[:, row, at // mask.tile[1] + 1 :] == EMPTY).all() for row, at in enumerate(last))


def _pattern(said: str, entry: Entry | None) -> str:
    """What is kept, for people: what the mask is said to keep, and a selection."""
    if entry is None or entry.topk is None:
        return said
    return str(entry.topk) if said == "all keys" else f"{said}; {entry.topk}"


def _decide(
    op: AttentionOp,
    new: AttentionOp,
    mask: BlockMask,
    pattern: str,
    target: Target,
    model: Model,
    entry: Entry | None,
) -> Decision:
    """The two ways to run the attention, as predicted. A file is followed whatever it costs."""
    density = _density(mask, new)
    reasons = "all tiles are computed", f"{density:.1%} of the tiles of {mask.tile[0]} x {mask.tile[1]} are computed"
    formats = "dense", str(mask.format)
    ways = [target.candidates(one, model.weights)[0] for one in (op, new)]
    dense, sparse = (
        Alternative(way.row, format, way.seconds, reason)
        for way, format, reason in zip(ways, formats, reasons, strict=True)
    )
    chosen = sparse if entry is not None or sparse.seconds < dense.seconds else dense
    other = dense if chosen is sparse else sparse
    ratio = other.seconds / chosen.seconds if chosen.seconds else 1.0
    against = f"{ratio:.2f}x the speed of {'all' if chosen is sparse else 'these tiles alone'}"
    return Decision(
        node_name(op),
        op.name,
        _shapes(op),
        density,
        pattern,
        chosen.row,
        chosen.format,
        chosen.seconds,
        f"{chosen.reason}; {against}",
        tuple(sorted((dense, sparse), key=lambda one: one.seconds)),
    )


def _density(mask: BlockMask, new: AttentionOp) -> float:
    """The share of tiles that are computed; of a selection, at most."""
    if new.selection is None:
        return mask.density
    kept = int(type_of(new.selection).static_shape[3])
    assert new.block is not None, "a selection has blocks"
    return min(mask.density, kept / -(-mask.shape[2] // new.block.value.data))


def _shapes(op: AttentionOp) -> str:
    return f"{format_shape(op.shape.scores)} scores of {op.shape.depth} products"
