"""Kernels bound by memory: depthwise convolution, pooling, resize, copies; each beside a copy of as many bytes.

    python benchmarks/spatial.py [--isa avx512] [--only depthwise]

One thread; pin it (taskset -c 1). Smallest of many times, operands in the caches as far as they fit. GB/s count the
bytes of all operands once; "of copy" is the share of the speed at which our copy kernel moves as many, in the same run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import Block, Operation

from sparsec.ir import ConcatOp, ConvOp, PanelAttr, PoolOp, RelayoutOp, ResizeOp, TensorType, TransposeOp, type_of
from sparsec.ir.scalar import region
from sparsec.targets.isa import ISAS, Isa
from sparsec.targets.jit import Jit, aligned_copy
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Call, Packed
from sparsec.targets.kernels.movement.boxes import Box
from sparsec.targets.kernels.movement.copy import Copy
from sparsec.targets.kernels.table import family_of
from sparsec.targets.registry import parse_target
from sparsec.weights import WeightStore

MOBILENET = [(32, 112, 1), (64, 112, 2), (128, 56, 1), (128, 56, 2), (256, 28, 1), (256, 28, 2)]
MOBILENET += [(512, 14, 1), (512, 14, 2), (1024, 7, 1)]
LARGE = [(96, 56, 7, 1), (384, 14, 7, 1), (480, 14, 5, 1), (144, 56, 5, 2)]
ROUNDS = 20


@dataclass
class Row:
    """One kernel to time."""

    label: str
    op: Operation
    operations: int = 0


def rows() -> Iterator[Row]:
    """Everything that is measured."""
    for channels, size, stride in MOBILENET:
        yield depthwise(channels, size, 3, stride)
    for channels, size, taps, stride in LARGE:
        yield depthwise(channels, size, taps, stride)
    for kind, channels, size, taps, stride, pad in (("max", 64, 112, 3, 2, 1), ("max", 64, 20, 5, 1, 2)):
        yield Row(
            f"{kind} pool",
            made(lambda x, k=kind, t=taps, s=stride, p=pad: pool(x, k, t, s, p), (1, channels, size, size)),
        )
    doubled = (1, 64, 56, 56), (1, 1, 2, 2)
    for mode in ("nearest", "linear", "cubic"):
        yield Row("resize x2", made(lambda x, m=mode: ResizeOp(x, *doubled, m), (1, 64, 28, 28)))
    yield Row("concat", made(lambda *x: ConcatOp(x, 1), (1, 128, 28, 28), (1, 128, 28, 28)))
    yield Row("to panels", made(lambda x: RelayoutOp(x, encoding(28, 28)), (1, 256, 28, 28), panels=False))
    for shape, perm in (
        ((1, 64, 28, 28), (0, 2, 3, 1)),
        ((1, 28, 28, 64), (0, 3, 1, 2)),
        ((1, 12, 128, 64), (0, 1, 3, 2)),
    ):
        yield Row(f"transpose {perm}", made(lambda x, p=perm: TransposeOp(x, p), shape, panels=False))


def depthwise(channels: int, size: int, taps: int, stride: int) -> Row:
    """With bias and ReLU."""
    pads = (taps // 2,) * 4

    def build(x, w, bias):
        body = region([f32, f32], lambda total, bias: (total + bias).max(0.0))
        return ConvOp(x, w, (stride, stride), (1, 1), pads, channels, [bias], body)

    op = made(build, (1, channels, size, size), (channels, 1, taps, taps), (channels, 1, 1))
    results = type_of(op.results[0]).static_shape
    return Row("depthwise", op, 2 * taps * taps * int(np.prod(results)))


def pool(x, kind: str, taps: int, stride: int, pad: int) -> PoolOp:
    return PoolOp(x, kind, (taps, taps), (stride, stride), (1, 1), (pad,) * 4)


def encoding(height: int, width: int) -> PanelAttr | None:
    """The layout that the compiler gives activations of this size."""
    return parse_target("x86").panel(height, width)


def made(build: Callable[..., Operation], *shapes: tuple[int, ...], panels: bool = True) -> Operation:
    """An op on f32 values, activations in panels."""
    block = Block(arg_types=[TensorType(shape, f32) for shape in shapes])
    op = build(*block.args)
    block.add_op(op)
    for value in [*op.operands, *op.results] if panels else []:
        type_ = type_of(value)
        if type_.rank == 4 and type_.static_shape[0] == 1:
            value._type = type_.with_encoding(encoding(*type_.static_shape[2:]))
    return op


def arrays(call: Call) -> list[np.ndarray]:
    """Memory for the arguments of a call."""
    random = np.random.default_rng(0)
    shapes = [x.build() if isinstance(x, Packed) else np.zeros(int(type_of(x).nbytes) // 4) for x in call.arguments]  # type: ignore[arg-type]
    return [
        aligned_copy(shape if isinstance(x, Packed) else random.standard_normal(shape.shape, dtype=np.float32))
        for x, shape in zip(call.arguments, shapes, strict=True)
    ]


def seconds(kernel: Kernel, isa: Isa, memory: list[np.ndarray]) -> float:
    """The smallest time of a run, without what a call from Python costs."""
    run = Jit([kernel], isa).prepared(kernel, memory)
    return max(1e-9, smallest(lambda: run(0, kernel.chunks)) - smallest(lambda: run(0, 0)))


def smallest(run: Callable[[], None]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(10):
            run()
        times.append((time.perf_counter() - start) / 10)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", default="avx512", choices=ISAS)
    parser.add_argument("--only", default="", help="part of a row's name")
    options = parser.parse_args()
    isa, total = ISAS[options.isa], 0.0
    print(f"{'kernel':56} {'µs':>8} {'GB/s':>7} {'of copy':>8} {'GFLOP/s':>8}")
    for row in rows():
        family = family_of(row.op)
        assert family is not None
        (call,) = family.lower(row.op, WeightStore())
        if options.only not in f"{row.label} {call.kernel.name}":
            continue
        memory = arrays(call)
        moved = sum(array.nbytes for array in memory)
        copy = Copy("copy", 4, 1, (Box.of((moved // 8,), (1,), (1,)),))
        took = seconds(call.kernel, isa, memory)
        copied = seconds(copy, isa, [aligned_copy(np.zeros(moved // 8, np.float32)) for _ in range(2)])
        flops = f"{row.operations / took / 1e9:8.1f}" if row.operations else ""
        name = f"{row.label}: {call.kernel.name}"
        print(f"{name:56} {took * 1e6:8.1f} {moved / took / 1e9:7.1f} {copied / took:8.0%} {flops}")
        total += took
    print(f"{'sum':56} {total * 1e6:8.1f}")


if __name__ == "__main__":
    main()
