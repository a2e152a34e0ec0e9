"""Convolutions that multiply panel by panel, a block of K after the other, by rows of B that are packed first."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from sparsec.targets.builder import Builder, Index, Ref
from sparsec.targets.cost import Caches
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.conv.kernel import ConvKernel, divide
from sparsec.targets.kernels.conv.output import Output, Work
from sparsec.targets.kernels.conv.pack import Packing
from sparsec.targets.kernels.conv.shift import Shifting
from sparsec.targets.kernels.conv.tokens import strips_of


@dataclass(frozen=True)
class BlockedConv(ConvKernel):
    """Rows of B are those of the source where pixels agree, else they are packed into scratch, a block at a time."""

    @abstractmethod
    def multiply(self, b: Builder, work: Work) -> None:
        """Adds the products of one block of K to the target, for the parts [work.low, work.high) of the outputs."""

    def shared_events(self, isa: Isa, caches: Caches, stream: float) -> dict[str, float]:
        """Packing, and all that passes between the L1 and what lies behind it; `stream` bytes are the weights."""
        traffic = self.traffic(caches, stream)
        if self.shape.direct:
            return traffic
        packing = Shifting if Shifting.fits(self.shape, isa) else Packing
        return {**traffic, **packing.events(self.shape, isa)}

    @property
    def scratch(self) -> int:
        return 0 if self.shape.direct else self.block * self.shape.taps * self.shape.stride * 4

    def emit(self, b: Builder) -> None:
        arguments = ["f32", self.weight_element, *(extra.element for extra in self.extras), "f32"]
        function = b.function(self.symbol, arguments, in_place=bool(self.overwrites))
        with function as ((source, weights, *extras, target), scratch, begin, end):
            packed = scratch.view("f32")
            shifts = not self.shape.sized and Shifting.fits(self.shape, b.isa)
            packing = Shifting(b, self.shape) if shifts else Packing(b, self.shape)
            if not self.shape.direct and not shifts:
                b.memset(scratch, 0, self.scratch)
            with self._panels(b, begin, end) as (panel, *parts), self._groups(b, *parts) as (group, low, high):
                image, panel = divide(panel, self.shape.target.panels, self.shape.target.images)
                output = Output(b, self, extras, target, image, panel, group)
                strips = strips_of(b, self.shape, panel) if self.shape.sized else None
                with b.loop(0, self.blocks) as block:
                    channels = self._channels(b, block)
                    channel = group * self.shape.channels + block * self.block
                    rows = source + (self.shape.source.image(image) + channel * self.shape.source.stride)
                    if self.shape.direct:
                        rows = rows + panel * self.shape.source.panel_size
                    else:
                        packing.emit(rows, packed, panel, channels)
                        rows = packed
                    depth = channels * self.shape.taps
                    rows = self.prepared(b, rows, scratch, depth)
                    self.multiply(b, Work(rows, weights, output, group, block, depth, low, high, strips, packed))

    def prepared(self, b: Builder, rows: Ref, scratch: Ref, depth: Index) -> Ref:
        """`depth` rows of B as the kernel multiplies them."""
        return rows
