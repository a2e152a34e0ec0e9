"""Linear layers of many tokens, and what lies between them, work on images whose rows are tokens: the token form.

    %y = sp.matmul(%x, @w) [B, S, C] × [C, M]      ⇒  %t = tokens(%x) : [1, C, B·S, 1]
    %z = sp.norm(%y) over the last axis                %y = sp.conv(%t, @w.T), 1×1
                                                       %n = sp.norm(%y) over axis 1
                                                       %z = features(%n) : [B, S, M]

with tokens and features a reshape, a transpose and a reshape each. Token b·S + s is token s of sequence b. Features are
channels, so linear layers have all kernels of 1×1 convolutions; tokens are innermost, so norms and maps are computed
for vectors of tokens.

Linear layers of enough tokens are converted, but for one that stands alone. Maps of operands that are as large as the
result, or one number a feature or a token; norms, softmax and reductions over features; reshapes that keep features;
concatenations and slices of features follow where that leaves fewer elements to convert (`_Region.improve`). What
attention asks of queries, keys and values, or what other transposes stand at a region's edge, `simplify_movement` joins
with the conversions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from sparsec.ir import (
    AttentionOp,
    ConcatOp,
    ConvOp,
    MapOp,
    MatmulOp,
    NormOp,
    ReduceOp,
    ReshapeOp,
    SliceOp,
    SoftmaxOp,
    TransposeOp,
    WeightOp,
    type_of,
)
from sparsec.ir.dims import Dim, product
from sparsec.ir.ops import values
from sparsec.model import Model
from sparsec.passes.base import Pass, like
from sparsec.target import Target

_SWEEPS = 10


@dataclass(frozen=True)
class TokensInnermost(Pass):
    """`least`: of how many tokens linear layers are converted, unless one stands alone.

    Two layers of BERT on 8 tokens take 0.75 of the time of row-major kernels, 0.83 with 90 % zeros; feed-forwards alone
    0.75 and 0.81, on 16 tokens 0.97 and 0.82. One layer with both its conversions takes 1.08 on 64 tokens.
    """

    least: int = 8

    def apply(self, model: Model, target: Target | None) -> None:
        ops = list(model.main.body.block.ops)
        region = _Region(ops, self.least)
        region.improve()
        region.leave_alone()
        _Rewriter(model, region).rewrite(ops)


class _Region:
    """Which ops work in token form."""

    def __init__(self, ops: list[Operation], least: int):
        self._least = least
        able = {op: None for op in ops if self._is_able(op)}
        self._movable = [op for op in able if not isinstance(op, MatmulOp)]
        self.inside = _connected(able, [op for op in able if isinstance(op, MatmulOp)])

    def improve(self) -> None:
        """Move ops out or in while that converts fewer elements; on a tie in, where epilogues can take maps."""
        for _ in range(_SWEEPS):
            moved = False
            for op in self._movable:
                inside = op in self.inside
                gain = self._converted(op, inside) - self._converted(op, not inside)
                if gain > 0 or (gain == 0 and not inside and self._touches(op)):
                    self.inside ^= {op}
                    moved = True
            if not moved:
                return

    def leave_alone(self) -> None:
        """Move out what is around a single linear layer that neither reads nor feeds attention, as classifiers."""
        rest = set(self.inside)
        while rest:
            part = _connected(rest, {next(iter(rest))})
            rest -= part
            linears = [op for op in part if isinstance(op, MatmulOp)]
            if len(linears) < 2 and not any(map(_is_at_attention, linears)) and _is_fixed(part):
                self.inside -= part

    def _touches(self, op: Operation) -> bool:
        return any(other in self.inside for other in _neighbours(op))

    def _converted(self, op: Operation, inside: bool) -> int:
        """How many elements around `op` are converted, with `op` inside or not. Constants are, as it is compiled."""
        total = 0
        for value in dict.fromkeys(_streams(op)):
            if not isinstance(value.owner, WeightOp) and (value.owner in self.inside) != inside:
                total += _size(value)
        result = op.results[0]
        if any((use.operation in self.inside) != inside for use in result.uses):
            total += _size(result)
        return total

    def _is_able(self, op: Operation) -> bool:
        """Whether `op` has a token form, and enough tokens."""
        if len(op.results) != 1 or not _is_of_tokens(op.results[0], self._least):
            return False
        result = op.results[0]
        last = type_of(result).rank - 1
        match op:
            case MatmulOp():
                constant = isinstance(op.rhs.owner, WeightOp) and type_of(op.rhs).rank == 2
                fits = all(_role(extra, result) for extra in op.extras)
                return constant and not op.transpose_a and fits and _is_of_tokens(op.lhs, self._least)
            case MapOp():
                return all(_role(value, result) for value in op.inputs)
            case NormOp() | SoftmaxOp():
                return values(op.axes) == (last,)
            case ReduceOp():
                return values(op.axes) == (last,) and bool(op.keepdims)
            case ReshapeOp():
                before = type_of(op.input)
                return before.rank > 1 and before.shape[-1] == type_of(result).shape[-1]
            case ConcatOp():
                return op.axis.value.data == last
            case SliceOp():
                return _cuts_features(op)
        return False


def _is_of_tokens(value: SSAValue, least: int) -> bool:
    """Whether `value` has numbers for at least `least` tokens, or for how many only the run knows."""
    type_ = type_of(value)
    if type_.rank < 2 or type_.element != f32 or not isinstance(type_.shape[-1], int) or 0 in type_.shape:
        return False
    tokens = _tokens(value)
    return not isinstance(tokens, int) or tokens >= least


def _tokens(value: SSAValue) -> Dim:
    return product(type_of(value).shape[:-1])


def _role(value: SSAValue, result: SSAValue) -> str | None:
    """What `value` gives to each element of `result`: its own (full), its feature's, its token's, or one number."""
    type_, whole = type_of(value), type_of(result).shape
    if type_.element != f32 or type_.rank > len(whole):
        return None
    shape = (*(1,) * (len(whole) - type_.rank), *type_.shape)
    if all(size == 1 for size in shape):
        return "number"
    if shape == whole:
        return "full"
    if all(size == 1 for size in shape[:-1]):
        return "feature"
    return "token" if shape == (*whole[:-1], 1) else None


def _cuts_features(op: SliceOp) -> bool:
    """Whether a slice keeps all tokens, and features that follow one another."""
    axes = zip(type_of(op.input).shape[:-1], type_of(op.result).shape[:-1], values(op.steps)[:-1], strict=True)
    return all(size == part and step == 1 for size, part, step in axes) and values(op.steps)[-1] == 1


def _streams(op: Operation) -> list[SSAValue]:
    """The operands that `op`, where it works in token form, reads so; other operands are small."""
    match op:
        case MatmulOp():
            return [op.lhs, *(extra for extra in op.extras if _role(extra, op.result) == "full")]
        case MapOp():
            return [value for value in op.inputs if _role(value, op.result) == "full"]
    return list(op.operands)


def _neighbours(op: Operation) -> list[Operation]:
    sources = [value.owner for value in _streams(op) if isinstance(value.owner, Operation)]
    readers = [use.operation for result in op.results for use in result.uses if result in _operands(use.operation)]
    return [*sources, *readers]


def _operands(op: Operation) -> list[SSAValue]:
    return _streams(op) if isinstance(op, MatmulOp | MapOp) else list(op.operands)


def _connected(allowed: Collection[Operation], start: Collection[Operation]) -> set[Operation]:
    """The ops of `start`, and those that only ops of `allowed` part from one."""
    found = set(start)
    waiting = list(start)
    while waiting:
        for other in _neighbours(waiting.pop()):
            if other in allowed and other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _is_fixed(ops: Iterable[Operation]) -> bool:
    """Whether the numbers of tokens are known; kernels for others may only exist in token form."""
    return all(isinstance(_tokens(op.results[0]), int) for op in ops)


def _is_at_attention(op: MatmulOp) -> bool:
    """Whether only movement parts the layer from attention."""
    value = op.lhs
    while isinstance(value.owner, ReshapeOp | TransposeOp):
        value = value.owner.input
    return isinstance(value.owner, AttentionOp) or _feeds_attention(op.result)


def _feeds_attention(value: SSAValue) -> bool:
    readers = [use.operation for use in value.uses]
    moved = [reader.results[0] for reader in readers if isinstance(reader, ReshapeOp | TransposeOp)]
    return any(isinstance(reader, AttentionOp) for reader in readers) or any(map(_feeds_attention, moved))


def _size(value: SSAValue) -> int:
    """Elements, of one token where only the run knows how many there are."""
    size = product(type_of(value).shape)
    return size if isinstance(size, int) else int(type_of(value).shape[-1])  # pyright: ignore[reportArgumentType]


class _Rewriter:
    """Puts the ops of a region in token form; `self._forms` are values in that form."""

    def __init__(self, model: Model, region: _Region):
        self._weights, self._inside = model.weights, region.inside
        self._forms: dict[SSAValue, SSAValue] = {}

    def rewrite(self, ops: list[Operation]) -> None:
        """Conversions stand before the first op inside that reads the value, or behind the op that makes it."""
        replaced = [op for op in ops if op in self._inside]
        for op in replaced:
            new = like(self._new(op), op) if not isinstance(op, ReshapeOp) else None
            if new is not None:
                self._insert(op, new)
            self._forms[op.results[0]] = self._form(op.operands[0], op) if new is None else new.results[0]
            self._leave(op)
        for op in reversed(replaced):
            Rewriter.erase_op(op)

    def _insert(self, before: Operation, new: Operation) -> Operation:
        Rewriter.insert_op(new, InsertPoint.before(before))
        return new

    def _leave(self, op: Operation) -> None:
        """Ops outside read the result of `op` with features innermost."""
        result = op.results[0]
        outside = [use for use in result.uses if use.operation not in self._inside]
        if not outside:
            return
        form = self._forms[result]
        matrix = ReshapeOp(form, type_of(form).shape[1:3])
        turned = TransposeOp(matrix.result, [1, 0])
        back = ReshapeOp(turned.result, type_of(result).shape)
        for new in (matrix, turned, back):
            self._insert(op, like(new, op))
        for use in outside:
            use.operation.operands[use.index] = back.result

    def _form(self, value: SSAValue, op: Operation) -> SSAValue:
        """`value`, of all tokens and features, in token form, for `op`."""
        if value not in self._forms:
            features, tokens = type_of(value).shape[-1], _tokens(value)
            matrix = ReshapeOp(value, (tokens, features))
            turned = TransposeOp(matrix.result, [1, 0])
            for new in (matrix, turned, form := ReshapeOp(turned.result, (1, features, tokens, 1))):
                self._insert(op, like(new, op))
            self._forms[value] = form.result
        return self._forms[value]

    def _operand(self, value: SSAValue, op: Operation) -> SSAValue:
        """An operand of a map or an epilogue as it is broadcast in token form."""
        size = type_of(value).shape[-1:]
        shapes = {"number": (1, 1, 1), "feature": (*size, 1, 1)}
        role = _role(value, op.results[0])
        assert role is not None, "see _Region._is_able"
        if role in ("full", "token"):
            return self._form(value, op)
        if type_of(value).shape in (shapes[role], (1,), ()):
            return value
        return self._insert(op, ReshapeOp(value, shapes[role])).results[0]

    def _new(self, op: Operation) -> Operation:
        match op:
            case MatmulOp():
                return self._conv(op)
            case MapOp():
                return MapOp([self._operand(value, op) for value in op.inputs], op.body.clone())
            case NormOp():
                return NormOp(self._form(op.input, op), [1], op.epsilon.value.data, bool(op.center))
            case SoftmaxOp():
                return SoftmaxOp(self._form(op.input, op), [1], bool(op.log))
            case ReduceOp():
                return ReduceOp(self._form(op.input, op), op.kind.data, [1], True)
            case ConcatOp():
                return ConcatOp([self._form(value, op) for value in op.inputs], 1)
            case SliceOp():
                form = self._form(op.input, op)
                shape = (1, type_of(op.result).shape[-1], *type_of(form).shape[2:])
                return SliceOp(form, [0, values(op.starts)[-1], 0, 0], [1] * 4, shape)
        raise TypeError(f"{op.name} has no token form")

    def _conv(self, op: MatmulOp) -> ConvOp:
        """The linear layer as a convolution by [M, K, 1, 1], a view of its weight."""
        assert isinstance(op.rhs.owner, WeightOp), "see _Region._is_able"
        array = self._weights.of(op.rhs.owner)
        weight = self._weights.add(op.rhs.owner.key, (array if op.transpose_b else array.T)[:, :, None, None])
        self._insert(op, weight)
        extras = [self._operand(extra, op) for extra in op.extras]
        lhs = self._form(op.lhs, op)
        return ConvOp(lhs, weight.result, [1, 1], [1, 1], [0] * 4, 1, extras, op.epilogue.clone())
