"""onnxruntime's own operators: the interpreter's results (at fixed sizes and with symbols) and those of compiled code
against onnxruntime's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from contributed import BIAS, CASES, HEADS, PADDED, TOKENS, WEIGHTS, B, Case, D, N, S, arrays, make_model
from plan_runner import compile_plan, run_plan

from sparsec.frontend.onnx import import_model
from sparsec.frontend.onnx.contrib import SHAPES
from sparsec.interpreter import run
from sparsec.model import Model
from sparsec.targets.isa import host_isas
from sparsec.verify import compare, onnxruntime_session


def _cases() -> list:
    """Each case at fixed sizes, and those that have symbols with them."""
    forms = [(name, symbolic) for name, case in CASES.items() for symbolic in (False, *([True] * bool(case.symbols)))]
    return [pytest.param(*form, id=f"{form[0]}{' with symbols' * form[1]}") for form in forms]


@pytest.mark.parametrize(("name", "symbolic"), _cases())
def test_against_onnxruntime(name: str, symbolic: bool, tmp_path: Path) -> None:
    case = CASES[name]
    path = tmp_path / "m.onnx"
    onnx.save(make_model(case, symbolic), path)
    model = import_model(path)
    inputs = {name: array for name, array in arrays(case).items() if name in model.input_names}
    session = onnxruntime_session(path)
    assert session is not None, "onnxruntime refuses the model"
    expected, given = session(inputs), [inputs[name] for name in model.input_names]
    for runner in (run, run_compiled) if first_of_its_operator(name) and not symbolic else (run,):
        outputs = dict(zip(model.output_names, runner(model, given), strict=True))
        for comparison in compare(outputs, expected, "onnxruntime", 1e-5):
            assert comparison.passed, f"{runner.__name__}: {comparison}"


def first_of_its_operator(name: str) -> bool:
    return name == next(key for key, case in CASES.items() if case.op == CASES[name].op)


def run_compiled(model: Model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Through the whole compiler, with this CPU's best kernels."""
    return run_plan(compile_plan(model), host_isas()[0], inputs)


def import_case(case: Case, folder: Path) -> Model:
    onnx.save(make_model(case), folder / "m.onnx")
    return import_model(folder / "m.onnx")


def test_attention_without_bias(tmp_path: Path) -> None:
    """As with a bias of zeros; onnxruntime crashes."""
    case = Case("Attention", [TOKENS, WEIGHTS], HEADS)
    given = [*arrays(case).values(), np.zeros(BIAS, np.float32)]
    (expected,) = run(import_case(replace(case, inputs=given), tmp_path), given)
    np.testing.assert_array_equal(run(import_case(case, tmp_path), given[:2])[0], expected)


@pytest.mark.parametrize("count", [2, 3])
def test_packed_inputs_of_multi_head_attention(count: int, tmp_path: Path) -> None:
    """As their parts; onnxruntime has them on GPUs only."""
    given = np.random.default_rng(0).standard_normal((3, B, S, N, D), np.float32)
    parts = [part.reshape(TOKENS) for part in given]
    packed = [*parts[: 3 - count], np.stack([*given[3 - count :]], 3)]
    nothing = [None] * (3 - len(packed))
    bias = np.random.default_rng(1).standard_normal(BIAS).astype(np.float32) * (count == 3)
    unpacked = import_case(Case("MultiHeadAttention", [*parts, bias, PADDED], HEADS, constants=(3,)), tmp_path)
    case = Case("MultiHeadAttention", [*packed, *nothing, bias, PADDED], HEADS, constants=(3,))
    (expected,) = run(unpacked, [*parts, PADDED])
    np.testing.assert_allclose(run(import_case(case, tmp_path), [*packed, PADDED])[0], expected, 1e-5, 1e-6)


@pytest.mark.parametrize("both_ways", [False, True])
def test_relative_positions(both_ways: bool, tmp_path: Path) -> None:
    """T5's buckets: half of them for single distances, the others up to max_distance on a scale of logarithms."""
    length, buckets, furthest = 40, 16, 30
    table = np.random.default_rng(0).standard_normal((buckets, N), np.float32)
    lengths = [np.array(length), np.array(length)]
    attributes = {"max_distance": furthest, "is_bidirectional": int(both_ways)}
    case = Case("RelativePositionBias", [table.T.reshape(buckets, N), *lengths], attributes, constants=(1, 2))
    (actual,) = run(import_case(case, tmp_path), [table.T.reshape(buckets, N)])
    ways = buckets // 2 if both_ways else buckets
    exact = ways // 2
    for query in range(length):
        for key in range(length):
            distance = abs(key - query) if both_ways else max(query - key, 0)
            bucket = distance
            if distance >= exact:
                share = math.log(distance / exact) / math.log(furthest / exact)
                bucket = min(exact + int(share * (ways - exact)), ways - 1)
            bucket += ways if both_ways and key > query else 0
            np.testing.assert_array_equal(actual[0, :, query, key], table[bucket])


def test_every_operator_has_a_case() -> None:
    assert set(SHAPES) <= {case.op for case in CASES.values()} | {"RelativePositionBias"}
