"""The walk over an ONNX graph: every node becomes ops of the tensor IR, or a folded constant, or a problem."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from sparsec.errors import InvalidModel, SparsecError, UnsupportedModel, UsageError
from sparsec.frontend.onnx import functions, schema
from sparsec.frontend.onnx.limits import MAX_DEPTH, MAX_FOLDED_BYTES, check_bytes
from sparsec.frontend.onnx.node import Node, Sizes, Unknown, Value
from sparsec.frontend.onnx.ops import HANDLERS
from sparsec.frontend.onnx.ports import declared_type
from sparsec.frontend.onnx.problems import Problem
from sparsec.frontend.onnx.registry import MICROSOFT
from sparsec.frontend.onnx.sizes import as_tensor, fold_sizes
from sparsec.frontend.onnx.structure import node_label, ordered
from sparsec.frontend.onnx.tensors import TensorReader
from sparsec.interpreter import evaluate_op
from sparsec.ir import TensorType, WeightOp, type_of
from sparsec.ir.dims import Sym, symbols
from sparsec.ir.ops import NODE
from sparsec.ir.shapes import format_shape
from sparsec.ir.types import element_of
from sparsec.weights import WeightStore

DEDUPLICATED_BYTES = 2**16  # hashing larger constants costs more than their copies


class Scope:
    """The names that nodes see: those of a graph, and of the graphs around it; a function's body starts afresh."""

    def __init__(self, opsets: Mapping[str, int], outer: Scope | None = None, prefix: str = "", depth: int = 0):
        self.values: dict[str, Value] = {}
        self.outer = outer
        self.opsets = opsets
        self.prefix = prefix
        self.depth = depth
        self.attributes: Mapping[str, AttributeProto] = outer.attributes if outer else {}
        self.declared: dict[str, TensorType] = {}

    def find(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        return None

    def inner(self, prefix: str) -> Scope:
        """The scope of a subgraph."""
        return Scope(self.opsets, self, prefix, _deeper(self.depth))

    def body(self, opsets: Mapping[str, int], prefix: str, attributes: Mapping[str, AttributeProto]) -> Scope:
        """The scope of a function's body."""
        scope = Scope(opsets, None, prefix, _deeper(self.depth))
        scope.attributes = attributes
        return scope


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise InvalidModel(f"contains subgraphs or functions nested more than {MAX_DEPTH} deep")
    return depth + 1


class Importer:
    """Builds the body of `main` in `block`. Problems are collected in `problems`, not raised."""

    def __init__(self, model: ModelProto, reader: TensorReader):
        self.reader = reader
        self.block = Block()
        self.weights = WeightStore()
        self.problems: list[Problem] = []
        self.constants: dict[SSAValue, np.ndarray] = {}
        self.functions = {functions.key(function): function for function in model.functions}
        self._keys: dict[str, int] = {}
        self._known: dict[tuple, SSAValue] = {}

    # ---- graphs

    def graph(self, graph: GraphProto, scope: Scope) -> list[Value]:
        """Import a graph whose inputs are already in `scope`; returns its outputs."""
        self._read_initializers(graph, scope)
        self._read_declarations(graph, scope)
        self.nodes(graph.node, scope)
        return [self.result(output.name, scope) for output in graph.output]

    def nodes(self, nodes: Sequence[NodeProto], scope: Scope) -> None:
        for index in ordered(nodes, scope.values, lambda name: scope.find(name) is not None):
            self.node(nodes[index], scope.prefix + node_label(nodes[index], index), scope)

    def result(self, name: str, scope: Scope) -> Value:
        """An output of a graph or function."""
        value = scope.find(name)
        if value is None:
            raise InvalidModel(f"the output {name!r} is not defined by any node")
        return value

    def _read_initializers(self, graph: GraphProto, scope: Scope) -> None:
        inputs = {port.name for port in graph.input}
        for tensor in graph.initializer:
            what = f"initializer {tensor.name!r}"
            self._define_constant(tensor.name, what, inputs, scope, lambda t=tensor, w=what: self.reader.array(t, w))
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            what = f"sparse initializer {name!r}"
            self._define_constant(name, what, inputs, scope, lambda s=sparse, w=what: self.reader.sparse_array(s, w))

    def _define_constant(self, name: str, what: str, inputs: set[str], scope: Scope, read) -> None:
        if name in scope.values and not (name in inputs and scope.outer is not None):
            raise InvalidModel(f"the value {name!r} is defined twice")
        try:
            scope.values[name] = self.constant(read(), name)
        except SparsecError as error:
            self.problems.append(Problem("", "", "", 0, (), str(error), type(error)))
            scope.values[name] = Unknown()

    def _read_declarations(self, graph: GraphProto, scope: Scope) -> None:
        for port in graph.value_info:
            try:
                scope.declared[port.name] = declared_type(port)
            except SparsecError:
                continue

    # ---- nodes

    def node(self, proto: NodeProto, name: str, scope: Scope) -> None:
        """Import one node into `scope`; a problem leaves its outputs unknown."""
        inputs: list[Value | None] = [scope.find(given) if given else None for given in proto.input]
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        opset = scope.opsets.get(domain, 1 if domain == MICROSOFT else 0)
        try:
            results = self._import(proto, domain, name, opset, inputs, scope)
        except (SparsecError, VerifyException, ValueError, *_FILE_FAULTS) as error:
            shapes = tuple(describe(value, self.constants) for value in inputs)
            self.problems.append(Problem(name, proto.op_type, domain, opset, shapes, *_diagnose(error, inputs)))
            results = [self._placeholder(output, scope) for output in proto.output]
        for output, value in zip(proto.output, results, strict=False):
            if output and value is not None:
                scope.values[output] = value
        for output in proto.output:
            if output:
                scope.values.setdefault(output, Unknown())

    def _import(
        self, proto: NodeProto, domain: str, name: str, opset: int, inputs: list[Value | None], scope: Scope
    ) -> Sequence[Value | None]:
        local = self.functions.get((domain, proto.op_type, proto.overload))
        if local is None:
            _check_definition(proto, domain, opset, inputs)
        attributes = functions.bind_attributes(proto, scope.attributes)
        node = Node(self, proto, name, opset, inputs, attributes, scope)
        if local is not None:
            return functions.inline(node, local, scope)
        handler = HANDLERS.get((domain, proto.op_type))
        body = None if handler else functions.schema_body(node, domain)
        if handler is None and body is None:
            raise UnsupportedModel(f"is not supported: no operator {proto.op_type!r} {functions.advice(node, domain)}")
        if any(isinstance(value, Unknown) for value in inputs):
            return [self._placeholder(output, scope) for output in proto.output]
        if any(isinstance(value, Sizes) for value in inputs):
            folded = fold_sizes(node)
            if folded is not None:
                return folded
        if handler is None:
            assert body is not None
            return functions.inline(node, body, scope)
        results = handler(node)
        return results if isinstance(results, list | tuple) else [results]  # pyright: ignore[reportReturnType]

    def _placeholder(self, output: str, scope: Scope) -> Value:
        """A value of the type that the file declares, so that the nodes after a problem are checked too."""
        type_ = scope.declared.get(output)
        if type_ is None or type_.rank < 2 or any(isinstance(dim, Sym) for dim in type_.shape):
            return Unknown()
        return Block(arg_types=[type_]).args[0]

    # ---- ops

    def emit(self, op: Operation, name: str) -> list[SSAValue]:
        """Append `op`, marked as coming from node `name`; or fold it, where all its operands are constants."""
        op.attributes[NODE] = StringAttr(name)
        op.verify()
        for result in op.results:
            check_bytes(type_of(result).shape, type_of(result).dtype.itemsize, f"a result of {name}")
        if op.operands and all(operand in self.constants for operand in op.operands) and self._worth_folding(op):
            operands = [self.constants[operand] for operand in op.operands]
            return [self.constant(array, name) for array in evaluate_op(op, operands, self.weights)]
        for value in (*op.operands, *op.results):
            if type_of(value).dtype.name in _NOT_COMPUTED:
                raise UnsupportedModel(f"computes with {type_of(value).dtype}; convert the model to float32")
        for operand in op.operands:
            self.materialize(operand)
        self.block.add_op(op)
        return list(op.results)

    def materialize(self, value: SSAValue) -> None:
        """Put the `sp.weight` of a constant into the block, where it is not there yet."""
        weight = value.owner
        if isinstance(weight, WeightOp) and weight.parent is None:
            self.weights[weight.key] = self.constants[value]
            self.block.add_op(weight)

    def computed_sizes(self, node: Node, sizes: Sizes) -> SSAValue:
        """Sizes as a tensor that the run computes."""
        return as_tensor(node, sizes)

    def constant(self, array: np.ndarray, name: str) -> SSAValue:
        """The value of a constant array, the same one for equal small arrays. `name` is a hint for the store."""
        array = np.asarray(array)
        if array.dtype.byteorder == ">" or array.dtype.name not in _SUPPORTED:
            raise UnsupportedModel(f"{name!r} has elements of type {array.dtype}")
        content = None
        if array.nbytes <= DEDUPLICATED_BYTES:
            content = (array.dtype.name, array.shape, array.tobytes())
            if content in self._known:
                return self._known[content]
        weight = WeightOp(self._key(name), TensorType(array.shape, element_of(array.dtype)))
        self.constants[weight.result] = array
        if content is not None:
            self._known[content] = weight.result
        return weight.result

    def _key(self, name: str) -> str:
        count = self._keys[name] = self._keys.get(name, -1) + 1
        return f"{name}.{count}" if count else name

    def _worth_folding(self, op: Operation) -> bool:
        """Whether the results are of fixed size, and small or no larger than what they are made of."""
        if any(isinstance(dim, Sym) for result in op.results for dim in type_of(result).shape):
            return False
        made = sum(math.prod(type_of(r).static_shape) * type_of(r).dtype.itemsize for r in op.results)
        return made <= max(MAX_FOLDED_BYTES, sum(self.constants[operand].nbytes for operand in op.operands))


_FILE_FAULTS = (ArithmeticError, IndexError, RecursionError, MemoryError)  # what only sizes in a file bring about
_NOT_COMPUTED = ("float64", "float16")  # folded where they are constant
_SUPPORTED = frozenset(("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"))


def _diagnose(error: Exception, inputs: Sequence[Value | None]) -> tuple[str, type[SparsecError], str]:
    """The reason for people, the class, what to do. Shapes that do not fit may do so once their symbols are fixed."""
    reason = str(error) or type(error).__name__
    if isinstance(error, IndexError):
        return f"has an input with too few axes or elements ({reason})", InvalidModel, ""
    if isinstance(error, UnsupportedModel | UsageError):
        return reason, type(error), ""
    shapes = [set(type_of(value).shape) for value in inputs if isinstance(value, SSAValue)]
    differing = set().union(*shapes) - set.intersection(*shapes) if shapes else set()
    names = sorted(set().union(*map(symbols, differing)))
    if names and isinstance(error, ValueError):
        fixing = " ".join(f"--dim {name}=…" for name in names)
        equal = f", or --dim {names[1]}={names[0]} where they are always equal" if len(names) == 2 else ""
        return f"does not fit while {', '.join(names)} may be any size ({reason})", UsageError, f"give {fixing}{equal}"
    return reason, InvalidModel, ""


def _check_definition(proto: NodeProto, domain: str, opset: int, inputs: Sequence[Value | None]) -> None:
    if domain == "" and opset == 0:
        raise InvalidModel("belongs to a domain whose opset the model does not state")
    found = schema.definition(proto.op_type, domain, opset)
    if found is None:
        return
    schema.check_node(proto, found)
    schema.check_types([type_of(v).dtype.name if isinstance(v, SSAValue) else None for v in inputs], found)
    if not schema.is_known_use(proto, domain, opset):
        raise UnsupportedModel(
            f"uses the definition of {proto.op_type} of opset {found.since}; sparsec reads opsets {schema.OLDEST} to "
            f"{schema.NEWEST} (convert the model with onnx.version_converter)"
        )


def describe(value: Value | None, constants: Mapping[SSAValue, np.ndarray]) -> str:
    """The shape and element type of a value, for people."""
    if value is None:
        return "none"
    if isinstance(value, Unknown):
        return "?"
    if isinstance(value, Sizes):
        return f"sizes {format_shape(value.dims.shape)}"
    type_ = type_of(value)
    return f"{'constant ' if value in constants else ''}{format_shape(type_.shape)} {type_.dtype}"
