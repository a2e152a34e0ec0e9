"""Broken, hostile and unsupported files: one clear message of the right class, no big allocation."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zoo
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from whole_models import write_model

from sparsec.errors import InvalidModel, SparsecError, UnsupportedModel, UsageError
from sparsec.frontend.onnx import check_model, import_model

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
IMAGE = [1, 4, 8, 8]


def node(op: str, *inputs: str, output: str = "y", **attributes) -> NodeProto:
    return helper.make_node(op, list(inputs), [output], name=f"the_{op.lower()}", **attributes)


def model(
    *nodes: NodeProto,
    shape: list | None = None,
    constants: dict[str, np.ndarray | TensorProto] | None = None,
    opset: int = 17,
) -> ModelProto:
    """x → nodes → y."""
    tensors = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
        for name, value in (constants or {}).items()
    ]
    ports = (helper.make_tensor_value_info("x", FLOAT, shape or IMAGE), helper.make_tensor_value_info("y", FLOAT, None))
    graph = helper.make_graph(list(nodes), "g", ports[:1], ports[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def raw(name: str, dims: list[int], data: bytes, data_type: int = FLOAT) -> TensorProto:
    return TensorProto(name=name, dims=dims, raw_data=data, data_type=data_type)


def external(**entries: str) -> TensorProto:
    tensor = TensorProto(name="w", dims=[2], data_type=FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def add(constant: TensorProto | np.ndarray) -> ModelProto:
    return model(node("Add", "x", "w"), constants={"w": constant})


def fold(op: str, constant: np.ndarray, **attributes) -> ModelProto:
    return model(node(op, "c", output="w", **attributes), node("Add", "x", "w"), constants={"c": constant})


def nested(depth: int) -> ModelProto:
    """Ifs inside one another."""
    ports = [helper.make_tensor_value_info("y", FLOAT, None)]
    leaf = helper.make_graph([node("Identity", "x")], "leaf", [], ports)
    graph = leaf
    for _ in range(depth):
        graph = helper.make_graph([node("If", "c", then_branch=graph, else_branch=leaf)], "level", [], ports)
    return model(node("If", "c", then_branch=graph, else_branch=leaf), constants={"c": np.array(True)})


def cycle() -> ModelProto:
    return model(node("Add", "x", "b", output="a"), node("Relu", "a", output="b"), node("Relu", "b"))


def recursive_function() -> ModelProto:
    proto = model(helper.make_node("F", ["x"], ["y"], "call", domain="d"))
    body = helper.make_node("F", ["a"], ["b"], "inner", domain="d")
    proto.functions.append(helper.make_function("d", "F", ["a"], ["b"], [body], [helper.make_opsetid("d", 1)]))
    proto.opset_import.append(helper.make_opsetid("d", 1))
    return proto


def without(field: str) -> ModelProto:
    proto = model(node("Relu", "x"))
    proto.ClearField(field)
    return proto


def no_outputs() -> ModelProto:
    proto = model()
    del proto.graph.output[:]
    return proto


def with_attribute(**fields) -> ModelProto:
    proto = model(node("LeakyRelu", "x"))
    proto.graph.node[0].attribute.append(AttributeProto(name="alpha", **fields))
    return proto


def sparse(indices: np.ndarray, dims: list[int]) -> ModelProto:
    proto = model(node("Add", "x", "w"))
    tensor = proto.graph.sparse_initializer.add(dims=dims)
    tensor.values.CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    tensor.indices.CopyFrom(numpy_helper.from_array(indices, "i"))
    return proto


ONE = np.ones(1, np.float32)
KERNEL = np.ones((4, 4, 3, 3), np.float32)
BAD: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "no graph": (lambda: without("graph"), "it has no graph"),
    "no opset": (lambda: without("opset_import"), "it has no opset"),
    "empty graph": (no_outputs, "no outputs"),
    "undefined output": (model, "output 'y' is not defined"),
    "undefined input": (lambda: model(node("Add", "x", "nowhere")), "'nowhere' .read by the_add"),
    "cycle": (cycle, "cycle through the_add, the_relu"),
    "defined twice": (
        lambda: model(node("Relu", "x"), node("Abs", "x")),
        "'y' is defined twice; again by node the_abs",
    ),
    "overwrites the input": (lambda: model(node("Relu", "x", output="x"), node("Relu", "x")), "'x' is defined twice"),
    "negative size": (lambda: add(raw("w", [-1, -4], b"\0" * 16)), "negative dimension"),
    "overflowing size": (lambda: add(raw("w", [2**40, 2**40], b"\0" * 16)), "overflow 64 bits"),
    "size that wraps to 0": (lambda: add(raw("w", [2**32, 2**32], b"")), "overflow 64 bits"),
    "short raw data": (lambda: add(raw("w", [4], b"\0" * 12)), "needs 16 bytes of data, the file holds 12"),
    "long raw data": (lambda: add(raw("w", [4], b"\0" * 20)), "needs 16 bytes of data, the file holds 20"),
    "short large raw data": (
        lambda: add(raw("w", [2000], b"\0" * 7996)),
        "needs 8000 bytes of data, the file holds 7996",
    ),
    "short typed data": (lambda: add(TensorProto(name="w", dims=[3], data_type=FLOAT, float_data=[1])), "needs 3 el"),
    "no data at all": (lambda: add(TensorProto(name="w", dims=[2**50], data_type=FLOAT)), "the file holds 0"),
    "unknown element type": (lambda: add(raw("w", [1], b"\0" * 4, 99)), "element type 99, which ONNX does not define"),
    "negative input": (lambda: model(node("Relu", "x"), shape=[1, -3]), "input 'x' has the size -3 on axis 1"),
    "input of 9 exabytes": (lambda: model(node("Relu", "x"), shape=[2**31, 2**31]), "more than the limit"),
    "dotdot": (lambda: add(external(location="../secret")), "outside the model's folder"),
    "deep dotdot": (lambda: add(external(location="sub/../../secret")), "outside the model's folder"),
    "absolute": (lambda: add(external(location="/etc/passwd")), "must be a relative path"),
    "symlink": (lambda: add(external(location="link")), "outside the model's folder"),
    "symlinked folder": (lambda: add(external(location="folder/secret")), "outside the model's folder"),
    "no location": (lambda: add(external()), "must be a relative path"),
    "missing file": (lambda: add(external(location="nothing")), "cannot read external data 'nothing'"),
    "external folder": (lambda: add(external(location="sub")), "cannot read external data 'sub'"),
    "fifo": (lambda: add(external(location="pipe")), "not a regular file"),
    "short file": (lambda: add(external(location="four")), "wants bytes 0 to 8 of 'four', which has 4"),
    "offset beyond": (lambda: add(external(location="eight", offset="8")), "wants bytes 8 to 16"),
    "negative offset": (lambda: add(external(location="eight", offset="-8")), "not a number of bytes"),
    "huge offset": (lambda: add(external(location="eight", offset="9" * 5000)), "not a number of bytes"),
    "wrong length": (lambda: add(external(location="eight", length="4")), "needs 8 bytes, its external data has 4"),
    "constant of 4 TB": (lambda: fold("ConstantOfShape", ints(2**40)), "takes 4 TiB, more than the limit of 2 GiB"),
    "constant that overflows": (lambda: fold("ConstantOfShape", ints(2**40, 2**40)), "more than the limit"),
    "constant of negative shape": (lambda: fold("ConstantOfShape", ints(-5)), "negative dimension"),
    "endless range": (
        lambda: model(node("Range", "a", "b", "d", output="w"), node("Cast", "w", to=FLOAT), constants={
            "a": np.array(0), "b": np.array(2**62), "d": np.array(1)}),
        "more than the limit",
    ),
    "range without step": (
        lambda: model(node("Range", "a", "a", "a"), constants={"a": np.array(0)}),
        "step of 0",
    ),
    "expansion to 4 TB": (
        lambda: model(node("Expand", "x", "s"), constants={"s": ints(2**40, 1, 1, 1)}), "more than the limit"),
    "tile to 4 TB": (
        lambda: model(node("Tile", "x", "s"), constants={"s": ints(2**40, 1, 1, 1)}),
        "more than the limit",
    ),
    "blocks of 2^32": (lambda: model(node("DepthToSpace", "x", blocksize=2**32)), "has blocksize .4294967296."),
    "blocks of 0": (lambda: model(node("SpaceToDepth", "x", blocksize=0)), "has blocksize .0."),
    "stride 0": (lambda: model(node("MaxPool", "x", kernel_shape=[2, 2], strides=[0, 1])), "has strides"),
    "stride 2^40": (lambda: model(node("MaxPool", "x", kernel_shape=[2, 2], strides=[2**40, 1])), "has strides"),
    "negative dilation": (
        lambda: model(node("Conv", "x", "w", dilations=[-1, 1]), constants={"w": KERNEL}), "has dilations"),
    "pads of 2^40": (lambda: model(node("Conv", "x", "w", pads=[2**40] * 4), constants={"w": KERNEL}), "has pads"),
    "pads of 2 G": (
        lambda: model(node("Conv", "x", "w", pads=[2**30] * 4), constants={"w": KERNEL}),
        "more than the limit",
    ),
    "pad by 2^62": (lambda: model(node("Pad", "x", "p"), constants={"p": ints(*[2**62] * 8)}), "has pads"),
    "groups 0": (lambda: model(node("Conv", "x", "w", group=0), constants={"w": KERNEL}), "has group .0."),
    "wrong channels": (lambda: model(node("Conv", "x", "w"), constants={"w": KERNEL[:, :3]}), "input has 4 channels"),
    "window too large": (lambda: model(node("MaxPool", "x", kernel_shape=[9, 9])), "a window of 9"),
    "kernel of another rank": (lambda: model(node("Conv", "x", "w"), constants={"w": KERNEL[0]}), "slides a window"),
    "axis outside": (lambda: model(node("Softmax", "x", axis=4)), "axis 4 of a tensor with 4 axes"),
    "reshape to other size": (
        lambda: model(node("Reshape", "x", "s"), constants={"s": ints(5, 5)}),
        "differ in elements",
    ),
    "reshape by 0": (lambda: model(node("Reshape", "x", "s"), constants={"s": ints(0, 0, 0, 0, 0)}), "copies axis 4"),
    "reshape twice open": (
        lambda: model(node("Reshape", "x", "s"), constants={"s": ints(-1, -1)}),
        "leaves that size open",
    ),
    "reshape to negative": (lambda: model(node("Reshape", "x", "s"), constants={"s": ints(-4, -64)}), "target shape"),
    "permutation": (lambda: model(node("Transpose", "x", perm=[0, 0, 1, 2])), "no permutation"),
    "split": (lambda: model(node("Split", "x", "s"), constants={"s": ints(5)}), "splits 1 elements into .5."),
    "slice by 0": (
        lambda: model(node("Slice", "x", "a", "a", "a", "a"), constants={"a": ints(0)}), "step of 0"),
    "gather outside": (
        lambda: model(node("Gather", "x", "i"), constants={"i": ints(7)}),
        "reads place 7 of an axis of 1",
    ),
    "folded gather outside": (
        lambda: model(node("Gather", "c", "i", output="w"), node("Add", "x", "w"), constants={"c": ONE, "i": ints(3, 4)}
        ),
        "reads or writes place 4 of 1",
    ),
    "scales": (
        lambda: model(node("Resize", "x", "", "s"), constants={"s": np.array([1, 1, 0, np.nan], np.float32)}), "scale"),
    "sizes": (
        lambda: model(node("Resize", "x", "", "", "s"), constants={"s": ints(1, 4, 2**40, 2**40)}), "scales"),
    "missing inputs": (lambda: model(node("Conv", "x")), "has 1 inputs, Conv takes 2 to 3"),
    "too many inputs": (lambda: model(node("Relu", "x", "x")), "has 2 inputs, Relu takes 1"),
    "missing attribute": (lambda: model(node("Cast", "x")), "lacks the attribute 'to'"),
    "unknown attribute": (lambda: model(node("Relu", "x", slope=0.1)), "attribute 'slope', which Relu does not have"),
    "attribute of another type": (
        lambda: with_attribute(i=3, type=AttributeProto.INT),
        "of type INT, LeakyRelu takes FLOAT",
    ),
    "attribute without type": (lambda: with_attribute(f=0.5), "of type UNDEFINED"),
    "shapes that do not broadcast": (
        lambda: add(np.ones(3, np.float32)),
        "node 'the_add' .Add, opset 17.*do not broadcast",
    ),
    "types that differ": (lambda: add(np.ones(1, np.int64)), "the_add"),
    "deep nesting": (lambda: nested(28), "nested more than"),
    "recursive function": (recursive_function, "nested more than"),
    "sparse index outside": (lambda: sparse(ints(0, 9), [4]), "index outside its shape"),
    "sparse of 4 TB": (lambda: sparse(ints(0, 9), [2**40]), "more than the limit"),
    "sparse indices of another size": (lambda: sparse(ints(0, 1, 2), [4]), "has 2 values and indices"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with files around it that hostile models name."""
    inside = tmp_path / "models"
    (inside / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"\0" * 8)
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "folder").symlink_to(tmp_path)
    (inside / "four").write_bytes(b"\0" * 4)
    (inside / "eight").write_bytes(b"\0" * 8)
    os.mkfifo(inside / "pipe")
    return inside


def write(folder: Path, proto: ModelProto) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("case", BAD)
def test_invalid(case: str, folder: Path) -> None:
    make, message = BAD[case]
    path = write(folder, make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidModel, match=message):
        import_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "took more than 200 MB"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*nothing\.onnx: No such file"):
        import_model(tmp_path / "nothing.onnx")
    with pytest.raises(UsageError, match="is a folder"):
        import_model(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is no model\n", b"\x08\x07", b"\x3a\xff\xff\xff\xff\x0f", bytes(64)]
)
def test_no_onnx(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidModel, match="not an ONNX model"):
        import_model(path)


def test_nested_beyond_what_protobuf_reads(tmp_path: Path) -> None:
    data = b""
    for _ in range(1000):  # graph in attribute in node
        for field in (1, 5, 6):
            data = _length_delimited(field, data)
    path = tmp_path / "m.onnx"
    path.write_bytes(_length_delimited(7, data))
    with pytest.raises(InvalidModel, match="not an ONNX model"):
        import_model(path)


def _length_delimited(field: int, payload: bytes) -> bytes:
    length, size = b"", len(payload)
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + payload


def test_truncated_anywhere(tmp_path: Path) -> None:
    data = zoo.light_model("squeezenet").read_bytes()
    path = tmp_path / "m.onnx"
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        with pytest.raises(InvalidModel):
            import_model(path)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes(seed: int, tmp_path: Path) -> None:
    """Damaged files import, or end in an error for people."""
    data = zoo.mobilenet_v2(size=32, width=0.25, classes=4, batch_norm=True).SerializeToString()
    start = data.index(b"Conv_0")
    dice = random.Random(seed)
    path = tmp_path / "m.onnx"
    for _ in range(30):
        damaged = bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 8))):
            damaged[dice.randrange(start + 6000)] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            check_model(path)
        except SparsecError:
            continue


def test_external_data_inside_the_folder(folder: Path) -> None:
    (folder / "sub" / "weights").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    tensor = external(location="sub/weights", offset="8", length="8")
    model_ = import_model(write(folder, model(node("Add", "x", "w"), shape=[2], constants={"w": tensor})))
    np.testing.assert_array_equal(model_.weights["w"], [2, 3])


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_weights_that_are_computed(op: str, tmp_path: Path) -> None:
    text = f"g (float[2,6,11,13] x, float[6,6,3,3] w) => (float[a,b,c,d] y) {{ y = {op}(x, w) }}"
    path = write_model(tmp_path / "m.onnx", text)
    (problem,) = check_model(path).problems
    assert problem.error is UnsupportedModel
    assert "a weight that is computed at run time ('w') (store it in the model" in problem.reason


def test_all_unsupported_nodes_at_once(tmp_path: Path) -> None:
    proto = model(
        node("NonMaxSuppression", "x", "x", output="a"),
        node("Relu", "x", output="b"),
        helper.make_node("Rolu", ["b"], ["c"], "third"),
        helper.make_node("Magic", ["x"], ["y"], "fourth", domain="com.example"),
    )
    proto.opset_import.append(helper.make_opsetid("com.example", 2))
    with pytest.raises(UnsupportedModel) as caught:
        import_model(write(tmp_path, proto))
    message = str(caught.value)
    assert message.startswith("3 nodes are not supported:")
    assert (
        "node 'the_nonmaxsuppression' (NonMaxSuppression, opset 17, inputs 1x4x8x8 float32, 1x4x8x8 float32)" in message
    )
    assert "the shape of its result depends on data" in message
    assert "no operator 'Rolu' (did the exporter mean 'Relu'?)" in message
    assert "node 'fourth' (com.example.Magic, opset 2, inputs 1x4x8x8 float32)" in message
    report = check_model(tmp_path / "m.onnx")
    assert [problem.node for problem in report.problems] == ["the_nonmaxsuppression", "third", "fourth"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shapes": {"x": (1, 3)}}, "input 'x': the shape 1x3 does not fit the model's batchx4x8x8"),
        ({"shapes": {"x": (1, 4, 8, 9)}}, "input 'x': the shape 1x4x8x9 does not fit the model's batchx4x8x8"),
        ({"shapes": {"x": (0, 4, 8, 8)}}, "0 is not a size"),
        ({"shapes": {"z": (1, 4, 8, 8)}}, "no input is called 'z'; the inputs are x"),
        ({"dims": {"s": 4}}, "no input has a symbolic size called 's'; the symbolic sizes are: batch"),
        ({"dims": {"batch": -4}}, "--dim batch: -4 is not a size"),
        ({"dims": {"batch": 4}, "shapes": {"x": (2, 4, 8, 8)}}, "where batch is already 4"),
    ],
)
def test_shapes_that_do_not_fit(given: dict, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, model(node("Relu", "x"), shape=["batch", 4, 8, 8]))
    with pytest.raises(UsageError, match=message):
        import_model(path, **given)


def test_sizes_that_fit_only_sometimes(tmp_path: Path) -> None:
    path = write(
        tmp_path, model(node("Add", "x", "w"), shape=["batch", "s"], constants={"w": np.ones((1, 7), np.float32)})
    )
    with pytest.raises(UsageError, match=r"^give .*--dim s=….*: node .* does not fit while .* may be any size"):
        import_model(path)
    assert import_model(path, dims={"s": 7}).weights


@pytest.mark.parametrize(
    "data_type", [TensorProto.STRING, TensorProto.BFLOAT16, TensorProto.UINT64, TensorProto.FLOAT8E4M3FN]
)
def test_element_types(data_type: int, tmp_path: Path) -> None:
    proto = model(node("Identity", "x"))
    proto.graph.input[0].type.tensor_type.elem_type = data_type
    with pytest.raises(UnsupportedModel, match="input 'x' has elements of type"):
        import_model(write(tmp_path, proto))


@pytest.mark.parametrize("shape", [["batch", "seq", 8], ["seq", 8, 8]])
def test_reshapes_that_fit_only_sometimes(shape: list, tmp_path: Path) -> None:
    """torch's older exporter writes sizes of the example into reshapes of nn.MultiheadAttention."""
    path = write(tmp_path, model(node("Reshape", "x", "s"), shape=shape, constants={"s": ints(-1, 10, 4)}))
    with pytest.raises(UsageError, match=r"does not fit while (batch, )?seq may be any size .*fix it with .*--dim seq"):
        import_model(path)
    assert import_model(path, dims={"batch": 1, "seq": 5} if len(set(shape)) > 2 else {"seq": 5})
