"""The base class of kernels: a specification that can write itself for any ISA. Its sizes may hold symbols."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass
from typing import ClassVar

from sparsec.chains import Walk
from sparsec.ir.dims import Dim, Sym, symbols
from sparsec.targets.builder import Builder
from sparsec.targets.isa import Isa


@dataclass(frozen=True)
class Kernel(ABC):
    """A specification of one generated function. Subclasses are frozen dataclasses with hashable, printable fields.

    Two kernels with equal fields are the same function and share a symbol.
    """

    moves: ClassVar[str] = "map"
    """The kind of kernels with which this one shares the costs of a step and of the bytes that it moves."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The row of the kernel table, such as `gemm_f32_dense_m6n64`."""

    @property
    @abstractmethod
    def chunks(self) -> Dim:
        """How many independent units of work there are; `begin` and `end` count them."""

    @property
    def group(self) -> int:
        """How many chunks that follow one another share what a call prepares for them."""
        return 1

    @property
    def scratch(self) -> Dim:
        """Bytes of scratch that a thread needs."""
        return 0

    @property
    def overwrites(self) -> tuple[int, ...]:
        """The arguments that may lie where the result does: each element is read before that of the result is written,
        and for no other.
        """
        return ()

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in the sizes, sorted. Where there are any, the last argument holds their values (`Sizes`)."""
        return tuple(sorted(_symbols_in(self)))

    def work(self, isa: Isa) -> dict[str, float]:
        """What costs time besides moving the arguments, in events of a `CostModel`, where nothing is to be chosen."""
        return {}

    @property
    def walk(self) -> Walk | None:
        """How the chunks go through the rows of images, for kernels that may be members of a chain."""
        return None

    def splits_by(self, images: int) -> bool:
        """Whether the chunks are `images` equal runs in order, each of which reads and writes its own image only.

        That is said of operands and results that have one part for each image, one after another.
        """
        return self.walk is not None and self.walk.images == images

    @property
    def symbol(self) -> str:
        """The function's name without the ISA's suffix: the table row and a hash of the whole specification."""
        values = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.compare)
        digest = hashlib.sha256(f"{type(self).__qualname__}({values})".encode()).hexdigest()
        return f"{self.name}_{digest[:10]}"

    @abstractmethod
    def emit(self, b: Builder) -> None:
        """Writes the function `symbol` into the builder's module, for the builder's ISA."""


def _symbols_in(value: object) -> frozenset[str]:
    """The symbols of the sizes in a kernel, at any depth of what tells kernels apart."""
    if isinstance(value, Sym):
        return symbols(value)
    if isinstance(value, tuple | list):
        return frozenset().union(*map(_symbols_in, value))
    if is_dataclass(value):
        return _symbols_in(tuple(getattr(value, field.name) for field in fields(value) if field.compare))
    return frozenset()
