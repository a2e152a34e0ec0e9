"""Dense attention of encoders' sizes against onnxruntime's fused MultiHeadAttention (contributed), and FMA's peak.

    python benchmarks/dense_attention.py [--isa avx512] [--rounds 15]

One thread; pin it (taskset -c 1). Ours is the kernel on values in panels, as it runs in a model; theirs is a model of
one node with keys that are all alive. Both alternate; the smallest CPU time right after a run of itself counts.

The limit is 4 · B · H · S² · D FLOPs at the peak, and for each score a power of 14 instructions on the same two ports:
with heads of 64, 0.90 of the peak, with heads of 32, 0.82.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from machine import peak
from peers import Contender, warm
from xdsl.dialects.builtin import f32
from xdsl.utils.test_value import create_ssa_value

from sparsec.interpreter import logical, physical
from sparsec.ir import AttentionOp, TensorType, type_of
from sparsec.ir.dims import fixed
from sparsec.ir.scalar import region
from sparsec.targets.isa import ISAS
from sparsec.targets.jit import Jit, aligned, aligned_copy
from sparsec.targets.kernels import attention
from sparsec.targets.native import NativeTarget
from sparsec.targets.x86 import host
from sparsec.weights import WeightStore

# name: sequences, heads, tokens, features of a head
CASES = {
    "BERT-base 128": (1, 12, 128, 64),
    "BERT-base 32": (1, 12, 32, 64),
    "BERT-base 512": (1, 12, 512, 64),
    "MiniLM 128": (1, 12, 128, 32),
    "ViT-B/16": (1, 12, 197, 64),
    "BERT-base 128, batch 8": (8, 12, 128, 64),
    "ViT-B/16, batch 8": (8, 12, 197, 64),
}


class Case:
    """Queries, keys and values [B, S, H · D] of one size."""

    def __init__(self, batch: int, heads: int, tokens: int, depth: int):
        self.batch, self.heads, self.tokens, self.depth = batch, heads, tokens, depth
        random = np.random.default_rng(0)
        shape = batch, tokens, heads * depth
        self.arrays = [random.standard_normal(shape).astype(np.float32) for _ in range(3)]

    @property
    def flops(self) -> int:
        """Of both products."""
        return 4 * self.batch * self.heads * self.tokens**2 * self.depth

    def ours(self, target: NativeTarget) -> tuple[Callable[[], object], Callable[[], np.ndarray]]:
        """The kernel, and its result in their shape."""
        image = TensorType((1, self.heads * self.depth, self.batch * self.tokens, 1), f32)
        image = image.with_encoding(target.panel(self.batch * self.tokens, 1))
        values = [create_ssa_value(image) for _ in range(3)]
        op = AttentionOp(*values, self.heads, self.batch, score=region([f32], lambda x: x * self.depth**-0.5))
        op.result._type = image
        (call,) = attention.lower(op, WeightStore())
        rows = [array.reshape(-1, image.static_shape[1]).T[None, :, :, None] for array in self.arrays]
        operands = [aligned_copy(physical(np.ascontiguousarray(x), image)) for x in rows]
        operands.append(aligned(fixed(type_of(op.result).nbytes)).view(np.float32))
        run = Jit([call.kernel], target.isas[0]).prepared(call.kernel, operands)
        chunks = fixed(call.kernel.chunks)
        return lambda: run(0, chunks), lambda: logical(operands[-1], image)[0, :, :, 0].T.reshape(self.arrays[0].shape)

    def theirs(self) -> Callable[[], np.ndarray]:
        """A session over a model of one node."""
        ports = [onnx.helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, self.arrays[0].shape) for x in "qkvy"]
        node = onnx.helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["y"], domain="com.microsoft")
        node.attribute.append(onnx.helper.make_attribute("num_heads", self.heads))
        opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
        graph = onnx.helper.make_graph([node], "attention", ports[:3], ports[3:])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        fed = dict(zip("qkv", self.arrays, strict=True))
        return lambda: session.run(None, fed)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", choices=[name for name, isa in ISAS.items() if isa.x86])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    target = host("host", "", (), "f32")
    if arguments.isa:
        target.isas = (ISAS[arguments.isa],)
    top = peak(target.isas[0])
    print(f"{target.isas[0].name}, peak {top / 1e9:.0f} GFLOP/s")
    print(f"{'':24}{'us':>9}{'of peak':>9}{'onnxruntime':>13}{'gain':>7}")
    for name, sizes in CASES.items():
        case = Case(*sizes)
        (ours, result), theirs = case.ours(target), case.theirs()
        ours()
        np.testing.assert_allclose(result(), theirs(), rtol=1e-3, atol=1e-5)
        fast, slow = warm([Contender("ours", ours, 1, 1.0), Contender("theirs", theirs, 1, 1.0)], arguments.rounds)
        print(
            f"{name:24}{fast * 1e6:9.0f}{case.flops / fast / top:9.0%}{slow * 1e6:13.0f}{slow / fast:7.2f}", flush=True
        )


if __name__ == "__main__":
    main()
