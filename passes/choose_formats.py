"""Each op gets the cheapest kernel that the target predicts for it, and each weight the format that its kernel reads.

    %y = sp.conv(%x, %w)   ⇒   %w = sp.weight @w : !sp.tensor<[…], f32, #sp.format<"d0: dense, d1: compressed">>
                               %y = sp.conv(%x, %w) {kernel = "spmm_f32_csr_…"}

With `formats=dense` only kernels of dense weights count, with `formats=sparse` the others come first. Why a layer got
its kernel, and what the alternatives would cost, is kept as a `Decision` (what `sparsec explain` prints), by the name
of its node: ops that share one, or have none, get numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation

from sparsec.errors import UnsupportedModel
from sparsec.ir import (
    AttentionOp,
    Contraction,
    FormatAttr,
    MatmulOp,
    RelayoutOp,
    ReshapeOp,
    SpOp,
    WeightOp,
    node_name,
    type_of,
)
from sparsec.ir.ops import KERNEL, NODE
from sparsec.ir.ranges import symbols_of
from sparsec.ir.shapes import format_shape
from sparsec.model import Model
from sparsec.passes.base import Pass, constant
from sparsec.sparsity import Sparsity, describe
from sparsec.target import Candidate, Target

_FULL = 0.9  # the share of non-zeros from which on a weight is stored as it is


@dataclass(frozen=True)
class Alternative:
    """One way to run a layer; `format` is "dense" or the levels of a sparse format, `seconds` predicted or measured."""

    row: str
    format: str
    seconds: float
    reason: str


@dataclass(frozen=True)
class Decision:
    """What was chosen for a layer and why: `alternatives` are all that the target offered, best first."""

    node: str
    op: str
    shapes: str
    density: float
    pattern: str
    row: str
    format: str
    seconds: float
    reason: str
    alternatives: tuple[Alternative, ...]
    measured: bool = False


@dataclass(frozen=True)
class ChooseFormats(Pass):
    """`formats`: auto, dense or sparse."""

    needs_target = True

    formats: Literal["auto", "dense", "sparse"] = "auto"

    def apply(self, model: Model, target: Target | None) -> list[Decision]:
        assert target is not None, "choosing formats needs a target"
        _name_apart(op for op in model.main.body.block.ops if not isinstance(op, WeightOp | ReturnOp))
        decisions: list[Decision] = []
        unsupported: list[Operation] = []
        for op in list(model.main.body.block.ops):
            if not isinstance(op, SpOp) or isinstance(op, WeightOp | ReshapeOp | RelayoutOp):
                continue
            candidates = target.candidates(op, model.weights)
            chosen = _choose(candidates, self.formats)
            if chosen and self.formats == "auto" and _stores_too_much(chosen, op, model):
                chosen = _choose(candidates, "dense") or chosen
            if chosen is None:
                unsupported.append(op)
            elif isinstance(op, AttentionOp):
                op.attributes[KERNEL] = StringAttr(chosen.row)
            elif isinstance(op, Contraction):
                decisions.append(_decide(op, chosen, candidates, model))
                _apply(op, chosen)
        if unsupported:
            raise _unsupported(unsupported, model, target)
        return decisions


def _unsupported(ops: Sequence[Operation], model: Model, target: Target) -> UnsupportedModel:
    """All ops that nothing runs; and what to do where that is because a size is not known before a run."""
    lines = "\n".join(f"  {node_name(op)}: {op.name} {_shapes(op)}" for op in ops)
    text = f"{target.name} has no kernel for {len(ops)} ops of {model.name}:\n{lines}"
    if names := sorted(frozenset().union(*map(symbols_of, ops))):
        text += (
            f"\nwith fixed sizes more may run: fix {', '.join(names)} with {' '.join(f'--dim {n}=N' for n in names)}"
        )
    return UnsupportedModel(text)


def _name_apart(ops: Iterable[Operation]) -> None:
    """Gives ops whose nodes have the same name, or none, names of their own: decisions and profiles go by them.

    Of the ops that a node became, the one with weights, or the attention, keeps its name, then any but a relayout.
    """
    taken: set[str] = set()
    for op in sorted(ops, key=lambda op: (not isinstance(op, Contraction | AttentionOp), isinstance(op, RelayoutOp))):
        name = node_name(op)
        numbered = (f"{name}#{number}" for number in count(2))
        own = name if name not in taken else next(other for other in numbered if other not in taken)
        taken.add(own)
        if own != name:
            op.attributes[NODE] = StringAttr(own)


def _is_dense(candidate: Candidate) -> bool:
    return candidate.format is None or candidate.format.is_dense


def _choose(candidates: Sequence[Candidate], formats: str) -> Candidate | None:
    """The first candidate of the wanted kind; without a sparse one, the first of all."""
    wanted = {"auto": candidates, "dense": [c for c in candidates if _is_dense(c)]}
    if formats in wanted:
        return next(iter(wanted[formats]), None)
    return next((c for c in candidates if not _is_dense(c)), next(iter(candidates), None))


def _stores_too_much(chosen: Candidate, op: Operation, model: Model) -> bool:
    """Whether a sparse kernel was chosen, by prediction alone, for a weight that has next to no zeros.

    Predictions for such weights are far from all samples: on tokens, blocks of 4 outputs that were to take 0.99 of the
    time of dense weights took 1.4.
    """
    if _is_dense(chosen) or chosen.measured or not isinstance(op, Contraction):
        return False
    weight = constant(op.rhs, model.weights)
    return weight is not None and bool(np.count_nonzero(weight) > _FULL * weight.size)


def _decide(op: Contraction, chosen: Candidate, candidates: Sequence[Candidate], model: Model) -> Decision:
    weight = constant(op.rhs, model.weights)
    if weight is not None and isinstance(op, MatmulOp) and not op.transpose_b:
        weight = weight.swapaxes(-1, -2)
    found = describe(weight) if weight is not None else Sparsity("dense", 1.0)
    alternatives = tuple(Alternative(c.row, _format_name(c), c.seconds, c.reason) for c in candidates)
    return Decision(
        node_name(op),
        op.name,
        _shapes(op),
        found.density,
        str(found),
        chosen.row,
        _format_name(chosen),
        chosen.seconds,
        _reason(chosen, candidates),
        alternatives,
        chosen.measured,
    )


def _format_name(candidate: Candidate) -> str:
    return "dense" if _is_dense(candidate) else str(candidate.format)


def _reason(chosen: Candidate, candidates: Sequence[Candidate]) -> str:
    """The candidate's own reason, and how it compares with the best of the other kind."""
    other = next((c for c in candidates if _is_dense(c) != _is_dense(chosen)), None)
    if other is None:
        return chosen.reason
    ratio = other.seconds / chosen.seconds if chosen.seconds else float("inf")
    against = f"{ratio:.2f}x the speed of {'dense' if _is_dense(other) else 'sparse'} ({other.row})"
    return f"{chosen.reason}; {against}" if chosen.reason else against


def _apply(op: Contraction, chosen: Candidate) -> None:
    op.attributes[KERNEL] = StringAttr(chosen.row)
    weight = op.rhs.owner
    if chosen.format is None or not isinstance(weight, WeightOp):
        return
    encoded = type_of(op.rhs).with_encoding(FormatAttr(chosen.format))
    if encoded == op.rhs.type:
        return
    new = WeightOp(weight.key, encoded)
    new.result.name_hint = op.rhs.name_hint
    assert op.parent is not None, "the op is in the function"
    op.parent.insert_op_before(new, op)
    op.operands[1] = new.result


def _shapes(op: Operation) -> str:
    inputs = ", ".join(format_shape(type_of(value).shape) for value in op.operands)
    return f"{inputs} -> {', '.join(format_shape(type_of(value).shape) for value in op.results)}"
