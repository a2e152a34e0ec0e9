"""Convolutions, matrix products and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Region, SSAValue

from sparsec.frontend.onnx.node import Node, dims_of
from sparsec.frontend.onnx.ops.pointwise import ACTIVATIONS
from sparsec.frontend.onnx.ops.windows import need_plane, pads_of, window_of
from sparsec.frontend.onnx.registry import MICROSOFT, operator
from sparsec.ir import ConvOp, ConvTransposeOp, MatmulOp, type_of
from sparsec.ir.scalar import Scalar, region


def epilogue(values: Sequence[SSAValue], function) -> Region:
    """The epilogue region of a contraction of values[0] with the extra operands values[1:]."""
    return region([type_of(value).element for value in values], function)


def _bias(node: Node, index: int, spatial: int) -> dict:
    """The operand and the epilogue that add the bias of a convolution."""
    if not node.has(index):
        return {}
    bias = node.input(index)
    if len(dims_of(bias)) != 1:
        node.invalid(f"has a bias with {len(dims_of(bias))} axes instead of 1")
    bias = node.reshape(bias, (*dims_of(bias), *[1] * spatial))
    return {"extras": [bias], "epilogue": epilogue([node.input(0), bias], lambda acc, b: acc + b)}


def _groups(node: Node) -> int:
    return node.positive("group", [node.integer("group", 1)])[0]


@operator("Conv")
def conv(node: Node):
    x, w = node.input(0), _weight(node)
    node.need_float(x, w)
    window = window_of(node, x, kernel=_kernel(node, w))
    return node.emit(
        ConvOp(x, w, window.strides, window.dilations, window.pads, _groups(node), **_bias(node, 2, window.rank))
    )


def _weight(node: Node) -> SSAValue:
    """The weight of a convolution, for whose values kernels are made. Raises UnsupportedModel where it is computed."""
    weight = node.input(1)
    if not node.is_constant(weight):
        node.unsupported(
            f"has a weight that is computed at run time ({node.proto.input[1]!r})",
            "store it in the model as an initializer, or fold what it is computed from into a constant",
        )
    return weight


def _kernel(node: Node, w: SSAValue) -> list[int]:
    kernel = [node.fixed(dim, "the kernel of a convolution") for dim in dims_of(w)[2:]]
    stated = node.integers("kernel_shape")
    if stated is not None and stated != kernel:
        node.invalid(f"states kernel_shape {stated}, its weight has {kernel}")
    if not kernel:
        node.invalid(f"has a weight of {len(dims_of(w))} axes; it needs at least 3")
    return kernel


@operator("ConvTranspose")
def conv_transpose(node: Node):
    x, w = node.input(0), _weight(node)
    node.need_float(x, w)
    kernel = _kernel(node, w)
    rank = len(kernel)
    need_plane(node, rank)
    if len(dims_of(x)) != rank + 2:
        node.invalid(f"has an input with {len(dims_of(x))} axes for a kernel with {rank}")
    strides = node.positive("strides", node.integers("strides") or [1] * rank)
    dilations = node.positive("dilations", node.integers("dilations") or [1] * rank)
    extra = node.integers("output_padding") or [0] * rank
    if not rank == len(strides) == len(dilations) == len(extra) or min(extra) < 0:
        node.invalid(f"has strides {strides}, dilations {dilations}, output_padding {extra} for {rank} axes")
    pads, extra = _transposed_pads(node, x, kernel, strides, dilations, extra)
    return node.emit(ConvTransposeOp(x, w, strides, dilations, pads, extra, _groups(node), **_bias(node, 2, rank)))


def _transposed_pads(
    node: Node, x: SSAValue, kernel: list[int], strides: list[int], dilations: list[int], extra: list[int]
) -> tuple[list[int], list[int]]:
    """The pads (cropped elements) and output padding; from `output_shape` or SAME where the node has these."""
    rank = len(kernel)
    auto = node.text("auto_pad", "NOTSET")
    target = node.integers("output_shape")
    if target is None and not auto.startswith("SAME"):
        return pads_of(node, rank), extra
    lows, highs = [], []
    for axis in range(rank):
        size = node.fixed(dims_of(x)[2 + axis], "the output_shape of a transposed convolution")
        reach = strides[axis] * (size - 1) + extra[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        wanted = target[axis - rank] if target else size * strides[axis]
        total = reach - wanted
        if total < 0:
            extra = [*extra[:axis], extra[axis] - total, *extra[axis + 1 :]]
            total = 0
        lows.append(total // 2 if auto == "SAME_UPPER" else total - total // 2)
        highs.append(total - lows[-1])
    return [*lows, *highs], extra


@operator("MatMul")
def matmul(node: Node):
    return product(node, node.input(0), node.input(1))


def product(node: Node, a: SSAValue, b: SSAValue, extras: Sequence[SSAValue] = (), function=None) -> SSAValue:
    """numpy.matmul, vectors included."""
    node.need_float(a, b)
    left, right = dims_of(a), dims_of(b)
    if not left or not right:
        node.invalid("multiplies a matrix by a scalar")
    wide_a = node.reshape(a, (1, *left)) if len(left) == 1 else a
    wide_b = node.reshape(b, (*right, 1)) if len(right) == 1 else b
    body = epilogue([a, *extras], function) if function else None
    result = node.emit(MatmulOp(wide_a, wide_b, extras=extras, epilogue=body))
    shape = list(dims_of(result))
    if len(right) == 1:
        shape.pop()
    if len(left) == 1:
        shape.pop(-1 if len(right) == 1 else -2)
    return node.reshape(result, shape)


@operator("Gemm")
def gemm(node: Node):
    a, b = node.input(0), node.input(1)
    node.need_float(a, b)
    if len(dims_of(a)) != 2 or len(dims_of(b)) != 2:
        node.invalid("multiplies tensors that are not matrices")
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    extras = [node.input(2)] if node.has(2) and beta != 0 else []
    if extras and beta != 1:
        extras = [node.map(extras, lambda c: c * beta)]

    def function(acc: Scalar, *added: Scalar) -> Scalar:
        scaled = acc if alpha == 1 else acc * alpha
        return scaled + added[0] if added else scaled

    transposed = bool(node.integer("transA")), bool(node.integer("transB"))
    return node.emit(MatmulOp(a, b, *transposed, extras=extras, epilogue=epilogue([a, *extras], function)))


@operator("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(node: Node):
    a, b = _with_batch_first(node, 0, "transBatchA"), _with_batch_first(node, 1, "transBatchB")
    node.need_float(a, b)
    alpha = node.real("alpha", 1.0)
    transposed = bool(node.integer("transA")), bool(node.integer("transB"))
    if min(len(dims_of(a)), len(dims_of(b))) < 2:
        result = product(node, a, b)  # numpy's rule for vectors, which nothing is to transpose of
        return result if alpha == 1 else node.map([result], lambda x: x * alpha)
    body = None if alpha == 1 else epilogue([a], lambda acc: acc * alpha)
    return node.emit(MatmulOp(a, b, *transposed, epilogue=body))


def _with_batch_first(node: Node, index: int, name: str) -> SSAValue:
    """[rows, *batch, columns] as [*batch, rows, columns], where the attribute `name` says that an input comes so."""
    x = node.input(index)
    rank = len(dims_of(x))
    return node.transpose(x, [*range(1, rank - 1), 0, rank - 1]) if node.integer(name) and rank > 2 else x


@operator("FusedGemm", domain=MICROSOFT)
def fused_gemm(node: Node):
    names = [name for name in ("activation_alpha", "activation_beta", "activation_gamma") if name in node.attributes]
    return activate(node, gemm(node), [node.real(name) for name in names])


@operator("FusedConv", domain=MICROSOFT)
def fused_conv(node: Node):
    """A convolution, plus input 3 where it is given, then the activation."""
    result = conv(node)
    total = node.map([result, node.input(3)], lambda x, z: x + z) if node.has(3) else result
    return activate(node, total, node.reals("activation_params") or [])


def activate(node: Node, x: SSAValue, given: Sequence[float]) -> SSAValue:
    """The function that the attribute `activation` names, with its parameters in their order."""
    name = node.text("activation")
    if not name:
        return x
    if name not in ACTIVATIONS:
        node.unsupported(f"has the activation {name!r}; {', '.join(ACTIVATIONS)} are supported")
    defaults, function = ACTIVATIONS[name]
    if len(given) > len(defaults):
        node.invalid(f"has {len(given)} parameters for {name}, which takes {len(defaults)}")
    parameters = [*given, *defaults[len(given) :]]
    return node.map([x], lambda x: function(x, *parameters))
