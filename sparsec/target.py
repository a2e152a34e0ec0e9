"""What a target offers to passes and to the compiler, and the plan that it turns into an artifact.

Passes and targets never import one another: a pass is given a `Target` and asks it for `Candidate`s; the compiler
collects the chosen kernels in a `Plan`, which the target's back end links into an artifact.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sparsec.chains import Chain, Walk

if TYPE_CHECKING:
    from xdsl.ir import Operation, SSAValue

    from sparsec.formats import Format
    from sparsec.ir import PanelAttr
    from sparsec.ir.dims import Dim
    from sparsec.weights import WeightStore


@dataclass(frozen=True)
class Buffer:
    """Where a kernel argument lives. `offset` is in bytes inside the arena or the weights, else 0.

    `index` numbers the inputs, the outputs, the loops, the members of the chain whose windows these are, or, with
    symbols, the places in the arena, which a run tells, and `offset` is from there on. Of a value
    that is `local` to a loop, memory holds the images of one round, which are `image_bytes` apart. `sizes` are those of
    the symbols `names` in a run, each an int64.
    """

    space: Literal["input", "output", "arena", "weights", "window", "local", "sizes"]
    index: int
    offset: int
    nbytes: int
    image_bytes: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loop:
    """Rounds through steps, each for `size` of `images` images (the last for what is left).

    What the steps hand on to each other takes `nbytes` in the scratch of the thread.
    """

    images: Dim
    size: int
    nbytes: int

    @property
    def rounds(self) -> Dim:
        return (self.images + (self.size - 1)) // self.size


@dataclass(frozen=True)
class Step:
    """One call of a kernel. `symbol` has no ISA suffix; the kernel runs over [0, chunks) in pieces on any thread.

    Chunks of a group, `group` that follow one another, share what a call prepares: pieces are whole groups if they can.
    The calls of a chain are its `members`: chunks are then the last one's units, arguments those of all but windows.
    The steps of a loop are its `members` as well, its rounds the chunks.
    """

    name: str
    symbol: str
    arguments: tuple[Buffer, ...]
    chunks: Dim
    scratch: Dim
    group: int = 1
    chain: Chain | None = None
    loop: Loop | None = None
    members: tuple[Step, ...] = ()

    @property
    def calls(self) -> tuple[Step, ...]:
        """The calls of kernels: the step itself, or those of its members."""
        return tuple(call for member in self.members for call in member.calls) or (self,)

    @property
    def layers(self) -> tuple[Step, ...]:
        """The steps of a loop, or the step itself."""
        return self.members if self.loop else (self,)


@dataclass(frozen=True)
class Port:
    """An input or output of an artifact: row-major, `shape` in elements, `dtype` a NumPy name.

    Sizes that only a run tells are expressions of symbols.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape in ints. Raises ValueError where a size is a symbol's."""
        sizes = tuple(dim for dim in self.shape if isinstance(dim, int))
        if len(sizes) < len(self.shape):
            raise ValueError(f"the sizes of {self.name} ({self}) are not fixed")
        return sizes

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor, which the caller owns. Raises ValueError where a size is a symbol's."""
        return math.prod(self.static_shape) * np.dtype(self.dtype).itemsize

    def at(self, sizes: Mapping[str, int]) -> Port:
        """The port in a run with these sizes of the symbols."""
        if all(isinstance(dim, int) for dim in self.shape):
            return self
        from sparsec.ir.dims import evaluate  # it brings xDSL, which takes half a second

        return replace(self, shape=tuple(evaluate(dim, sizes) for dim in self.shape))

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Corner:
    """Sizes, one for each symbol of a plan in order, and the memory of runs whose sizes are at most these.

    `places` are the offsets in the arena, by the `index` of buffers; `scratch_bytes` are those of one thread.
    """

    sizes: tuple[int, ...]
    arena_bytes: int
    scratch_bytes: int
    places: tuple[int, ...]


@dataclass
class Plan:
    """Everything that the glue code of an artifact needs, in the order of execution.

    With symbols, `ranges` holds theirs, sorted by name, and `corners` the memory of runs, the smallest first; the bytes
    of the arena are those of the last one.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    steps: list[Step]
    arena_bytes: int
    threads: int
    manifest: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    corners: tuple[Corner, ...] = ()

    @property
    def layers(self) -> list[Step]:
        """The steps, those of loops in place of these."""
        return [layer for step in self.steps for layer in step.layers]

    @property
    def scratch_bytes(self) -> int:
        """Scratch of one thread: the largest that any step asks for."""
        if self.corners:
            return max(corner.scratch_bytes for corner in self.corners)
        return max((step.scratch for step in self.steps if isinstance(step.scratch, int)), default=0)


@dataclass(frozen=True)
class Candidate:
    """One way to run an op: a row of the kernel table with the weight format it reads and its time.

    `seconds` is the time on one core, predicted or `measured`. `reason` says why it is cheap or dear, for `explain`.
    """

    row: str
    format: Format | None
    seconds: float
    reason: str = ""
    measured: bool = False


@dataclass(frozen=True)
class Cache:
    """What a core keeps close: bytes, and the seconds that a byte costs which comes from beyond or goes there."""

    nbytes: int
    far_byte: float


class Target(ABC):
    """A device for which code is generated. The text form is `name[:cpu][+feature...]`, as in `x86:znver5`.

    `ranges` are those of the symbols of the model that is compiled.
    """

    name: str
    ranges: Mapping[str, tuple[int, int]] = {}

    @abstractmethod
    def panel(self, height: Dim, width: int) -> PanelAttr | None:
        """The panel layout of activations with `height` × `width` pixels, or None where row-major is better."""

    @abstractmethod
    def takes_panels(self, op: Operation) -> bool:
        """Whether the kernels of `op` read and write 4-D activations in panels (all operands and results agree)."""

    @property
    def channels(self) -> int:
        """Kernels compute channels in multiples of this number, so that fewer are not worth removing."""
        return 1

    def takes_pairs(self, op: Operation, values: Collection[SSAValue]) -> bool:
        """Whether the chosen kernel of `op` runs with these of its images in pairs of channels of bf16."""
        return False

    def takes_parts(self, op: Operation) -> bool:
        """Whether the kernels of `op` run with its images where they lie by their types: some inside others."""
        return False

    def mask_tile(self, op: Operation) -> tuple[int, int] | None:
        """The queries and keys of a tile that an attention computes or skips, if it can."""
        return None

    @abstractmethod
    def candidates(self, op: Operation, weights: WeightStore) -> Sequence[Candidate]:
        """Every way to run `op` with the weights it has, best first; empty where the op is not supported."""

    @property
    def cache(self) -> Cache:
        """The cache for which layers are chained."""
        return Cache(0, 0.0)

    def images(self, op: Operation, weights: WeightStore) -> Dim | None:
        """How many images the kernels of `op` go through one by one, where a run tells that and no other size."""
        return None

    def walk(self, op: Operation, weights: WeightStore) -> Walk | None:
        """How the kernel of `op`, whose layouts and formats are chosen, goes through its images, if row by row."""
        return None

    def splits_by(self, op: Operation, weights: WeightStore, images: int) -> bool:
        """Whether the kernels of `op`, whose layouts and formats are chosen, go through `images` images one by one."""
        return False

    def overwrites(self, op: Operation, weights: WeightStore) -> Sequence[SSAValue]:
        """The operands of `op`, whose layouts and formats are chosen, where its result may lie."""
        return ()

    @abstractmethod
    def build(self, plan: Plan, kernels: Sequence[Any], weights: Path, output: Path, emit: str) -> None:
        """Generate code for `kernels`, glue for `plan`, and link them with the weights file into `output`."""
