"""Products of f32 on AMX at the accuracy of f32: operands are sums of three pieces of bf16 each.

x = x0 + x1 + x2 without error, where each piece is what the ones before it leave, rounded to bf16: |x1| ≤ 2^-9 |x|,
|x2| ≤ 2^-17 |x|. Of the nine products of pieces six are computed, x0·w0, x0·w1, x1·w0, x1·w1, x0·w2 and x2·w0; the
others are below 2^-25 |x·w|, half of what rounding that product to f32 may lose (Henry, Tang, Heinecke 2019,
"Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations"). AMX adds up 32 products
before they meet the long sum, so that errors are half of those of FMA: rms 1.6e-7 instead of 3.5e-7 with K = 768 and
results of about 1. An infinity makes NaN of the results that it reaches, as its second piece is inf - inf; so does what
rounds to one in bf16, from 3.39e38 on. Pieces below 1.2e-38 count as zeros.

Six products at AMX's 2560 GFLOP/s (2.5 GHz, which the core keeps on such data) are 426 GFLOP/s, twice the peak of FMA.
Two by two tiles of sums take 14 loads of tiles for 24 products, so that pieces of both sides come from the L2 at full
speed. The pieces of a panel's columns are copied once, tile by tile in the order of reading. Weights come from memory
as f32, 4 bytes instead of 6, and are split between the products of the 32 outputs before; where all pieces of a layer
stay in the L2 from panel to panel, they are stored split. On 768 × 768 weights with 128 columns 0.45 ms instead of 0.60
for pieces from memory, and instead of 0.83 on FMA.

Rows of B under the taps of windows are packed as f32 first, as for other dense kernels. ISAs without tiles multiply the
f32 weights by rows of B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from sparsec.bf16 import as_pairs, in_pieces
from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.cost import Caches
from sparsec.targets.isa import LINE, Isa
from sparsec.targets.kernels import amx
from sparsec.targets.kernels.conv.kernel import dealt, divide
from sparsec.targets.kernels.conv.output import Output
from sparsec.targets.kernels.conv.pack import Packing
from sparsec.targets.kernels.conv.split_sizes import DEPTH, OUTPUTS, PAIRS, RAW, STEP, SplitSizes, Unit
from sparsec.targets.kernels.conv.split_tiles import OnTiles
from sparsec.targets.kernels.conv.split_vectors import OnVectors


@dataclass(frozen=True)
class SplitConv(SplitSizes):
    """Products of pieces where there are tiles, of f32 elsewhere."""

    def pack(self, weight: np.ndarray) -> np.ndarray:
        return pack_split(weight, self.blocks * self.steps, self.steps, self.stored)

    def emit(self, b: Builder) -> None:
        arguments = ["f32", self.weight_element, *(extra.element for extra in self.extras), "f32"]
        with b.function(self.symbol, arguments) as ((source, weights, *extras, target), scratch, begin, end):
            copy = (scratch + amx.CONFIG_BYTES).view("i32")
            copied, summed, spread = self.parts_of_scratch
            sums = (copy + copied).view("f32")
            near = (sums + summed).view("i32")
            packed = (near + spread).view("f32")
            if self.packed:
                b.memset(packed, 0, 4 * self.packed)
            with amx.within(b, scratch), self._panels(b, begin, end) as (unit, low, high):
                first, last = (dealt(part, self.tall, self.splits) for part in (low, high))
                output = partial(self._output, b, extras, target)
                work = Unit(unit * self.together, source, packed, copy, sums, near, weights, output, first, last)
                if b.isa.tiles:
                    OnTiles(b, self, work).emit()
                else:
                    OnVectors(b, self, work).emit()

    def _output(self, b: Builder, extras: Sequence[Ref], target: Ref, panel: Index) -> Output:
        image, place = divide(panel, self.shape.target.panels, self.shape.target.images)
        return Output(b, self, extras, target, image, place, 0)

    def events(self, isa: Isa, caches: Caches, weight: np.ndarray) -> dict[str, float]:
        """What the kernel does that costs time, over all chunks on one core."""
        shape, steps = self.shape, self.blocks * self.steps
        packing = {} if shape.direct else Packing.events(shape, isa)
        columns = shape.panels * shape.target.stride
        stream = self.tall * steps * (4 * STEP if self.stored else 4 * RAW)
        traffic = self.traffic(caches, stream, self.units)
        functions = traffic.pop("epilogue function")
        return {
            "split product": columns / LINE * -(-shape.outputs // amx.ROWS) * steps,
            "split sum": columns / isa.lanes * shape.outputs,
            "split pair": columns / isa.lanes * steps * PAIRS,
            "split row": 0 if self.stored else self.units * self.tall * steps * OUTPUTS,
            **{f"split {name}": count for name, count in {**packing, **traffic}.items()},
            **({"epilogue function": functions} if functions else {}),
        }


def pack_split(weight: np.ndarray, total: int, steps: int, stored: bool) -> np.ndarray:
    """[M, C, KH, KW] in the order in which `SplitConv` reads it: `total` steps of 32 channels in blocks of `steps`."""
    outputs, depth = len(weight), weight[0].size
    padded = np.zeros((-(-outputs // OUTPUTS) * OUTPUTS, total * DEPTH), np.float32)
    padded[:outputs, :depth] = weight.reshape(outputs, depth)
    blocks = padded.reshape(-1, OUTPUTS, total // steps, steps, PAIRS, 2).transpose(2, 0, 3, 1, 5, 4)
    if not stored:
        return np.ascontiguousarray(blocks).ravel()
    found = [as_pairs(piece.swapaxes(-1, -2)) for piece in in_pieces(blocks)]
    return np.stack([piece[..., 0] for piece in found], axis=3).view(np.float32).ravel()
