"""The stream of sparse weights: rows of one output each, or blocks of `height` outputs that share their non-zeros.

It holds K in blocks whose rows of B stay in L1, and inside a block the rows of weights sorted by how many non-zeros
they have there. So the inner loop runs equally long many times in a row, and the processor predicts its end: in natural
order a misprediction costs about as much as ten non-zeros.

    head:     for each group, block of K and part of the outputs, where its runs begin (bytes)
    part:     number of runs, runs
    run:      non-zeros of each row, number of rows, rows
    row:      `height` outputs, then for each non-zero the byte where its row of B begins in the block, and its
              `height` values, then an output of the row that comes `LATER` rows after this one

Where `together` non-zeros are one step of the loop, these lie as that many bytes and then as many values; those left
over at the end of a row lie one by one. ARM gains from steps of 4, of which the bytes are two loads and the values one,
used lane by lane: 23.5 instructions a non-zero instead of 26 at 14 vectors (see docs/benchmarks.md, ARM).

Where `height` does not divide the outputs, the last row names its first output again for those that do not exist; as
results are stored from the last to the first, what counts is stored last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from sparsec.targets.builder import Builder, Ref, Value, elements
from sparsec.targets.kernels.pairs import dot

# Bytes of the stream that are asked for ahead, two lines at once: 6 to 20 % where the weights lie in the L3.
AHEAD, LINES = 2048, 2
LATER = 8  # rows; 2 and 16 fetch less in time
SPARE = 6  # registers that a step leaves free beside its sums and vectors: with fewer, LLVM moves vectors about


def walk(b: Builder, stream: Ref, height: int, visit: Callable[[Ref, Value], None]) -> None:
    """Visits the rows of one block of K and part of the outputs, each with the number of its non-zeros."""
    runs = b.convert(b.load(stream), "index")
    place: list[Value] = [b.constant(1)]
    with b.loop(0, runs, carry=place):
        count, rows = (b.convert(b.load(stream, place[0] + i), "index") for i in range(2))
        inner = [place[0] + 2]
        with b.loop(0, rows, carry=inner):
            visit(stream + inner[0], count)
            inner[0] = inner[0] + (count * (1 + height) + (height + 1))
        place[0] = inner[0]


def outputs_of(b: Builder, row: Ref, height: int) -> list[Value]:
    """The outputs of a row."""
    return [b.convert(b.load(row, i), "index") for i in range(height)]


def later_output(b: Builder, row: Ref, height: int, count: Value) -> Value:
    """An output of a row that comes soon."""
    return b.convert(b.load(row, count * (1 + height) + height), "index")


def ask_ahead(b: Builder, row: Ref, height: int, count: Value) -> None:
    """Prefetches as much of the stream as a row takes."""
    if b.isa.wasm:  # nothing is prefetched there, and an empty loop takes a tenth of the time
        return
    with b.loop(0, count, LINES * 16 // (1 + height)) as i:
        b.prefetch(row, i * (1 + height) + AHEAD // 4)


def accumulate(
    b: Builder,
    row: Ref,
    height: int,
    count: Value,
    operand: Ref,
    offsets: Sequence[int],
    sums: list[Value],
    element: str = "f32",
    together: int = 1,
) -> None:
    """Adds a row's products with the vectors `offsets` floats behind each row of B; sums are output by output.

    `element` is i32 where values and rows of B are pairs of bf16; f16 takes steps of several non-zeros.
    """
    if together > 1:
        whole = count - count % together
        for start, stop, step in ((0, whole, together), (whole, count, 1)):
            with b.loop(start, stop, step, carry=sums) as i:
                _add_step(b, row + (i * (1 + height) + height), operand, offsets, sums, step, element)
        return
    add = b.fma if element == "f32" else partial(dot, b)
    with b.loop(0, count, carry=sums) as i:
        place = i * (1 + height)
        source = (operand + b.convert(b.load(row, place + height), "index")).view(element)
        values = b.vload_splats(row.view(element), place + (height + 1), height)
        for v, at in enumerate(offsets):
            vector = b.vload(source, at)
            for output, value in enumerate(values):
                total = output * len(offsets) + v
                sums[total] = add(vector, value, sums[total])


def _add_step(
    b: Builder, step: Ref, operand: Ref, offsets: Sequence[int], sums: list[Value], together: int, element: str
) -> None:
    """Adds the products of one step of `together` non-zeros.

    The vectors of as many of them as registers hold are loaded before one is used: in-order cores wait for each load
    behind a multiply-add. llvm-mca's cycles a non-zero at 13 vectors with this and without: Cortex-A53 38 and 52,
    Neoverse N1 12.8 and 14.3, A55 44 and 41.
    """
    places = [b.convert(b.load(step.view("u32"), i), "index") for i in range(together)]
    sources = [(operand + place).view(element) for place in places]
    lanes = b.isa.lanes * 4 // elements.size(element)
    if element == "f32":
        values = b.vload_splats(step.view("f32"), together, together)
    else:  # in the lower halves of words
        words = b.bitcast(b.vload(step, together, lanes=together), element)
        values = [b.broadcast(b.extract(words, 2 * i), lanes) for i in range(together)]
    products = [(source, value, v) for source, value in zip(sources, values, strict=True) for v in range(len(offsets))]
    held = _held(b.isa.registers - SPARE - len(offsets), len(offsets), together)
    for first in range(0, len(products), held):
        some = products[first : first + held]
        loaded = b.loaded([b.vload(source, offsets[v], lanes=lanes) for source, _, v in some])
        for (_, value, v), vector in zip(some, loaded, strict=True):
            sums[v] = b.fma(vector, value, sums[v])


def _held(registers: int, vectors: int, together: int) -> int:
    """How many of the vectors of a step are loaded before one is used: those of whole non-zeros, or equal parts."""
    whole = [each for each in (4, 2, 1) if together % each == 0 and each * vectors <= registers]
    return whole[0] * vectors if whole else -(-vectors // -(-vectors // max(1, registers)))


def stored(weight: np.ndarray, height: int, groups: int = 1) -> int:
    """How many values a stream holds of [M, ...]: `height` for each place where any output of a row is not zero."""
    if height == 1:
        return int(np.count_nonzero(weight))
    outputs = weight.reshape(groups, len(weight) // groups, -1)
    return height * sum(int(np.count_nonzero(_blocks(group, height).any(axis=1))) for group in outputs)


def pack_stream(
    weight: np.ndarray, height: int, groups: int, places: np.ndarray, splits: int, together: int = 1
) -> np.ndarray:
    """[M, C, KH, KW] as a stream in blocks of K of `len(places)`; `places` are the bytes where rows of B begin."""
    block = len(places)
    weight = weight.reshape(groups, weight.shape[0] // groups, -1)
    parts = splits if groups == 1 else 1
    each = -(-weight.shape[1] // (parts * height)) * height
    pieces = [
        _part(
            weight[group, part * each : (part + 1) * each, start : start + block], height, part * each, places, together
        )
        for group in range(groups)
        for start in range(0, weight.shape[2], block)
        for part in range(parts)
    ]
    sizes = np.array([len(pieces), *map(len, pieces)])
    head = (4 * np.cumsum(sizes)[:-1]).astype(np.int32)
    return np.concatenate([head, *pieces])


def _blocks(weight: np.ndarray, height: int) -> np.ndarray:
    """[M, K] as [M / height, height, K], with zeros for outputs that do not exist."""
    padded = np.pad(weight, [(0, -len(weight) % height), (0, 0)]) if len(weight) % height else weight
    return padded.reshape(-1, height, weight.shape[1])


def _part(weight: np.ndarray, height: int, first: int, places: np.ndarray, together: int) -> np.ndarray:
    """The runs of one block of K for the outputs from `first` on."""
    outputs = np.arange(-(-len(weight) // height) * height).reshape(-1, height)
    outputs = first + np.where(outputs < len(weight), outputs, outputs[:, :1])
    blocks = _blocks(weight, height)
    kept = np.asarray(blocks.any(axis=1))
    counts = np.count_nonzero(kept, axis=1)
    order = np.argsort(counts, kind="stable")
    blocks, kept, counts, outputs = blocks[order], kept[order], counts[order], outputs[order]
    rows, columns = np.nonzero(kept)
    lengths, starts, members = np.unique(counts, return_index=True, return_counts=True)
    # Words: one for the number of runs, two a run, 1 + `height` a row and a non-zero.
    step = 1 + height
    before_row = np.concatenate([[0], np.cumsum(step + step * counts)[:-1]])
    run_of_row = np.repeat(np.arange(len(lengths)), members)
    row_place = 1 + 2 * (run_of_row + 1) + before_row
    stream = np.empty(1 + 2 * len(lengths) + step * (len(counts) + len(rows)), np.int32)
    stream[0] = len(lengths)
    run_place = row_place[starts] - 2
    stream[run_place], stream[run_place + 1] = lengths, members
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    later = np.minimum(np.arange(len(counts)) + LATER, len(counts) - 1)
    stream[row_place + height + step * counts] = outputs[later, 0]
    start = row_place[rows] + height
    place, value = start + step * nth, start + step * nth + 1
    if together > 1:
        inside = nth < counts[rows] // together * together
        turn = nth % together
        place = np.where(inside, place - turn, place)
        value = np.where(inside, place + together, value)
    stream[place] = places[columns]
    for i in range(height):
        stream[row_place + i] = outputs[:, i]
        stream[value + i] = blocks[rows, i, columns].astype(np.float32).view(np.int32)
    return stream
