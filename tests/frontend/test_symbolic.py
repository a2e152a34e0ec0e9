"""Sizes that stay symbolic through shape arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sparsec.errors import UnsupportedModel
from sparsec.frontend.onnx import import_model
from sparsec.interpreter import run
from sparsec.ir import type_of
from sparsec.ir.dims import floordiv, symbol
from sparsec.ir.shapes import format_shape
from sparsec.model import Model


def import_text(text: str, folder: Path, constants: dict[str, np.ndarray] | None = None, **given) -> Model:
    """Import a graph in ONNX's textual syntax."""
    graph = onnx.parser.parse_graph(text)
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in (constants or {}).items())
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return import_model(path, **given)


def result_shape(model: Model) -> list[str]:
    (result,) = model.main.function_type.outputs
    return [str(dim) for dim in result.shape]  # pyright: ignore[reportAttributeAccessIssue]


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


HEADS = """g (float[batch, seq, 24] x) => (float[b, h, s, d] y) {
    shape = Shape(x)
    b = Gather<axis=0>(shape, zero)
    s = Gather<axis=0>(shape, one)
    b1 = Unsqueeze(b, first)
    s1 = Unsqueeze(s, first)
    target = Concat<axis=0>(b1, s1, heads, minus)
    split = Reshape(x, target)
    y = Transpose<perm=[0, 2, 1, 3]>(split)
}"""
HEADS_CONSTANTS = {"zero": np.array(0), "one": np.array(1), "first": ints(0), "heads": ints(4), "minus": ints(-1)}


def test_attention_heads(tmp_path: Path) -> None:
    model = import_text(HEADS, tmp_path, HEADS_CONSTANTS)
    assert result_shape(model) == ["batch", "4", "seq", "6"]
    x = np.arange(2 * 5 * 24, dtype=np.float32).reshape(2, 5, 24)
    np.testing.assert_array_equal(run(model, [x])[0], x.reshape(2, 5, 4, 6).transpose(0, 2, 1, 3))


def test_dims_fix_symbols(tmp_path: Path) -> None:
    assert result_shape(import_text(HEADS, tmp_path, HEADS_CONSTANTS, dims={"seq": 7})) == ["batch", "4", "7", "6"]
    model = import_text(HEADS, tmp_path, HEADS_CONSTANTS, shapes={"x": (3, 7, 24)})
    assert result_shape(model) == ["3", "4", "7", "6"]


def test_arithmetic_through_floats(tmp_path: Path) -> None:
    """Twice the height, as torch writes an upsampling: Cast, Mul, Floor, Cast."""
    text = """g (float[n, 3, h, w] x) => (float[a, b, c, d] y) {
        shape = Shape<start=2>(x)
        real = Cast<to=1>(shape)
        twice = Mul(real, two)
        whole = Floor(twice)
        size = Cast<to=7>(whole)
        head = Shape<end=2>(x)
        sizes = Concat<axis=0>(head, size)
        y = Resize<mode="nearest">(x, , , sizes)
    }"""
    model = import_text(text, tmp_path, {"two": np.array(2, np.float32)})
    assert result_shape(model) == ["n", "3", "2*h", "2*w"]


def test_mask_of_symbolic_length(tmp_path: Path) -> None:
    """Range, ConstantOfShape, Expand and the Equal-Where idiom of exported `expand` calls."""
    text = """g (float[batch, seq] x) => (float[a, b] y) {
        shape = Shape(x)
        s = Gather<axis=0>(shape, one)
        count = Range(zero, s, one)
        real = Cast<to=1>(count)
        ones = ConstantOfShape<value = int64[1] {1}>(two)
        negative = Mul(ones, minus)
        same = Equal(shape, negative)
        target = Where(same, ones, shape)
        wide = Expand(real, target)
        y = Add(x, wide)
    }"""
    constants = {"zero": np.array(0), "one": np.array(1), "two": ints(2), "minus": ints(-1)}
    model = import_text(text, tmp_path, constants)
    x = np.ones((2, 5), np.float32)
    np.testing.assert_array_equal(run(model, [x])[0], x + np.arange(5, dtype=np.float32))


def test_convolution_sizes(tmp_path: Path) -> None:
    text = """g (float[n, 3, h, w] x) => (float[a, b, c, d] y) {
        c = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(x, weight)
        shape = Shape(c)
        flat = Reshape(c, target)
        y = Reshape(flat, shape)
    }"""
    constants = {"weight": np.ones((8, 3, 3, 3), np.float32), "target": ints(0, 8, -1)}
    model = import_text(text, tmp_path, constants)
    assert result_shape(model)[:2] == ["n", "8"]
    x = np.ones((1, 3, 9, 6), np.float32)
    assert run(model, [x])[0].shape == (1, 8, 5, 3)


def test_slices_of_symbolic_axes(tmp_path: Path) -> None:
    text = """g (float[batch, seq] x) => (float[a, b] y) { y = Slice(x, start, end, axis) }"""
    model = import_text(text, tmp_path, {"start": ints(1), "end": ints(2**63 - 1), "axis": ints(1)})
    assert result_shape(model) == ["batch", "seq - 1"]
    model = import_text(text, tmp_path, {"start": ints(0), "end": ints(-2), "axis": ints(1)})
    assert result_shape(model) == ["batch", "seq - 2"]


def test_names_of_symbols_are_made_readable(tmp_path: Path) -> None:
    proto = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch size", None, "2*n"])
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g", [proto], [helper.make_empty_tensor_value_info("y")]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    model = import_model(tmp_path / "m.onnx")
    assert [str(dim) for dim in type_of(model.main.body.block.args[0]).shape] == ["batch_size", "x_1", "d2_n"]
    assert result_shape(import_model(tmp_path / "m.onnx", dims={"batch size": 3})) == ["3", "x_1", "d2_n"]


def test_shapes_in_messages_are_short() -> None:
    size = symbol("height")
    half = floordiv(size - 1, 2) + 1
    assert format_shape((symbol("batch"), 3, half, 4)) == "batchx3x((height - 1) // 2 + 1)x4"
    assert format_shape((1, floordiv(half, 2) * 3 - size)) == "1x…"


def test_sizes_that_meet_what_a_run_computes(tmp_path: Path) -> None:
    """A place in a flat tensor, row · length + column, as transformers' masks are indexed; and a quotient."""
    text = """g (float[batch, length] x, int64[n] row) => (float[k, n] y) {
        shape = Shape(x)
        length = Gather<axis=0>(shape, one)
        half = Div(length, two)
        start = Mul(row, length)
        place = Add(start, half)
        both = Mul(place, alone)
        k = Cast<to=1>(both)
        flat = Reshape(x, minus)
        picked = Gather(flat, place)
        stacked = Concat<axis=0>(picked, k)
        y = Reshape(stacked, target)
    }"""
    constants = {
        "one": np.array(1),
        "two": np.array(2),
        "minus": ints(-1),
        "alone": ints(1),
        "target": ints(2, -1),
    }
    model = import_text(text, tmp_path, constants)
    x, row = np.arange(15, dtype=np.float32).reshape(3, 5), ints(0, 2)
    np.testing.assert_array_equal(run(model, [x, row])[0], [x[[0, 2], 2], [2, 12]])


def test_sizes_alone_are_not_computed(tmp_path: Path) -> None:
    text = "g (float[n] x) => (float[1] y) { s = Shape(x) \n h = Mod(s, two) \n f = Cast<to=1>(h) \n y = Sqrt(f) }"
    with pytest.raises(UnsupportedModel, match=r"computes with the size of n at run time .fix it with --dim n="):
        import_text(text, tmp_path, {"two": ints(2)})
