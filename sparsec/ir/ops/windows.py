"""Pooling and interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import (
    ArrayAttr,
    BoolAttr,
    DenseArrayBase,
    FloatAttr,
    StringAttr,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure

from sparsec.ir import shapes
from sparsec.ir.dims import Dim
from sparsec.ir.ops.base import (
    SpOp,
    boolean,
    check_choice,
    ints,
    real,
    type_of,
    values,
)
from sparsec.ir.types import TensorType


@irdl_op_definition
class PoolOp(SpOp):
    """Pooling over windows of [N, C, *spatial]. kind: max, average (`count_pads` decides the divisor at the borders).

    Windows may reach `overhang` elements per axis beyond the high pads (ONNX's ceil_mode); those never count.
    """

    name = "sp.pool"
    input = operand_def(TensorType)
    kind = prop_def(StringAttr)
    kernel_shape = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    dilations = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    overhang = prop_def(DenseArrayBase)
    count_pads = prop_def(BoolAttr)
    result = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self,
        input: SSAValue,
        kind: str,
        kernel_shape: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        pads: Sequence[int],
        overhang: Sequence[int] | None = None,
        count_pads: bool = False,
    ):
        x = type_of(input)
        overhang = [0] * len(kernel_shape) if overhang is None else overhang
        properties = {
            "kind": StringAttr(kind),
            "kernel_shape": ints(kernel_shape),
            "strides": ints(strides),
            "dilations": ints(dilations),
            "pads": ints(pads),
            "overhang": ints(overhang),
            "count_pads": boolean(count_pads),
        }
        spatial = shapes.pool(x.shape[2:], kernel_shape, strides, dilations, _reach(pads, overhang))
        super().__init__(
            operands=[input], properties=properties, result_types=[TensorType((*x.shape[:2], *spatial), x.element)]
        )

    def infer(self) -> list[TensorType]:
        check_choice("pooling", self.kind, ("max", "average"))
        x = type_of(self.input)
        pads = _reach(values(self.pads), values(self.overhang))
        geometry = (values(self.kernel_shape), values(self.strides), values(self.dilations))
        return [TensorType((*x.shape[:2], *shapes.pool(x.shape[2:], *geometry, pads)), x.element)]


@irdl_op_definition
class ResizeOp(SpOp):
    """Interpolation, all ranks, one scale per axis (1 keeps the axis), as ONNX's Resize.

    mode: nearest, linear, cubic. coordinates: half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners,
    asymmetric, tf_crop_and_resize (with `roi`, 2·rank reals). nearest_mode: round_prefer_floor, round_prefer_ceil,
    floor, ceil.
    """

    name = "sp.resize"
    input = operand_def(TensorType)
    scales = prop_def(ArrayAttr[FloatAttr])
    mode = prop_def(StringAttr)
    coordinates = prop_def(StringAttr)
    nearest_mode = prop_def(StringAttr)
    cubic_coeff = prop_def(FloatAttr)
    exclude_outside = prop_def(BoolAttr)
    extrapolation = prop_def(FloatAttr)
    antialias = prop_def(BoolAttr)
    roi = opt_prop_def(ArrayAttr[FloatAttr])
    result = result_def(TensorType)
    traits = traits_def(Pure())

    COORDINATES: ClassVar[tuple[str, ...]] = (
        "half_pixel",
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_crop_and_resize",
    )

    def __init__(
        self,
        input: SSAValue,
        shape: Sequence[Dim],
        scales: Sequence[float],
        mode: str = "nearest",
        coordinates: str = "half_pixel",
        nearest_mode: str = "round_prefer_floor",
        cubic_coeff: float = -0.75,
        exclude_outside: bool = False,
        extrapolation: float = 0.0,
        antialias: bool = False,
        roi: Sequence[float] | None = None,
    ):
        properties: dict[str, Attribute] = {
            "scales": ArrayAttr([real(scale) for scale in scales]),
            "mode": StringAttr(mode),
            "coordinates": StringAttr(coordinates),
            "nearest_mode": StringAttr(nearest_mode),
            "cubic_coeff": real(cubic_coeff),
            "exclude_outside": boolean(exclude_outside),
            "extrapolation": real(extrapolation),
            "antialias": boolean(antialias),
        }
        if roi is not None:
            properties["roi"] = ArrayAttr([real(value) for value in roi])
        super().__init__(
            operands=[input], properties=properties, result_types=[TensorType(shape, type_of(input).element)]
        )

    def infer(self) -> list[TensorType]:
        check_choice("interpolation", self.mode, ("nearest", "linear", "cubic"))
        check_choice("coordinate transformation", self.coordinates, self.COORDINATES)
        check_choice("rounding", self.nearest_mode, ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
        rank = type_of(self.input).rank
        if (len(self.scales), type_of(self.result).rank) != (rank, rank) or any(s.value.data <= 0 for s in self.scales):
            raise ValueError(f"an input of {rank} axes needs as many positive scales and sizes")
        return [TensorType(type_of(self.result).shape, type_of(self.input).element)]


def _reach(pads: Sequence[int], overhang: Sequence[int]) -> tuple[int, ...]:
    rank = len(overhang)
    return *pads[:rank], *(high + extra for high, extra in zip(pads[rank:], overhang, strict=True))
