"""Checks of single nodes against ONNX's own definitions of the operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import onnx.defs
from onnx import AttributeProto, NodeProto

from sparsec.errors import InvalidModel
from sparsec.frontend.onnx.contrib import SHAPES
from sparsec.frontend.onnx.registry import MICROSOFT

_ONNX_NAMES = {"float32": "tensor(float)", "float64": "tensor(double)"}
OLDEST, NEWEST = 9, 24  # the opsets whose definitions the handlers follow


@dataclass(frozen=True)
class Definition:
    """What a node of an operator may look like. `since` is the opset that introduced this definition."""

    since: int
    inputs: tuple[int, int]
    outputs: tuple[int, int]
    # Per formal input a type variable ("" for none), and its values; nothing where that is not known.
    types: tuple[tuple[str, frozenset[str]], ...]
    attributes: Mapping[str, tuple[int, bool]]  # name → type, required


@cache
def definition(op: str, domain: str, version: int) -> Definition | None:
    """ONNX's or onnxruntime's definition of an operator at an opset, None where there is none."""
    if domain == MICROSOFT and op in SHAPES:
        shape = SHAPES[op]
        return Definition(1, shape.inputs, shape.outputs, (), shape.typed())
    try:
        schema = onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return None
    if schema.deprecated:
        return None
    attributes = {name: (int(getattr(a.type, "value", 0)), bool(a.required)) for name, a in schema.attributes.items()}
    outputs = (schema.min_output, schema.max_output)
    types = tuple((f.type_str if f.is_homogeneous else "", frozenset(f.types)) for f in schema.inputs)
    return Definition(schema.since_version, (schema.min_input, schema.max_input), outputs, types, attributes)


def is_known_use(node: NodeProto, domain: str, version: int) -> bool:
    """Whether a node means the same under the definition of an opset between OLDEST and NEWEST.

    It does where it uses no attribute, input or output that this definition lacks: other opsets have added element
    types and options. Operators that came after NEWEST are known by the bodies that ONNX gives them.
    """
    known = definition(node.op_type, domain, min(max(version, OLDEST), NEWEST))
    found = definition(node.op_type, domain, version)
    if domain or known is None or found is None or known.since == found.since:
        return True
    if len(node.input) > known.inputs[1] or len(node.output) > known.outputs[1]:
        return False
    return all(known.attributes.get(a.name, (0, False))[0] == a.type for a in node.attribute)


def check_node(node: NodeProto, found: Definition) -> None:
    """Raises InvalidModel where the node's inputs, outputs or attributes cannot be those of its operator."""
    for kind, names, (low, high) in (("inputs", node.input, found.inputs), ("outputs", node.output, found.outputs)):
        if not low <= len(names) <= high:
            limits = str(low) if low == high else f"{low} to {high}" if high < 2**31 - 1 else f"at least {low}"
            raise InvalidModel(f"has {len(names)} {kind}, {node.op_type} takes {limits}")
    given: set[str] = set()
    for attribute in node.attribute:
        if attribute.name in given:
            raise InvalidModel(f"has the attribute {attribute.name!r} twice")
        given.add(attribute.name)
        _check_attribute(node.op_type, attribute, found)
    if missing := [name for name, (_, required) in found.attributes.items() if required and name not in given]:
        raise InvalidModel(f"lacks the attribute {missing[0]!r}, which {node.op_type} needs")


def check_types(elements: Sequence[str | None], found: Definition) -> None:
    """Raises InvalidModel where inputs that must have one element type (None: not known) have several."""
    seen: dict[str, str] = {}
    for index, element in enumerate(elements if found.types else ()):
        formal, allowed = found.types[min(index, len(found.types) - 1)]
        if element is None:
            continue
        if _ONNX_NAMES.get(element, f"tensor({element})") not in allowed:
            raise InvalidModel(f"has an input {index} of type {element}, which is not a type that it takes")
        if formal and seen.setdefault(formal, element) != element:
            raise InvalidModel(f"has inputs of the types {seen[formal]} and {element}, which must be the same")


def _check_attribute(op: str, attribute: AttributeProto, found: Definition) -> None:
    if attribute.name not in found.attributes:
        raise InvalidModel(f"has an attribute {attribute.name!r}, which {op} does not have since opset {found.since}")
    expected, _ = found.attributes[attribute.name]
    if attribute.type != expected and not attribute.ref_attr_name:
        names = AttributeProto.AttributeType
        given = names.Name(attribute.type) if attribute.type in names.values() else str(attribute.type)
        raise InvalidModel(f"has the attribute {attribute.name!r} of type {given}, {op} takes {names.Name(expected)}")
