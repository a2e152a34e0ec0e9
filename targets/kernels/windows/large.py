"""Windows too large to be written out: loops over their elements, each gathered for a vector of outputs."""

from __future__ import annotations

from sparsec.targets.builder import Index, Ref, Value
from sparsec.targets.kernels.strips import Span, Tap
from sparsec.targets.kernels.windows.blocks import Block, Moved, Place


class LargeBlock(Block):
    """Writes the code of one output row of a channel; the channel takes one tap after the other."""

    def emit(self, source: Ref, target: Ref) -> None:
        """All vectors of the row."""
        for span in self.slots.spans(self.kernel.target.width, 0):
            state = self._channel.start(self.slots.lanes)
            self._take_lines(source, span, state)
            place = Place(self, span, 0, Moved(0, 1))
            place.store(self._channel.finish(self._channel.total(state, place), place), target)

    def _take_lines(self, source: Ref, span: Span, state: list[Value]) -> None:
        """The rows of the window that lie in the image, or that count where there are none."""
        b, kernel = self.b, self.kernel
        stride, dilation, pad = kernel.window.strides[0], kernel.window.dilations[0], kernel.window.pads[0]
        first = b.as_index(self.block) * stride
        with b.loop(0, kernel.window.kernel[0], carry=state) as line:
            row = first + line * dilation  # counted from the first padding row: wasm's offsets are never negative
            self._channel.count(state, row)
            with b.if_((row >= pad) & (row < kernel.source.height + pad), carry=state):
                start = self._source_start + kernel.source.row(row - pad, 1, 0)
                with b.loop(0, kernel.window.kernel[1], carry=state) as column:
                    self._channel.take(state, self._gather(source + start, span, column), line, column)

    def _gather(self, row: Ref, span: Span, column: Index) -> Tap:
        """The elements of a column of the window, for a vector of outputs."""
        b, window, width = self.b, self.kernel.window, self.kernel.source.width
        lanes, pad = self.slots.lanes, window.pads[1]
        assert isinstance(span.start, int)
        places = b.constants([(span.start + lane) * window.strides[1] for lane in range(lanes)], "i32")
        places = places + b.broadcast(b.convert(b.as_index(column) * window.dilations[1], "i32"), lanes)
        inside = (places >= pad) & (places < width + pad)
        return Tap(b.gather(row, b.min(b.max(places - pad, 0), width - 1)), inside)
