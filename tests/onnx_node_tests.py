"""ONNX's own backend tests: small models with inputs and expected outputs, shipped in the onnx package."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

from sparsec.errors import UnsupportedModel
from sparsec.frontend.onnx import import_model
from sparsec.model import Model

NOT_CLAIMED = Path(__file__).parent / "frontend" / "not_claimed.txt"
CONVOLUTIONS = ("Conv", "ConvTranspose", "CausalConvWithState")  # their weight must be constant
ON_DISK = ("simple", "pytorch-converted", "pytorch-operator")


@dataclass(frozen=True)
class NodeTest:
    """One test: a model, its inputs and the outputs that it must give, to within rtol and atol."""

    name: str
    model: ModelProto
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    rtol: float
    atol: float

    def check(self, outputs: list[np.ndarray]) -> None:
        """Raises AssertionError where `outputs` are not the expected ones."""
        assert len(outputs) == len(self.outputs)
        for actual, expected in zip(outputs, self.outputs, strict=True):
            assert actual.dtype == expected.dtype
            assert actual.shape == expected.shape
            np.testing.assert_allclose(actual, expected, rtol=self.rtol, atol=self.atol)


@cache
def collect() -> dict[str, NodeTest | None]:
    """Every test by name; None where inputs or outputs are no tensors (sequences, optionals)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [case for kind in ("node", *ON_DISK) for case in load_model_tests(kind=kind)]
    return {case.name: _node_test(case) for case in sorted(cases, key=lambda case: case.name)}


def claimed() -> list[str]:
    """The names of the tests that sparsec must pass."""
    left_out = not_claimed()
    return [name for name in collect() if name not in left_out]


@cache
def by_operator() -> dict[str, str]:
    """One claimed test for each operator that such a test begins with."""
    found: dict[str, str] = {}
    for name in claimed():
        test = collect()[name]
        if test is not None:
            found.setdefault(test.model.graph.node[0].op_type, name)
    return found


@cache
def not_claimed() -> dict[str, str]:
    """The tests that sparsec does not claim, and why: `[reason]` lines, then names."""
    reasons: dict[str, str] = {}
    reason = ""
    for line in NOT_CLAIMED.read_text().splitlines():
        if line.startswith("["):
            reason = line.strip("[]")
        elif line:
            reasons[line] = reason
    return reasons


def load(test: NodeTest, folder: Path) -> tuple[Model, dict[str, np.ndarray]]:
    """The imported model and the inputs that are left to give it.

    Where the operator needs constants (the shape of a Reshape, which real models hold in the file, is an input in these
    tests), inputs of rank 0 or 1 become initializers: those after the first, else all. So do weights and bias
    of a convolution, always.
    """
    given = dict(zip([port.name for port in _ports(test.model)], test.inputs, strict=True))
    convolutions = [node for node in test.model.graph.node if node.op_type in CONVOLUTIONS]
    weights = {name: given[name] for node in convolutions for name in node.input[1:3] if name in given}
    names = [name for name in given if name not in weights]
    attempts = [[], [name for name in names[1:] if given[name].ndim <= 1], [n for n in names if given[n].ndim <= 1]]
    for index, constants in enumerate(attempts):
        path = folder / f"{test.name}{index}.onnx"
        model = _with_initializers(test.model, {**weights, **{name: given[name] for name in constants}})
        path.write_bytes(model.SerializeToString())
        try:
            imported = import_model(path)
        except UnsupportedModel:
            if index == len(attempts) - 1:
                raise
            continue
        return imported, {name: given[name] for name in imported.input_names}
    raise AssertionError("unreachable")


def _with_initializers(model: ModelProto, constants: dict[str, np.ndarray]) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return copy


def _node_test(case) -> NodeTest | None:
    model, data = (case.model, case.data_sets[0]) if case.model is not None else _read(Path(case.model_dir))
    if data is None:
        return None
    arrays = [[_array(value) for value in values] for values in data]
    if any(array is None for values in arrays for array in values) or len(arrays[0]) != len(_ports(model)):
        return None
    return NodeTest(case.name, model, arrays[0], arrays[1], case.rtol, case.atol)  # pyright: ignore[reportArgumentType]


def _read(folder: Path):
    """Model and data of a test on disk; data None where it is missing or holds no tensors."""
    model = onnx.load(folder / "model.onnx")
    data = []
    for kind in ("input", "output"):
        files = sorted(folder.glob(f"test_data_set_0/{kind}_*.pb"), key=lambda f: int(f.stem.split("_")[1]))
        ports = {"input": _ports(model), "output": model.graph.output}[kind]
        if len(files) != len(ports) or any(not port.type.HasField("tensor_type") for port in ports):
            return model, None
        data.append([TensorProto.FromString(file.read_bytes()) for file in files])
    return model, data


def _ports(model: ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are not initializers."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [port for port in model.graph.input if port.name not in constants]


def _array(value) -> np.ndarray | None:
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    if isinstance(value, np.ndarray | np.generic) and np.asarray(value).dtype.kind in "fiubc":
        return np.asarray(value)
    return None
