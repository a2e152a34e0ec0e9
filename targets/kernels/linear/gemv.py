"""Sparse linear layers of few tokens: gathers of x, sixteen rows of weights at a time, one a lane (SELL-16).

Windows of 128 rows are chunks. In a window the rows are sorted by their number of non-zeros and cut into slices of 16
of about equal length, so that little is padded and no sum runs across lanes:

    head:     for each window, and the end, where its slices begin (bytes), padded to 64 bytes
    slice:    64 bytes: its number of steps, then 16 row numbers inside the window (bytes)
              for each two steps: 2 · 16 columns (u16), 2 · 16 values
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsec.targets.builder import Builder, Index, Ref, Value
from sparsec.targets.cost import Caches
from sparsec.targets.isa import LINE_BYTES, Isa
from sparsec.targets.kernels.gemm import column_vectors
from sparsec.targets.kernels.linear.kernel import LinearKernel, far

SLICE, WINDOW, STEPS = 16, 128, 2
MOST_TOKENS, MOST_COLUMNS = 4, 65536
PAIR = STEPS * SLICE * (2 + 4)  # bytes of two steps
# How far the stream is prefetched. With 10 % of the weights, one token reads 768 × 3072 at 27.6 GB/s from the L3, 23.5
# without, 4096 × 16384 at 16 from DRAM, 11 without; smaller layers gain up to 20 %. 2048 and 8192 do as much.
AHEAD = 4096


@dataclass(frozen=True)
class LinearGemv(LinearKernel):
    """Rows of weights in the lanes of vectors, x gathered."""

    @property
    def name(self) -> str:
        return "gemv_f32_sell16"

    @property
    def layout(self) -> str:
        return "sell16"

    @property
    def chunks(self) -> int:
        return -(-self.m // WINDOW)

    @property
    def scratch(self) -> int:
        return (WINDOW + SLICE) * self.tokens * 4

    def emit(self, b: Builder) -> None:
        elements = ["f32", "i32", *self.epilogue.elements, self.epilogue.result]
        with (
            b.function(self.symbol, elements, [0, 64]) as ((x, w, *extras, y), scratch, begin, end),
            b.loop(begin, end) as window,
        ):
            sums = scratch.view("f32")
            place, stop = (b.convert(b.load(w, window + i), "index") for i in range(2))
            stream = [place]
            with b.while_(lambda: stream[0] < stop, carry=stream):
                stream[0] = self._slice(b, x, w.view("i8"), sums, stream[0])
            self._finish(b, extras, y, sums, window)

    def _slice(self, b: Builder, x: Ref, w: Ref, sums: Ref, place: Value) -> Value:
        """The sums of 16 rows; gives where the next slice begins."""
        lanes = b.isa.lanes
        parts = SLICE // lanes
        steps = b.convert(b.load((w + place).view("i32")), "index")
        totals = [b.constant(0.0, "f32", lanes)] * (parts * self.tokens)
        at = [place + 64]
        carry = [*at, *totals]
        with b.loop(0, steps, STEPS, carry=carry):
            for line in range(0, PAIR, LINE_BYTES):
                b.prefetch(w + carry[0] + line, AHEAD)
            for step in range(STEPS):
                self._step(b, x, w + carry[0], carry, step)
            carry[0] = carry[0] + PAIR
        self._scatter(b, w + place + 4, sums, carry[1:])
        return carry[0]

    def _step(self, b: Builder, x: Ref, pair: Ref, carry: list[Value], step: int) -> None:
        lanes = b.isa.lanes
        values = (pair + STEPS * SLICE * 2).view("f32")
        for part in range(SLICE // lanes):
            at = step * SLICE + part * lanes
            columns = b.convert(b.vload(pair.view("u16"), at), "i32")
            value = b.vload(values, at)
            for token in range(self.tokens):
                slot = 1 + token * (SLICE // lanes) + part
                carry[slot] = b.fma(b.gather(x + token * self.k, columns), value, carry[slot])

    def _scatter(self, b: Builder, rows: Ref, sums: Ref, totals: list[Value]) -> None:
        """Stores the sums of a slice, by their rows."""
        lanes = b.isa.lanes
        staged = sums + WINDOW * self.tokens
        for i, total in enumerate(totals):
            b.vstore(total, staged, i * lanes)
        for lane in range(SLICE):
            row = b.convert(b.load(rows.view("u8"), lane), "index")
            for token in range(self.tokens):
                b.store(b.load(staged, token * SLICE + lane), sums + token * WINDOW, row)

    def _finish(self, b: Builder, extras: list[Ref], y: Ref, sums: Ref, window: Index) -> None:
        """The epilogue of a window."""
        whole, rest = divmod(self.m, WINDOW)

        def columns(first: Index, width: int) -> None:
            for token in range(self.tokens):
                vectors = column_vectors(b.isa.lanes, width)
                with b.loop(0, width // b.isa.lanes * b.isa.lanes, b.isa.lanes) as at:
                    total = b.vload(sums + token * WINDOW, at)
                    self.epilogue.store(b, total, extras, y, self.m, token, first + at, None)
                if count := vectors[-1]:
                    at = width - count
                    total = b.vload(sums + token * WINDOW, at)
                    self.epilogue.store(b, total, extras, y, self.m, token, first + at, count)

        if not rest or not whole:
            columns(window * WINDOW if not rest else 0, rest or WINDOW)
            return
        with b.if_(window < whole) as branch:
            columns(window * WINDOW, WINDOW)
        with branch.else_():
            columns(b.constant(whole * WINDOW), rest)

    def pack(self, w: np.ndarray) -> np.ndarray:
        windows = [_window(w[first : first + WINDOW]) for first in range(0, self.m, WINDOW)]
        head = 4 * (len(windows) + 1)
        places = np.cumsum([-(-head // 64) * 64, *(window.nbytes for window in windows)]).astype(np.int32)
        padded = np.zeros(places[0], np.uint8)
        padded[:head] = places.view(np.uint8)
        return np.concatenate([padded, *windows]).view(np.int32)

    def events(self, isa: Isa, caches: Caches, w: np.ndarray) -> dict[str, float]:
        counts = np.count_nonzero(w, axis=1)
        windows = [np.sort(counts[first : first + WINDOW]) for first in range(0, self.m, WINDOW)]
        slices = [window[first : first + SLICE].max() for window in windows for first in range(0, len(window), SLICE)]
        steps = float(sum(slices)) * SLICE / isa.lanes
        return {
            "sell gather": steps * self.tokens,
            "sell step": steps,
            "sell slice": len(slices),
            "linear far byte": far(steps * isa.lanes * 6, caches),
        }


def _window(w: np.ndarray) -> np.ndarray:
    counts = np.count_nonzero(w, axis=1)
    order = np.argsort(counts, kind="stable")
    slices = [_slice(w, order[first : first + SLICE]) for first in range(0, len(order), SLICE)]
    return np.concatenate(slices)


def _slice(w: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The bytes of one slice; missing rows have no weights and go where no row is, as their window is not full."""
    lanes, columns = np.nonzero(w[rows])
    counts = np.bincount(lanes, minlength=SLICE)
    steps = -(-int(counts.max(initial=0)) // STEPS) * STEPS
    nth = np.arange(len(lanes)) - np.repeat(np.cumsum(counts) - counts, counts)
    places, values = np.zeros((steps, SLICE), np.uint16), np.zeros((steps, SLICE), np.float32)
    places[nth, lanes] = columns
    values[nth, lanes] = w[rows[lanes], columns]
    head = np.zeros(64, np.uint8)
    head[:4] = np.array([steps], np.int32).view(np.uint8)
    head[4 : 4 + SLICE] = WINDOW - 1 if len(rows) < SLICE else 0
    head[4 : 4 + len(rows)] = rows
    pairs = [array.reshape(-1, STEPS * SLICE).view(np.uint8) for array in (places, values)]
    return np.concatenate([head, np.hstack(pairs).ravel()])
