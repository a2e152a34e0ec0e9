"""What a convolution is to its kernels: for each group and panel, Y[M][pixels] = W[M, K] · B[K][pixels].

K counts (channel, kernel row, kernel column), the last fastest, as the weight does. The rows of B are those of the
source itself where pixels agree (1x1, stride 1, same panels), else they are packed, a block of K at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from sparsec.chains import Walk
from sparsec.ir import ConvOp, Panel, TensorType, type_of
from sparsec.ir.dims import is_symbolic
from sparsec.targets.isa import LINE, Isa
from sparsec.targets.kernels.planes import Planes
from sparsec.targets.kernels.region import element
from sparsec.targets.kernels.windows.windows import Window

MOST_TOKENS = 128  # in a panel of a symbolic number of panels
SOME_PANELS = 4  # that a symbolic number counts for


@dataclass(frozen=True)
class ConvShape:
    """Sizes of a 2-D convolution, and where its activations lie."""

    source: Planes
    target: Planes
    window: Window
    groups: int

    @classmethod
    def of(cls, op: ConvOp) -> ConvShape:
        """The sizes of an op. Raises NotFixed where they are symbolic, but for tokens in panels (see `sized`)."""
        source, target = (Planes.sized(type_of(value)) for value in (op.lhs, op.result))
        shape = cls(source, target, Window.of(op), op.groups.value.data)
        if any(map(is_symbolic, (source.images, source.height, target.height))) and not shape.sized:
            for value in (op.lhs, op.result):
                Planes.of(type_of(value))
        return shape

    @property
    def sized(self) -> bool:
        """Whether only the run knows how many tokens there are, in panels of one strip of 16 or a few."""
        target = self.target
        plain = self.direct and target.images == target.width == self.groups == 1
        return is_symbolic(target.height) and plain and target.rows % LINE == 0 and target.rows <= MOST_TOKENS

    @property
    def outputs(self) -> int:
        """M: output channels of a group."""
        return self.target.channels // self.groups

    @property
    def channels(self) -> int:
        """Input channels of a group."""
        return self.source.channels // self.groups

    @property
    def taps(self) -> int:
        """Weights of one output for one input channel."""
        return self.window.kernel[0] * self.window.kernel[1]

    @property
    def depth(self) -> int:
        """K: weights of one output."""
        return self.channels * self.taps

    @property
    def panels(self) -> int:
        """Panels of the result, over all images."""
        return self.target.images * self.target.panels

    @property
    def some_panels(self) -> int:
        """As many as `panels`, or a guess."""
        return SOME_PANELS if self.sized else self.panels

    @property
    def direct(self) -> bool:
        """Whether the source's own rows are those of B."""
        source, target, window = self.source, self.target, self.window
        same = (source.height, source.width, source.rows, source.stride)
        plain = window.kernel == (1, 1) and window.strides == (1, 1) and window.pads == (0, 0)
        return plain and same == (target.height, target.width, target.rows, target.stride) and source.stride % LINE == 0

    @property
    def stride(self) -> int:
        """Floats from one row of B to the next."""
        return -(-self.target.stride // LINE) * LINE

    def columns(self, isa: Isa) -> int:
        """Floats of a row of the result that kernels compute, in whole vectors.

        Short vectors leave out the padding behind the pixels: 13 of 16 vectors of NEON are wanted for 7 × 7.
        """
        pixels, whole = self.target.rows * self.target.width, LINE if isa.x86 else isa.lanes
        return min(self.target.stride, -(-pixels // whole) * whole)

    @property
    def sums_bytes(self) -> int:
        """Bytes of the results of one group in one panel."""
        return 4 * self.outputs * self.stride

    def walk(self, rows: int, chunks: int) -> Walk:
        """The walk of a kernel in units of `rows` rows of the result, each of `chunks` chunks."""
        heights = self.target.height, self.source.height
        return self.window.walk(self.target.images, heights, rows, chunks)

    def __str__(self) -> str:
        target = self.target
        groups = f" g{self.groups}" if self.groups > 1 else ""
        pixels = f"{target.images}x{target.height}x{target.width}"
        return f"{self.source.channels}->{target.channels} {self.window}{groups} on {pixels}"


@dataclass(frozen=True)
class Extra:
    """An operand of the epilogue: elements from one image or channel to the next; `full` if it lies as the result."""

    element: str
    image: int
    channel: int
    full: bool

    @classmethod
    def of(cls, value: SSAValue, op: ConvOp) -> Extra:
        """Raises ValueError for an operand that is neither a number, nor one per channel (and image), nor full."""
        type_, result = type_of(value), type_of(op.result)
        kind = element(type_.element)
        if type_.shape == result.shape and _unpaired(type_) == _unpaired(result):
            return PairedExtra("i32", 0, 0, True) if type_.panel and type_.panel.pairs else cls(kind, 0, 0, True)
        n, c, h, w = (1,) * (4 - type_.rank) + type_.static_shape
        if type_.panel is not None or (h, w) != (1, 1):
            raise ValueError(f"the epilogue of a convolution to {result} cannot read {type_}")
        return cls(kind, c if n > 1 else 0, 1 if c > 1 else 0, False)


@dataclass(frozen=True)
class PairedExtra(Extra):
    """An operand that lies as the result does, or would without pairs, in pairs of channels."""


def _unpaired(type_: TensorType) -> Panel | None:
    return type_.panel and replace(type_.panel, pairs=False)


@dataclass(frozen=True)
class Tile:
    """Columns of a panel that are computed together: `repeats` tiles of `vectors` vectors, one behind the other.

    `tail` is how many lanes of the last vector exist, where not all do.
    """

    start: int
    vectors: int
    repeats: int = 1
    tail: int | None = None


def tiles(columns: int, lanes: int, most: int) -> list[Tile]:
    """Cuts `columns` into tiles of at most `most` vectors, as equal as they can be."""
    vectors = -(-columns // lanes)
    count = -(-vectors // most)
    narrow, wider = divmod(vectors, count)
    widths = [narrow + 1] * wider + [narrow] * (count - wider)
    tail = columns % lanes or None
    result: list[Tile] = []
    at = 0
    for index, width in enumerate(widths):
        last = result[-1] if result else None
        end = tail if index == count - 1 else None
        if last and last.vectors == width and end is None:
            result[-1] = Tile(last.start, width, last.repeats + 1)
        else:
            result.append(Tile(at, width, 1, end))
        at += width * lanes
    return result
