"""The layers of a model between whose kernels tuning can choose."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation

from sparsec.compiler import import_model, target_of
from sparsec.errors import UsageError
from sparsec.ir import WeightOp, node_name, type_of
from sparsec.ir.ops import KERNEL
from sparsec.model import Model
from sparsec.options import Options
from sparsec.passes import pipeline, run_pipeline
from sparsec.targets.kernels.base import Kernel
from sparsec.targets.kernels.call import Argument, Packed, Sizes
from sparsec.targets.kernels.region import element
from sparsec.targets.kernels.ways import Way
from sparsec.targets.measured import pattern_digest
from sparsec.targets.native import NativeTarget
from sparsec.tune.trial import Activation, Trial

FACTOR, MOST = 2.0, 24  # ways whose predicted time is within this factor of the best, and how many at most


@dataclass
class Layer:
    """Nodes with one set of kernels and equal patterns of non-zeros; `ways` by predicted time, `default` the choice."""

    op: Operation
    ways: dict[str, Way]
    predicted: dict[str, float]
    default: str
    nodes: list[str] = field(default_factory=list)


class Network:
    """A model after all passes, with the layers that have a choice."""

    def __init__(self, path: Path, options: Options) -> None:
        self.target: NativeTarget = target_of(options)
        self.model: Model = import_model(path, options)
        if self.model.ranges:
            name = next(iter(self.model.ranges))
            raise UsageError(f"kernels are measured at fixed sizes: give --dim {name}=N, without a range")
        # Loops and chains are made of kernels that are chosen.
        patterns = str(options.attention or "")
        passes = pipeline({}, options.formats, options.threads, chains=False, loops=False, attention=patterns)
        run_pipeline(self.model, passes, self.target)
        self.layers = self._layers()

    def _layers(self) -> list[Layer]:
        found: dict[tuple, Layer] = {}
        for op in self.model.main.body.block.ops:
            ways = list(self.target.ways(op, self.model.weights))
            if len(ways) < 2:
                continue
            key = ways[0].kernel.symbol, pattern_digest(ways[0].weight)
            if key not in found:
                found[key] = self._layer(op, ways)
            found[key].nodes.append(node_name(op))
        return list(found.values())

    def _layer(self, op: Operation, ways: list[Way]) -> Layer:
        default = op.attributes[KERNEL]
        assert isinstance(default, StringAttr), "formats are chosen"
        predicted = {way.row: way.candidate(self.target).seconds for way in ways}
        ways.sort(key=lambda way: predicted[way.row])
        best: dict[str, str] = {}
        for way in ways:
            best.setdefault(way.kind, way.row)
        kept = {default.data, *best.values()}
        limit = FACTOR * predicted[ways[0].row]
        kept |= {way.row for way in _different(ways, default.data) if predicted[way.row] <= limit}
        chosen = [way for way in ways if way.row in kept][:MOST]
        chosen += [way for way in ways if way.row in (default.data, *best.values()) and way not in chosen]
        return Layer(op, {way.row: way for way in chosen}, predicted, default.data)

    def trial(self, layer: Layer, way: Way) -> Trial:
        """What a measurer needs in order to run `way`."""
        before = layer.op.attributes[KERNEL]
        layer.op.attributes[KERNEL] = StringAttr(way.row)
        try:
            (call,) = self.target.lower(layer.op, self.model.weights)
        finally:
            layer.op.attributes[KERNEL] = before
        return Trial(call.kernel, self.target.isas[0], tuple(self._argument(x) for x in call.arguments))

    def _argument(self, argument: Argument) -> np.ndarray | Activation:
        if isinstance(argument, Packed):
            return argument.build()
        assert not isinstance(argument, Sizes), "tuning is for fixed sizes"
        if isinstance(argument.owner, WeightOp):
            return np.ascontiguousarray(self.model.weights[argument.owner.key])
        nbytes = type_of(argument).nbytes
        assert isinstance(nbytes, int), "sizes are fixed"
        return Activation(element(type_of(argument).element), nbytes)


def _different(ways: list[Way], default: str) -> list[Way]:
    """One way of each group whose kernels differ in their name only; the default where it is among them."""
    found: dict[Any, Way] = {}
    for way in ways:
        same = _nameless(way.kernel)
        if same not in found or way.row == default:
            found[same] = way
    return list(found.values())


def _nameless(kernel: Kernel) -> Kernel:
    names = {each.name for each in fields(kernel)}
    return replace(kernel, row="") if "row" in names else kernel  # type: ignore[call-arg]
