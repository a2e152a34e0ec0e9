"""Functions: those of the model itself, and the bodies that ONNX gives for operators made of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import onnx.defs
import onnx.helper
from onnx import AttributeProto, FunctionProto, NodeProto, TypeProto
from xdsl.ir import SSAValue

from sparsec.errors import InvalidModel
from sparsec.frontend.onnx.node import Node, Sizes, Value
from sparsec.frontend.onnx.registry import HANDLERS
from sparsec.frontend.onnx.schema import NEWEST
from sparsec.ir import type_of

if TYPE_CHECKING:
    from sparsec.frontend.onnx.graph import Scope


def key(function: FunctionProto) -> tuple[str, str, str]:
    """How nodes call a function: domain, operator, overload."""
    return function.domain, function.name, function.overload


def bind_attributes(proto: NodeProto, outer: Mapping[str, AttributeProto]) -> dict[str, AttributeProto]:
    """A node's attributes; those that refer to an attribute of the function around it are taken from `outer`."""
    bound: dict[str, AttributeProto] = {}
    for attribute in proto.attribute:
        if not attribute.ref_attr_name:
            bound[attribute.name] = attribute
        elif attribute.ref_attr_name in outer:
            bound[attribute.name] = outer[attribute.ref_attr_name]
    return bound


def inline(node: Node, function: FunctionProto, scope: Scope) -> list[Value | None]:
    """Import a function's body in place of a node that calls it."""
    if len(node.inputs) > len(function.input):
        raise InvalidModel(f"has {len(node.inputs)} inputs, the function {function.name!r} takes {len(function.input)}")
    attributes = {attribute.name: attribute for attribute in function.attribute_proto} | dict(node.attributes)
    opsets = {"": NEWEST, **scope.opsets, **opsets_of(function.opset_import)}
    body = scope.body(opsets, f"{node.name}/", attributes)
    for formal, value in zip(function.input, node.inputs, strict=False):
        if value is not None:
            body.values[formal] = value
    nodes = _without_missing(function, body)
    node.importer.nodes(nodes, body)
    wanted = zip(function.output, node.proto.output, strict=False)
    return [node.importer.result(formal, body) if actual else None for formal, actual in wanted]


def _without_missing(function: FunctionProto, body: Scope) -> list[NodeProto]:
    """The body's nodes, with the names of optional inputs that the caller left out made empty."""
    missing = {formal for formal in function.input if formal not in body.values}
    nodes: list[NodeProto] = []
    for node in function.node:
        if missing.intersection(node.input):
            copy = NodeProto()
            copy.CopyFrom(node)
            del copy.input[:]
            copy.input.extend("" if name in missing else name for name in node.input)
            node = copy
        nodes.append(node)
    return nodes


def schema_body(node: Node, domain: str) -> FunctionProto | None:
    """The body that ONNX defines for an operator without a handler, None where it has none."""
    try:
        schema = onnx.defs.get_schema(node.op, node.opset, domain)
    except onnx.defs.SchemaError:
        return None
    text = _body_text(node, schema)
    if text is None:
        return None
    function = FunctionProto()
    function.ParseFromString(text)
    defaults = [a.default_value for a in schema.attributes.values() if a.default_value.type]
    function.attribute_proto.extend(defaults)
    return function


def _body_text(node: Node, schema: Any) -> bytes | None:
    """The serialised FunctionProto. `schema` is an onnx.defs.OpSchema, whose stubs lack these members."""
    usable = [version for version in schema.function_opset_versions if version <= node.opset]
    if usable:
        return schema.get_function_with_opset_version(max(usable))
    usable = [version for version in schema.context_dependent_function_opset_versions if version <= node.opset]
    types = [_type_proto(value) for value in node.inputs]
    if not usable or None in types:
        return None
    proto = NodeProto()
    proto.CopyFrom(node.proto)
    del proto.attribute[:]
    proto.attribute.extend(node.attributes.values())
    serialized = [type_.SerializeToString() for type_ in types if type_ is not None]
    return schema.get_context_dependent_function_with_opset_version(max(usable), proto.SerializeToString(), serialized)


def _type_proto(value: Value | None) -> TypeProto | None:
    if value is None:
        return TypeProto()
    if isinstance(value, Sizes):
        return onnx.helper.make_tensor_type_proto(onnx.TensorProto.INT64, value.dims.shape)
    if not isinstance(value, SSAValue):
        return None
    type_ = type_of(value)
    element = onnx.helper.np_dtype_to_tensor_dtype(type_.dtype)
    return onnx.helper.make_tensor_type_proto(element, [d if isinstance(d, int) else str(d) for d in type_.shape])


def advice(node: Node, domain: str) -> str:
    """What the user of an unknown operator may do."""
    if domain == "com.microsoft.nchwc":
        return "(onnxruntime laid its weights out for one CPU; save the model with ORT_ENABLE_EXTENDED instead of ALL)"
    if domain not in ("", "com.microsoft"):
        return f"in the domain {domain!r} (give it as a model-local function, or export it as standard operators)"
    if reason := _REASONS.get(node.op):
        return f"({reason})"
    close = get_close_matches(node.op, [name for at, name in HANDLERS if at == domain], 1, 0.7)
    if close and not onnx.defs.has(node.op, domain):
        return f"(did the exporter mean {close[0]!r}?)"
    return "(export the model with standard float operators)"


_DYNAMIC = "the shape of its result depends on data; cut the model before it and do this step in the application"
_QUANTISED = "quantised models are not compiled yet; compile the float model"
_REASONS: Mapping[str, str] = {
    "NonMaxSuppression": _DYNAMIC,
    "NonZero": _DYNAMIC,
    "Unique": _DYNAMIC,
    "Compress": _DYNAMIC,
    "QuantizeLinear": _QUANTISED,
    "DequantizeLinear": _QUANTISED,
    "DynamicQuantizeLinear": _QUANTISED,
    "QLinearConv": _QUANTISED,
    "QLinearMatMul": _QUANTISED,
    "ConvInteger": _QUANTISED,
    "MatMulInteger": _QUANTISED,
}


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def opsets_of(imports: Sequence[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """The opset of each domain that a model imports; the default domain may be called `ai.onnx`."""
    return {_domain(entry.domain): entry.version for entry in imports}
