"""What the generated code looks like: the instructions that kernels count on, and the calls that must not be there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from kernel_runner import every_isa, run_kernel

from sparsec.targets import codegen, vector_math
from sparsec.targets.builder import Builder
from sparsec.targets.isa import AVX2, AVX512, NEON, WASM, WASM_RELAXED, Isa, refine
from sparsec.targets.kernels.base import Kernel


@dataclass(frozen=True)
class Gemm(Kernel):
    """Y[M, N] = A · X[K, N], A packed as [M / rows, K, rows]; a tile of `rows` × `vectors` a chunk of rows."""

    m: int
    k: int
    n: int
    rows: int
    vectors: int

    @property
    def name(self) -> str:
        return f"gemm_test_m{self.rows}v{self.vectors}"

    @property
    def chunks(self) -> int:
        return self.m // self.rows

    def emit(self, b: Builder) -> None:
        lanes, tile = b.isa.lanes, [(r, v) for r in range(self.rows) for v in range(self.vectors)]
        with (
            b.function(self.symbol, ["f32"] * 3, [64] * 3) as ((a, x, y), _, begin, end),
            b.loop(begin, end) as i,
            b.loop(0, self.n, lanes * self.vectors) as j,
        ):
            sums = [b.constant(0.0, "f32", lanes)] * len(tile)
            with b.loop(0, self.k, carry=sums) as k:
                columns = [b.vload(x, k * self.n + j + v * lanes) for v in range(self.vectors)]
                weights = [b.load(a, (i * self.k + k) * self.rows + r) for r in range(self.rows)]
                for t, (r, v) in enumerate(tile):
                    sums[t] = b.fma(b.broadcast(weights[r]), columns[v], sums[t])
            for t, (r, v) in enumerate(tile):
                b.vstore(sums[t], y, (i * self.rows + r) * self.n + j + v * lanes)


@dataclass(frozen=True)
class Axpy(Kernel):
    """y += x · w[0] in vectors, with every elementary function on the way."""

    functions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "axpy_test"

    @property
    def chunks(self) -> int:
        return 1

    def emit(self, b: Builder) -> None:
        with b.function(self.symbol, ["f32"] * 3) as ((x, w, y), _, _, _), b.loop(0, 64, b.isa.lanes) as i:
            value = b.broadcast(b.load(w))
            for name in self.functions:
                value = getattr(vector_math, name)(b, value)
            b.vstore(b.fma(value, b.vload(x, i), b.vload(y, i)), y, i)


INSTRUCTIONS = [
    (AVX512, 4, r"vfmadd231ps\s+%zmm\d+, %zmm\d+, %zmm\d+", 24),
    (AVX2, 2, r"vfmadd231ps\s+%ymm\d+, %ymm\d+, %ymm\d+", 12),
    (NEON, 4, r"fmla\s+v\d+\.4s, v\d+\.4s, v\d+\.s\[\d\]|fmla\s+v\d+\.4s, v\d+\.4s, v\d+\.4s", 24),
    (WASM, 2, r"f32x4\.mul", 12),
    (WASM_RELAXED, 2, r"f32x4\.relaxed_madd", 12),
]


@pytest.mark.parametrize("case", INSTRUCTIONS, ids=[case[0].name for case in INSTRUCTIONS])
def test_the_tile_of_a_gemm_is_multiply_adds_without_spills(case: tuple[Isa, int, str, int]) -> None:
    isa, vectors, instruction, count = case
    text = codegen.emit_assembly([Gemm(48, 64, 256, 6, vectors)], isa)
    assert len(re.findall(instruction, text)) == count
    assert not re.search(r"[zy]mm\d+, -?\d*\(%rsp\)|\bstr\s+q\d+, \[sp", text)


@every_isa
def test_gemm(isa: Isa) -> None:
    rng = np.random.default_rng(0)
    a, x = rng.standard_normal((48, 64), np.float32), rng.standard_normal((64, 256), np.float32)
    packed = np.ascontiguousarray(a.reshape(8, 6, 64).transpose(0, 2, 1))
    _, _, y = run_kernel(Gemm(48, 64, 256, 6, 2), isa, [packed, x, np.zeros((48, 256), np.float32)])
    np.testing.assert_allclose(y, a @ x, rtol=1e-4, atol=1e-4)


def test_multiply_add_takes_its_operand_from_memory() -> None:
    text = codegen.emit_assembly([Axpy()], AVX512)
    assert re.search(r"vfmadd\d+ps\s+\S*\(%r\w+", text)


@every_isa
def test_no_call_of_libraries(isa: Isa) -> None:
    everything = Axpy(
        tuple(n for n in vector_math.__all__ if n not in ("atan2", "copysign", "fmod", "maxnum", "minnum", "pow"))
    )
    text = codegen.emit_assembly([everything], isa)
    assert not re.findall(r"^\s+(?:call\w*|bl|b|jmp)\s+(?!\.?L)\$?[a-z_]\w*", text, flags=re.MULTILINE)


def test_wasm_memory_access_holds_its_displacement() -> None:
    text = codegen.emit_assembly([Gemm(48, 64, 256, 6, 2)], WASM)
    assert {int(n) for n in re.findall(r"v128\.store\s+(\d+)", text)} >= {0, 16, 1024, 1040, 2048, 5136}


def test_objects_are_deterministic_and_kernels_appear_once() -> None:
    kernels = [Gemm(48, 64, 256, 6, 2), Axpy(), Gemm(48, 64, 256, 6, 2)]
    one, other = (codegen.emit_object(kernels, NEON) for _ in range(2))
    assert one == other
    assert one.count(kernels[0].symbol.encode()) == codegen.emit_object(kernels[:2], NEON).count(
        kernels[0].symbol.encode()
    )


def test_every_stage_can_be_read() -> None:
    kernels = [Axpy()]
    assert "vector.fma" in codegen.emit_mlir(kernels, AVX512)
    assert "define void @axpy_test" in codegen.emit_llvm(kernels, AVX512)
    assert "vmovups" in codegen.emit_assembly(kernels, AVX512)


def test_an_isa_is_refined_as_data() -> None:
    znver5 = refine(AVX512, "znver5", ("+avx512vnni",))
    assert (znver5.cpu, znver5.features) == ("znver5", "-prefer-256-bit,+avx512vnni")
    assert "zmm" in codegen.emit_assembly([Gemm(48, 64, 256, 6, 4)], znver5)


def test_memory_is_freed() -> None:
    """Compiling again and again hardly grows the process: llvmlite's pass builder keeps 100 KB, a module over 1 MB."""
    sizes = []
    for _ in range(2):
        for _ in range(15):
            codegen.emit_object([Gemm(48, 64, 256, 6, 4)], AVX512)
        with open("/proc/self/statm") as file:
            sizes.append(int(file.read().split()[1]) * 4096)
    assert all(later - earlier < 15 * 300_000 for earlier, later in pairwise(sizes))
