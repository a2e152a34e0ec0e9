"""The passes, in the order in which the compiler runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from xdsl.transforms.dead_code_elimination import dce

from sparsec import debug, invariants
from sparsec.ir import print_module
from sparsec.model import Model
from sparsec.passes.assign_layouts import AssignLayouts
from sparsec.passes.base import Pass
from sparsec.passes.chain_layers import ChainLayers
from sparsec.passes.choose_formats import ChooseFormats, Decision
from sparsec.passes.eliminate_dead_channels import EliminateDeadChannels
from sparsec.passes.fix_dims import FixDims
from sparsec.passes.fold_batch_norm import FoldBatchNorm
from sparsec.passes.fold_constants import FoldConstants
from sparsec.passes.fuse_attention import FuseAttention
from sparsec.passes.fuse_epilogues import FuseEpilogues
from sparsec.passes.fuse_maps import FuseMaps
from sparsec.passes.fuse_norm import FuseNorm
from sparsec.passes.interleave_images import InterleaveImages
from sparsec.passes.legalize_spatial import LegalizeSpatial
from sparsec.passes.loop_images import LoopImages
from sparsec.passes.merge_equal import MergeEqual
from sparsec.passes.merge_linears import MergeLinears
from sparsec.passes.place_parts import PlaceParts
from sparsec.passes.plan_memory import MemoryPlan, PlanMemory
from sparsec.passes.simplify_movement import SimplifyMovement
from sparsec.passes.sparse_attention import SparseAttention
from sparsec.passes.store_pairs import StorePairs
from sparsec.passes.tokens_innermost import TokensInnermost
from sparsec.target import Target

PASSES: tuple[type[Pass], ...] = (
    FixDims,
    FoldConstants,
    SimplifyMovement,
    MergeEqual,
    FuseNorm,
    FoldBatchNorm,
    LegalizeSpatial,
    FuseAttention,
    TokensInnermost,
    FuseMaps,
    FuseEpilogues,
    MergeLinears,
    EliminateDeadChannels,
    SparseAttention,
    InterleaveImages,
    AssignLayouts,
    ChooseFormats,
    StorePairs,
    PlaceParts,
    LoopImages,
    ChainLayers,
    PlanMemory,
)


def pipeline(
    dims: Mapping[str, int] | None = None,
    formats: Literal["auto", "dense", "sparse"] = "auto",
    threads: int = 1,
    chains: bool = True,
    loops: bool = True,
    attention: str = "",
    interleave: bool = True,
) -> list[Pass]:
    """The passes from an imported model to one whose kernels, layouts and memory are decided.

    `dims` fixes the symbols that the model still has; `formats` is as in `ChooseFormats`,
    `threads` as in `LoopImages` and `ChainLayers`, which `loops` and `chains` can leave out, so that each layer is a
    step of its own. `attention` is a file of patterns, as in `SparseAttention`; without `interleave` images of batches
    lie apart.
    """
    clean: list[Pass] = [FoldConstants(), SimplifyMovement(), MergeEqual()]
    return [
        FixDims(dims or {}),
        *clean,
        FuseNorm(),
        FoldBatchNorm(),
        LegalizeSpatial(),
        *clean,
        FuseAttention(),
        TokensInnermost(),
        *clean,
        FuseMaps(),
        FuseEpilogues(),
        MergeLinears(),
        EliminateDeadChannels(),
        *clean,
        SparseAttention(attention),
        *([InterleaveImages()] if interleave else []),
        AssignLayouts(),
        ChooseFormats(formats),
        StorePairs(),
        PlaceParts(),
        *([LoopImages(threads)] if loops else []),
        *([ChainLayers(threads)] if chains else []),
        PlanMemory(),
    ]


def recognise_attention(attention: str) -> list[Pass]:
    """The passes that need no target, up to the patterns of a file: what a model with them means."""
    clean: list[Pass] = [FoldConstants(), SimplifyMovement(), MergeEqual()]
    return [FixDims({}), *clean, FuseNorm(), *clean, FuseAttention(), *clean, SparseAttention(attention)]


@dataclass
class Passed:
    """What the passes found: why each layer got its kernel, and where values live once memory is planned."""

    decisions: list[Decision] = field(default_factory=list)
    memory: MemoryPlan = field(default_factory=lambda: MemoryPlan({}, 0, 0))


def run_pipeline(model: Model, passes: Sequence[Pass], target: Target | None = None) -> Passed:
    """Run `passes` in order on `model`, in place. After each, dead ops and weights go, and invariants are checked."""
    if target is not None:
        target.ranges = model.ranges
    passed = Passed()
    done: list[str] = []
    verified: list[tuple] = []

    def text() -> str:
        return print_module(model.module)

    debug.dump(0, "import", text)
    for index, step in enumerate(passes, start=1):
        done.append(step.name)
        with debug.stage(step.name, text):
            found = step.apply(model, target)
            dce(model.module)
            model.weights.drop_unused(model.module)
            structure = invariants.structure(model)
            invariants.verify(model, done, changed=structure != verified)
            verified = structure
        debug.dump(index, step.name, text)
        match found:
            case MemoryPlan():
                passed.memory = found
            case list():
                passed.decisions += found
    return passed
