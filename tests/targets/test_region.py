"""Every scalar op inside a region, on vectors and on scalars of every ISA, against the interpreter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernels
from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import Builtin
from xdsl.dialects.func import Func
from xdsl.ir import Region
from xdsl.parser import Parser

from sparsec.interpreter.scalars import evaluate_region
from sparsec.ir.ops import YieldOp
from sparsec.ir.types import dtype_of
from sparsec.targets.builder import Builder
from sparsec.targets.isa import Isa
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.region import Body, element

SIZE = 64


@dataclass(frozen=True)
class Map(Kernel):
    """One result from `SIZE` elements of each argument, in vectors or one by one."""

    body: Body
    scalar: bool

    @property
    def name(self) -> str:
        return "map"

    @property
    def chunks(self) -> int:
        return 1

    def emit(self, b: Builder) -> None:
        block = self.body.region.block
        types = [element(x.type) for x in block.args]
        result = element(block.last_op.operands[0].type)  # type: ignore[union-attr]
        step = 1 if self.scalar else b.isa.lanes
        load, store = (b.load, b.store) if self.scalar else (b.vload, b.vstore)
        with b.function(self.symbol, [*types, result]) as ((*inputs, y), _, _, _), b.loop(0, SIZE, step) as i:
            (value,) = self.body.emit(b, [load(x, i) for x in inputs])
            store(value, y, i)


def region(arguments: str, text: str) -> Region:
    """The region `text` with arguments %0, %1, ... of these types and the result %r of the last one."""
    *types, result = arguments.split()
    formals = ", ".join(f"%{i} : {type_}" for i, type_ in enumerate(types))
    source = f'"test.op"() ({{\n^bb0({formals}):\n{text}\n"sp.yield"(%r) : ({result}) -> ()\n}}) : () -> ()'
    context = Context(allow_unregistered=True)
    for dialect in (Builtin, Func, arith.Arith, math.Math):
        context.load_dialect(dialect)
    context.load_op(YieldOp)
    module = Parser(context, source).parse_module()
    return next(iter(module.ops)).regions[0]


def numbers(dtype: np.dtype, seed: int) -> np.ndarray:
    """Small and large numbers, shuffled, with the special ones of floats."""
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, SIZE).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        small = rng.integers(0 if dtype.kind == "u" else -9, 10, SIZE)
        large = rng.integers(info.min, info.max, SIZE, dtype=dtype, endpoint=True)
        return rng.permutation(
            np.concatenate([small[:48].astype(dtype), large[:14], [info.min, info.max]]).astype(dtype)
        )
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5], dtype)
    return rng.permutation(np.concatenate([special, (rng.standard_normal(SIZE - 8) * 3).astype(dtype)]))


FLOAT_UNARY = ["absf", "negf", "ceil", "floor", "trunc", "roundeven", "round", "sqrt", "rsqrt", "exp", "exp2", "expm1"]
FLOAT_UNARY += ["log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"]
FLOAT_UNARY += ["asinh", "acosh", "atanh", "erf", "cbrt"]
FLOAT_BINARY = ["addf", "subf", "mulf", "divf", "maximumf", "minimumf", "maxnumf", "minnumf"]
INT_BINARY = ["addi", "subi", "muli", "andi", "ori", "xori", "divsi", "divui", "remsi", "remui", "floordivsi"]
INT_BINARY += ["maxsi", "minsi", "maxui", "minui"]


def _dialect(name: str) -> str:
    return "arith" if name in ("negf",) else "math"


CASES = [(f"{t} {t}", f"%r = {_dialect(op)}.{op} %0 : {t}") for op in FLOAT_UNARY for t in ("f32", "f16")]
CASES += [(f"{t} {t} {t}", f"%r = arith.{op} %0, %1 : {t}") for op in FLOAT_BINARY for t in ("f32", "f16", "f64")]
CASES += [(f"{t} {t} {t}", f"%r = arith.{op} %0, %1 : {t}") for op in INT_BINARY for t in ("i64", "i32", "i8")]
CASES += [("i1 i1 i1", f"%r = arith.{op} %0, %1 : i1") for op in ("andi", "ori", "xori")]
CASES += [
    ("i32 i32 i32", f"%c = arith.constant 31 : i32\n%s = arith.andi %1, %c : i32\n%r = arith.{op} %0, %s : i32")
    for op in ("shli", "shrsi", "shrui")
]
CASES += [("f32 f32 i1", f"%r = arith.cmpf {p}, %0, %1 : f32") for p in arith.CMPF_COMPARISON_OPERATIONS]
CASES += [
    (f"{t} {t} i1", f"%r = arith.cmpi {p}, %0, %1 : {t}")
    for p in arith.CMPI_COMPARISON_OPERATIONS
    for t in ("i64", "i8")
]
CASES += [
    ("i1 f32 f32 f32", "%r = arith.select %0, %1, %2 : f32"),
    ("f32 f32 f32", "%r = math.powf %0, %1 : f32"),
    ("f32 f32", "%c = arith.constant 3.0 : f32\n%r = math.powf %0, %c : f32"),
    ("f32 f32", "%c = arith.constant 0.0 : f32\n%r = arith.maximumf %0, %c : f32"),
    ("f32 f32", "%c = arith.constant 6.0 : f32\n%r = arith.minimumf %0, %c : f32"),
    ("f32 f32", "%c = arith.constant 6.0 : f32\n%r = arith.subf %c, %0 : f32"),
    ("f32 f32 f32", "%r = math.atan2 %0, %1 : f32"),
    ("f32 f32 f32", "%r = math.copysign %0, %1 : f32"),
    ("f32 f64", "%r = arith.extf %0 : f32 to f64"),
    ("f16 f32", "%r = arith.extf %0 : f16 to f32"),
    ("f32 f16", "%r = arith.truncf %0 : f32 to f16"),
    ("i64 f32", "%r = arith.sitofp %0 : i64 to f32"),
    ("i32 f32", "%r = arith.uitofp %0 : i32 to f32"),
    ("i1 f32", "%r = arith.uitofp %0 : i1 to f32"),
    ("i64 i32", "%r = arith.trunci %0 : i64 to i32"),
    ("i64 i1", "%r = arith.trunci %0 : i64 to i1"),
    ("i8 i64", "%r = arith.extsi %0 : i8 to i64"),
    ("i1 i64", "%r = arith.extsi %0 : i1 to i64"),
    ("i1 i32", "%r = arith.extui %0 : i1 to i32"),
    ("i8 i32", "%r = arith.extui %0 : i8 to i32"),
    ("i64 i64", "%x = arith.index_cast %0 : i64 to index\n%r = arith.index_cast %x : index to i64"),
    ("f32 i32", "%r = arith.bitcast %0 : f32 to i32"),
    ("i32 i32", "%r = math.ctpop %0 : i32"),
    ("i32 i32", "%r = math.ctlz %0 : i32"),
    ("i32 i32", "%r = math.cttz %0 : i32"),
    ("i32 i32", "%c = arith.constant 5 : i32\n%r = arith.addi %c, %c : i32"),
    (
        "f32 i64",
        "%l = arith.constant -1000.0 : f32\n%h = arith.constant 1000.0 : f32\n%a = arith.maxnumf %0, %l : f32\n"
        "%b = arith.minnumf %a, %h : f32\n%r = arith.fptosi %b : f32 to i64",
    ),
]


def close(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Floats within 4 units of the last place of f32 or one of f16, everything else equal."""
    if actual.dtype.kind == "f":
        rtol = {2: 1e-3, 4: 5e-7, 8: 1e-15}[actual.dtype.itemsize]
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-7, err_msg=what)
    else:
        np.testing.assert_array_equal(actual, expected, err_msg=what)


@every_isa
@pytest.mark.parametrize("scalar", [False, True], ids=["vector", "scalar"])
def test_every_op_equals_the_interpreter(isa: Isa, scalar: bool) -> None:
    bodies = [Body.of(region(*case)) for case in CASES]
    inputs = [[numbers(dtype_of(x.type), i) for i, x in enumerate(body.region.block.args)] for body in bodies]
    results = [body.region.block.last_op.operands[0].type for body in bodies]  # type: ignore[union-attr]
    runs = [
        (Map(body, scalar), [*arrays, np.zeros(SIZE, dtype_of(result))])
        for body, arrays, result in zip(bodies, inputs, results, strict=True)
    ]
    for case, body, arrays, (*_, actual) in zip(CASES, bodies, inputs, run_kernels(runs, isa), strict=True):
        (expected,) = evaluate_region(body.region, arrays)
        expected = np.broadcast_to(expected, SIZE)
        defined = np.ones(SIZE, bool)
        if any(name in case[1] for name in ("divsi", "divui", "remsi", "remui", "floordivsi")):
            defined = arrays[1] != 0
        close(actual[defined], expected[defined], case[1])


@every_isa
def test_integer_division_by_zero_and_overflow_do_not_trap(isa: Isa) -> None:
    bodies = [Body.of(region("i32 i32 i32", f"%r = arith.{op} %0, %1 : i32")) for op in ("divsi", "remsi")]
    x, y = np.full(SIZE, -(2**31), np.int32), np.resize(np.array([0, -1], np.int32), SIZE)
    (_, _, quotient), (_, _, rest) = run_kernels([(Map(body, False), [x, y, y]) for body in bodies], isa)
    assert set(quotient[0::2]) == {0}
    assert set(quotient[1::2]) == {-(2**31)}
    assert set(rest) == {0}


def test_bodies_with_equal_ops_are_equal() -> None:
    one = Body.of(region("f32 f32", "%r = math.exp %0 : f32"))
    other = Body.of(region("f32 f32", "%a = math.exp %0 : f32\n%r = math.exp %a : f32"))
    assert one == Body.of(region("f32 f32", "%r = math.exp %0 : f32"))
    assert Map(one, True).symbol != Map(other, True).symbol
    assert not one.is_identity
