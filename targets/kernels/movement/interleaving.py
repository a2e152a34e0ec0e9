"""Images that are interleaved (see `InterleaveOp`) and taken apart, as boxes, in panels or row-major on either side.

Channel by channel: images lie so far apart that the same pixels of all of them share few sets of a cache, so that each
line should be read once. 16 images of 2048 channels on 7 × 7 pixels take 0.52 ms, row by row 1.77.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsec.ir import DeinterleaveOp, InterleaveOp, type_of
from sparsec.targets.kernels.movement.boxes import Axis, Box
from sparsec.targets.kernels.planes import Planes


def interleaved(op: InterleaveOp) -> list[Box]:
    """One box, or a few where panels of the two sides end at different rows."""
    apart, joined = Planes.of(type_of(op.input)), Planes.of(type_of(op.result))
    images, step = op.images.value.data, op.step.value.data
    boxes = []
    for start, rows, repeats in _runs(apart, joined, step):
        axes = [Axis(*axis) for axis in _axes(apart, joined, images, step, rows, repeats)]
        boxes.append(Box.in_order(axes, apart.fixed_row(start * step), joined.fixed_row(start)))
    return boxes


def deinterleaved(op: DeinterleaveOp) -> list[Box]:
    """The same boxes the other way round."""
    joined, apart = Planes.of(type_of(op.input)), Planes.of(type_of(op.result))
    boxes = []
    for start, rows, repeats in _runs(apart, joined, 1):
        *outer, row, pixel, image = _axes(apart, joined, op.images.value.data, 1, rows, repeats)
        axes = [Axis(size, target, source) for size, source, target in (*outer, image, row, pixel)]
        make = Box.in_order if joined.width > image[0] else _sorted  # one pixel leaves channels to go along
        boxes.append(make(axes, joined.fixed_row(start), apart.fixed_row(start)))
    return boxes


Loop = tuple[int, int, int]
"""A size, and the steps where images lie apart and where they are interleaved."""


def _axes(apart: Planes, joined: Planes, images: int, step: int, rows: int, repeats: int) -> list[Loop]:
    """Loops over groups of images, channels, panels, rows of a panel, pixels of a row, images."""
    width = joined.width // images
    return [
        (joined.images, images * apart.image_size, joined.image_size),
        (joined.channels, apart.stride, joined.stride),
        (repeats, rows * step * apart.width, joined.panel_size),
        (rows, step * apart.width, joined.width),
        (width, step, images),
        (images, apart.image_size, 1),
    ]


def _runs(apart: Planes, joined: Planes, step: int) -> Iterator[tuple[int, int, int]]:
    """Rows of the interleaved images: the first, how many lie in one panel on both sides, how often these repeat."""
    height, rows = joined.height, joined.rows
    if apart.panels == 1:
        whole = height // rows
        yield from ((0, rows, whole),) if whole else ()
        yield from ((whole * rows, height % rows, 1),) if height % rows else ()
        return
    panels = [(row // rows, row * step // apart.rows) for row in range(height)]
    edges = [row for row in range(height) if row == 0 or panels[row] != panels[row - 1]]
    yield from ((start, stop - start, 1) for start, stop in zip(edges, [*edges[1:], height], strict=True))


def _sorted(axes: list[Axis], source: int, target: int) -> Box:
    sizes, sources, targets = zip(*((axis.size, axis.source, axis.target) for axis in axes), strict=True)
    return Box.of(sizes, sources, targets, source, target)
