"""The builder's constructs, each as a small kernel run on every ISA against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernel

from sparsec.targets import codegen
from sparsec.targets.builder import Builder, Ref, Value
from sparsec.targets.isa import AVX2, AVX512, WASM, Isa
from sparsec.targets.kernels.base import Kernel

Body = Callable[..., None]


@dataclass(frozen=True)
class Probe(Kernel):
    """A kernel whose body is a function of the builder and the references, then scratch, begin and end."""

    elements: tuple[str, ...]
    body: Body = field(repr=False)
    chunks_: int = 1
    scratch_: int = 0

    @property
    def name(self) -> str:
        return f"probe_{self.body.__name__}_{id(self.body)}"

    @property
    def chunks(self) -> int:
        return self.chunks_

    @property
    def scratch(self) -> int:
        return self.scratch_

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, self.elements) as (refs, scratch, begin, end):
            self.body(b, *refs, scratch, begin, end)


_NAMES = {"float32": "f32", "float16": "f16", "int32": "i32", "int64": "i64", "int8": "i8", "uint8": "u8", "bool": "i1"}


def run(isa: Isa, body: Body, *arrays: np.ndarray, **options: int) -> list[np.ndarray]:
    """The arrays after `body` ran on them; element types follow from the arrays'."""
    kernel = Probe(tuple(_NAMES[array.dtype.name] for array in arrays), body, **options)
    return run_kernel(kernel, isa, arrays, flush=range(len(arrays)))


def ramp(size: int, dtype: type = np.float32) -> np.ndarray:
    return np.arange(1, size + 1).astype(dtype)


@every_isa
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_counted_loads_and_stores_touch_nothing_else(isa: Isa, count: int, dynamic: bool) -> None:
    def body(b: Builder, x: Ref, y: Ref, _: Ref, begin: Value, end: Value) -> None:
        known = end if dynamic else count
        b.vstore(b.vload(x, 0, known, lanes=16) * 2.0, y, 0, known)

    # The arguments end at an unreadable page on x86: a byte read or written too much ends the test run.
    x, y = run(isa, body, ramp(count), np.zeros(count, np.float32), chunks_=count)
    np.testing.assert_array_equal(y, x * 2)


@every_isa
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.float16])
def test_counted_access_of_other_elements(isa: Isa, dtype: type) -> None:
    def body(b: Builder, x: Ref, y: Ref, _: Ref, begin: Value, end: Value) -> None:
        b.vstore(b.vload(x, 0, 5, lanes=8), y, 0, end)

    x, y = run(isa, body, ramp(5, dtype), np.zeros(5, dtype), chunks_=5)
    np.testing.assert_array_equal(y, x)


@every_isa
def test_lanes_beyond_the_count_are_zero(isa: Isa) -> None:
    def body(b: Builder, x: Ref, y: Ref, *_: object) -> None:
        b.vstore(b.vload(x, 0, 3, lanes=8), y)

    _, y = run(isa, body, ramp(3), np.ones(8, np.float32))
    np.testing.assert_array_equal(y, [1, 2, 3, 0, 0, 0, 0, 0])


@every_isa
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("count", [3, 16])
def test_strided_load_ends_at_the_last_element(isa: Isa, stride: int, count: int) -> None:
    def body(b: Builder, x: Ref, y: Ref, *_: object) -> None:
        b.vstore(b.vload_strided(x, 0, stride, count, lanes=16), y)

    x, y = run(isa, body, ramp((count - 1) * stride + 1), np.ones(16, np.float32))
    np.testing.assert_array_equal(y, np.pad(x[::stride], (0, 16 - count)))


@every_isa
@pytest.mark.parametrize("masked", [False, True])
def test_gather(isa: Isa, masked: bool) -> None:
    def body(b: Builder, x: Ref, at: Ref, y: Ref, *_: object) -> None:
        mask = b.mask(5, 8) if masked else None
        b.vstore(b.gather(x + 1, b.vload(at, lanes=8), mask), y)

    at = np.array([3, 0, 7, 7, 2, 9, 1, 4], np.int32)
    x, _, y = run(isa, body, ramp(11), at, np.ones(8, np.float32))
    np.testing.assert_array_equal(y, x[at + 1] * (np.arange(8) < (5 if masked else 8)))


@every_isa
def test_loop_carries_values(isa: Isa) -> None:
    def body(b: Builder, x: Ref, y: Ref, _: Ref, begin: Value, end: Value) -> None:
        total: list[Value] = [b.constant(0.0, "f32"), b.constant(1.0, "f32")]
        with b.loop(begin, end, carry=total) as i:
            total[0], total[1] = total[0] + b.load(x, i), total[1] * 2.0
        b.store(total[0], y)
        b.store(total[1], y, 1)

    _, y = run(isa, body, ramp(10), np.zeros(2, np.float32), chunks_=10)
    np.testing.assert_array_equal(y, [55, 1024])


@every_isa
def test_branches_carry_values(isa: Isa) -> None:
    def body(b: Builder, x: Ref, y: Ref, *_: object) -> None:
        with b.loop(0, 6) as i:
            value = [b.load(x, i)]
            with b.if_(value[0] > 3.0, carry=value) as branch:
                value[0] = value[0] * 10.0
            with branch.else_():
                value[0] = -value[0]
            with b.if_(value[0] == 60.0, carry=value):
                value[0] = b.constant(7.0, "f32")
            b.store(value[0], y, i)

    _, y = run(isa, body, ramp(6), np.zeros(6, np.float32))
    np.testing.assert_array_equal(y, [-1, -2, -3, 40, 50, 7])


@every_isa
def test_while(isa: Isa) -> None:
    def body(b: Builder, y: Ref, *_: object) -> None:
        n = [b.load(y), b.constant(0, "i32")]
        with b.while_(lambda: n[0] > 1, carry=n):
            n[0], n[1] = b.select(n[0] % 2 == 0, n[0] / 2, n[0] * 3 + 1), n[1] + 1
        b.store(n[1], y)

    (y,) = run(isa, body, np.array([27], np.int32))
    assert y[0] == 111  # Collatz


@every_isa
@pytest.mark.parametrize("lanes", [4, 6, 16])
def test_reductions(isa: Isa, lanes: int) -> None:
    kinds = ("add", "mul", "max", "min")

    def body(b: Builder, x: Ref, y: Ref, *_: object) -> None:
        for index, kind in enumerate(kinds):
            b.store(b.reduce(kind, b.vload(x, lanes=lanes)), y, index)

    values = np.random.default_rng(0).permutation(np.linspace(-2, 2, lanes)).astype(np.float32)
    x, y = run(isa, body, values, np.zeros(4, np.float32))
    np.testing.assert_allclose(y, [x.sum(), x.prod(), x.max(), x.min()], rtol=1e-6, atol=1e-6)
    x[3] = np.nan
    assert np.isnan(run(isa, body, x, y)[1]).all()


@every_isa
@pytest.mark.parametrize("constant", [False, True])
def test_extrema_keep_nan(isa: Isa, constant: bool) -> None:
    def body(b: Builder, x: Ref, y: Ref, *_: object) -> None:
        zero = 0.0 if constant else b.vload(y, lanes=8)
        b.vstore(b.max(b.vload(x, lanes=8), zero), y)

    values = np.array([1, -1, np.nan, np.inf, -np.inf, 0, 5, -5], np.float32)
    _, y = run(isa, body, values, np.zeros(8, np.float32))
    np.testing.assert_array_equal(y, np.maximum(values, 0))


@every_isa
def test_index_arithmetic_and_views(isa: Isa) -> None:
    """A stream of i32 counts and f32 values in turns, as sparse weights are kept."""

    def body(b: Builder, stream: Ref, y: Ref, _: Ref, begin: Value, end: Value) -> None:
        with b.loop(begin, end) as i:
            here = stream + ((i + 1) * 8 - 8)
            count = b.convert(b.load(here.view("i32")), "f32")
            b.store(count * b.load((here + 4).view("f32")), y, (i * 4 + 12) // 4 - 3)

    records = np.zeros(5, np.dtype([("count", "<i4"), ("value", "<f4")]))
    records["count"], records["value"] = ramp(5), ramp(5) / 2
    _, y = run(isa, body, records.view(np.int8), np.zeros(5, np.float32), chunks_=5)
    np.testing.assert_array_equal(y, ramp(5) ** 2 / 2)


@every_isa
def test_shuffles(isa: Isa) -> None:
    def body(b: Builder, x: Ref, y: Ref, *_: object) -> None:
        low, high = b.vload(x, lanes=4), b.vload(x, 4, lanes=4)
        b.vstore(b.interleave(low, high), y)
        b.vstore(b.slice(b.concat(low, high), 2, 4), y, 8)
        b.vstore(b.insert(low, b.extract(high, 3), 1), y, 12)

    _, y = run(isa, body, ramp(8), np.zeros(16, np.float32))
    np.testing.assert_array_equal(y, [1, 5, 2, 6, 3, 7, 4, 8, 3, 4, 5, 6, 1, 8, 3, 4])


@every_isa
def test_conversions(isa: Isa) -> None:
    def body(b: Builder, x: Ref, ints: Ref, halves: Ref, flags: Ref, *_: object) -> None:
        values = b.vload(x, lanes=8)
        b.vstore(b.convert(values, "u8"), ints)
        b.vstore(b.convert(values, "f16"), halves)
        b.vstore(values > 2.0, flags)
        b.vstore(b.convert(b.vload(ints, lanes=8), "f32") + b.convert(b.vload(halves, lanes=8), "f32"), x)

    values = np.array([0, 1, 2, 3, 200, 255, 100.25, 7.9], np.float32)
    x, ints, halves, flags = run(isa, body, values, np.zeros(8, np.uint8), np.zeros(8, np.float16), np.zeros(8, bool))
    np.testing.assert_array_equal(ints, values.astype(np.uint8))
    np.testing.assert_array_equal(halves, values.astype(np.float16))
    np.testing.assert_array_equal(flags, values > 2)
    np.testing.assert_array_equal(x, ints.astype(np.float32) + halves)


@every_isa
def test_half_floats_of_all_bits(isa: Isa) -> None:
    def body(b: Builder, x: Ref, y: Ref, z: Ref, _: Ref, begin: Value, end: Value) -> None:
        with b.loop(begin, end, b.isa.lanes) as i:
            wide = b.convert(b.vload(x, i), "f32")
            b.vstore(wide, y, i)
            b.vstore(b.convert(wide * 1.0009765, "f16"), z, i)

    bits = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x, y, z = run(isa, body, bits, np.zeros(1 << 16, np.float32), np.zeros_like(bits), chunks_=1 << 16)
    np.testing.assert_array_equal(y, x.astype(np.float32))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(z, (x.astype(np.float32) * np.float32(1.0009765)).astype(np.float16))


@every_isa
def test_bfloat16_rounds_to_nearest_even(isa: Isa) -> None:
    def body(b: Builder, x: Ref, y: Ref, *_: object) -> None:
        b.vstore(b.convert(b.convert(b.vload(x, lanes=8), "bf16"), "f32"), y)

    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F800000, 0x7F7FFFFF, 0x7FC00001, 0xBF80FFFF, 1], np.uint32)
    expected = np.array(
        [0x3F800000, 0x3F820000, 0x3F810000, 0x7F800000, 0x7F800000, 0x7FC00000, 0xBF810000, 0], np.uint32
    )
    _, y = run(isa, body, bits.view(np.float32), np.zeros(8, np.float32))
    np.testing.assert_array_equal(y.view(np.uint32), expected)


@every_isa
def test_scratch_memcpy_memset(isa: Isa) -> None:
    def body(b: Builder, x: Ref, y: Ref, scratch: Ref, begin: Value, end: Value) -> None:
        b.memset(scratch, 0, 4096)
        b.memcpy(scratch + 64, x.view("i8"), end * 4)
        b.memcpy(y.view("i8"), scratch, 4096)

    x, y = run(isa, body, ramp(1000), np.ones(1024, np.float32), chunks_=1000, scratch_=4096 + 64)
    np.testing.assert_array_equal(y, np.concatenate([np.zeros(16), x, np.zeros(8)]))


@every_isa
def test_chunks(isa: Isa) -> None:
    def body(b: Builder, y: Ref, _: Ref, begin: Value, end: Value) -> None:
        with b.loop(begin, end) as i:
            b.store(b.convert(i, "f32"), y, i)

    kernel = Probe(("f32",), body, 10)
    (y,) = run_kernel(kernel, isa, [np.zeros(10, np.float32)], 3, 6)
    np.testing.assert_array_equal(y, [0, 0, 0, 3, 4, 5, 0, 0, 0, 0])


def test_python_ints_fold() -> None:
    b = Builder(AVX512)
    with b.function("f", ["f32"]) as ((x,), _, begin, _):
        assert begin + 0 is begin
        assert begin * 1 is begin
        assert begin // 1 is begin
        assert (begin * 0, begin % 1) == (0, 0)
        moved = (begin + 3) * 4 - 2
        assert moved.addend == 10
        with b.loop(2, 3) as i:
            assert isinstance(i, int)
        b.store(b.load(x, moved), x)
    text = str(b.module)
    assert "getelementptr" in text
    assert "[40]" in text  # the constant part of the offset reaches the address as bytes
    assert "scf.for" not in text


def test_mistakes_are_named() -> None:
    b = Builder(AVX2)
    with b.function("f", ["f32", "i32"]) as ((x, y), _, _, _):
        value = b.vload(x)
        with pytest.raises(TypeError, match="convert one of them"):
            b.add(value, b.vload(y))
        with pytest.raises(TypeError, match="cannot be stored"):
            b.vstore(value, y)
        with pytest.raises(TypeError, match="the lanes differ"):
            b.add(value, b.vload(x, lanes=4))
        with pytest.raises(TypeError, match="only when the kernel runs"):
            bool(value > 0.0)
        with pytest.raises(TypeError, match="is not an integer"):
            b.add(b.load(y), 0.5)


def test_symbols_differ_with_the_specification() -> None:
    def body(*_: object) -> None: ...

    one, other = Probe(("f32",), body), Probe(("f32",), body, 2)
    assert one.symbol == Probe(("f32",), body).symbol
    assert one.symbol != other.symbol
    assert f"@{one.symbol}__wasm(" in codegen.emit_mlir([one, one], WASM)
