"""Sparse attention against our own dense attention: heads of 64, one thread, by pattern, length and share of tiles.

    python benchmarks/attention.py [--lengths 1024 2048 4096 8192] [--heads 8] [--depth 64] [--isa avx512]

One thread; pin it (taskset -c 1). For each kind of pattern, sizes that come near 5, 10, 25 and 50 % of the tiles;
"blocks" are random ones, "topk" is found at run time, the time of its selection included. All of a length alternate in
one run; medians of CPU time. The limit is what the bytes and FLOPs of the kept tiles cost at the speed of the dense
kernel: "of dense" is the share of its GFLOP/s that they reach.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from machine import peak
from peers import Contender, alternate
from xdsl.dialects.builtin import f32
from xdsl.ir import Operation, SSAValue
from xdsl.utils.test_value import create_ssa_value

from sparsec.interpreter import physical
from sparsec.ir import AttentionOp, SelectBlocksOp, TensorType, type_of
from sparsec.ir.dims import fixed
from sparsec.ir.scalar import region
from sparsec.masks import BlockMask
from sparsec.patterns import Blocks, Pattern, Streaming, Strided, Window, mask_of
from sparsec.targets.isa import ISAS
from sparsec.targets.jit import Jit, aligned, aligned_copy
from sparsec.targets.kernels.call import Call, Packed
from sparsec.targets.kernels.table import family_of
from sparsec.targets.native import NativeTarget
from sparsec.targets.x86 import host
from sparsec.weights import WeightStore

SHARES = (0.05, 0.1, 0.25, 0.5)
TILE = (32, 64)
BLOCK = 64
SELECTION = "selection alone"


def masks(length: int, heads: int) -> dict[str, list[BlockMask]]:
    """By kind, the masks whose densities are nearest to `SHARES`."""
    random = np.random.default_rng(0)

    def blocks(share: float) -> list[Pattern]:
        count = length // BLOCK
        kept = (random.random((count, count)) < share) | np.eye(count, dtype=bool)
        return [Pattern(Blocks(BLOCK, tuple(tuple(np.flatnonzero(row).tolist()) for row in kept)))]

    def window(share: float) -> list[Pattern]:
        return [Pattern(Window(max(1, int(share * length / 2))))]

    def causal_window(share: float) -> list[Pattern]:
        return [Pattern(Window(max(1, int(length * (1 - (1 - min(1.0, 2 * share)) ** 0.5)))), causal=True)]

    def streaming(share: float) -> list[Pattern]:
        return [Pattern(Streaming(BLOCK, max(1, int(length * (1 - (1 - min(1.0, 2 * share)) ** 0.5)))), causal=True)]

    def strided(share: float) -> list[Pattern]:
        stride = max(2, round(1 / share))
        return [Pattern(Strided(stride, BLOCK, BLOCK, head % stride)) for head in range(heads)]

    kinds = {"blocks": blocks, "window": window, "causal window": causal_window}
    kinds |= {"streaming": streaming, "strided per head": strided}
    found = {kind: [mask_of(make(share), length, length, TILE) for share in SHARES] for kind, make in kinds.items()}
    return {"causal": [mask_of([Pattern(causal=True)], length, length, TILE)], **found}


class Bench:
    """Operands of one length, and contenders over them."""

    def __init__(self, length: int, heads: int, depth: int, target: NativeTarget):
        self.length, self.heads, self.depth, self.target = length, heads, depth, target
        self.random = np.random.default_rng(0)
        image = TensorType((1, heads * depth, length, 1), f32, target.panel(length, 1))
        self.values = [create_ssa_value(image) for _ in range(3)]
        self.arrays: dict[SSAValue, np.ndarray] = {value: self._fresh(value) for value in self.values}
        self.score = region([f32], lambda x: x * depth**-0.5)

    def _fresh(self, value: SSAValue) -> np.ndarray:
        type_ = type_of(value)
        numbers = self.random.standard_normal(type_.static_shape).astype(type_.dtype)
        return aligned_copy(physical(numbers, type_))

    def dense(self) -> Contender:
        """All tiles."""
        return self._contender("dense", 1.0, [self._op()])

    def masked(self, kind: str, mask: BlockMask) -> Contender:
        """The tiles of a mask."""
        weights = WeightStore()
        weight = weights.add_mask("mask", mask)
        return self._contender(kind, mask.density, [self._op(mask=weight.result)], weights)

    def topk(self, share: float) -> Contender:
        """A selection at run time and what it leaves."""
        keep = max(2, round(share * self.length / BLOCK))
        select = SelectBlocksOp(*self.values[:2], self.heads, self.heads, 1, BLOCK, keep)
        op = self._op(selection=select.result, block=BLOCK)
        return self._contender("topk", keep * BLOCK / self.length, [select, op])

    def selection(self, share: float) -> Contender:
        """The selection alone."""
        keep = max(2, round(share * self.length / BLOCK))
        select = SelectBlocksOp(*self.values[:2], self.heads, self.heads, 1, BLOCK, keep)
        return self._contender(SELECTION, keep * BLOCK / self.length, [select])

    def _op(self, **options) -> AttentionOp:
        op = AttentionOp(*self.values, self.heads, score=self.score.clone(), **options)
        op.result._type = type_of(op.result).with_encoding(type_of(self.values[0]).encoding)
        return op

    def _contender(
        self, name: str, share: float, ops: Sequence[Operation], weights: WeightStore | None = None
    ) -> Contender:
        arrays = dict(self.arrays)
        runs = []
        for op in ops:
            family = family_of(op)
            assert family is not None, f"no kernel for {op.name}"
            for call in family.lower(op, weights or WeightStore()):
                runs.append(self._prepared(call, arrays))
        return Contender(name, lambda: [run() for run in runs], 1, share)

    def _prepared(self, call: Call, arrays: dict[SSAValue, np.ndarray]) -> Callable[[], None]:
        operands = []
        for argument in call.arguments:
            if isinstance(argument, Packed):
                operands.append(aligned_copy(np.ascontiguousarray(argument.build())))
                continue
            assert isinstance(argument, SSAValue), "all sizes are known"
            if argument not in arrays:
                type_ = type_of(argument)
                arrays[argument] = aligned(fixed(type_.nbytes)).view(type_.dtype)
            operands.append(arrays[argument])
        run = Jit([call.kernel], self.target.isas[0]).prepared(call.kernel, operands)
        return lambda: run(0, fixed(call.kernel.chunks))


def compare(bench: Bench, rounds: int) -> None:
    """Times all patterns of a length and prints a line each."""
    contenders = [bench.dense()]
    for kind, found in masks(bench.length, bench.heads).items():
        contenders += [bench.masked(kind, mask) for mask in found]
    for share in SHARES:
        contenders += [bench.topk(share), bench.selection(share)]
    alternate(contenders, rounds)
    dense, *others = contenders
    flops = 4 * bench.heads * bench.length**2 * bench.depth
    speed = flops / dense.seconds
    top = peak(bench.target.isas[0])
    print(
        f"\n{bench.length} tokens, {bench.heads} heads of {bench.depth}: dense {dense.seconds * 1e3:.2f} ms, ", end=""
    )
    print(f"{speed / 1e9:.1f} GFLOP/s of {top / 1e9:.0f}")
    print(f"{'pattern':18}{'tiles':>8}{'ms':>10}{'gain':>8}{'of dense':>10}")
    for contender in others:
        print(f"{contender.label:18}{contender.density:8.1%}{contender.seconds * 1e3:10.2f}", end="")
        gain = dense.seconds / contender.seconds
        print("" if contender.label == SELECTION else f"{gain:8.2f}{contender.density * gain:10.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--depth", type=int, default=64)
    parser.add_argument("--isa", choices=[name for name, isa in ISAS.items() if isa.x86])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    target = host("host", "", (), "f32")
    if arguments.isa:
        target.isas = (ISAS[arguments.isa],)
    for length in arguments.lengths:
        compare(Bench(length, arguments.heads, arguments.depth, target), arguments.rounds)


if __name__ == "__main__":
    main()
