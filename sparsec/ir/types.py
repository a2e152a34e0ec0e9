"""Types and encodings of the `sp` dialect.

`!sp.tensor<[1, 64, "h", "w"], f32, ENCODING>` has a logical shape, an element type and, optionally, an encoding: for
activations where the elements lie (`#sp.panel`), for weights which elements are stored (`#sp.format`).
No encoding means dense and row-major.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from xdsl.dialects.builtin import (
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerType,
    NoneAttr,
    Signedness,
    f16,
    f32,
    f64,
    i1,
    i8,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute, Data, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from sparsec.ir.dims import Dim, NotFixed, ceildiv, evaluate, parse_dim, product, symbols

ui8 = IntegerType(8, Signedness.UNSIGNED)
ELEMENTS: dict[str, Attribute] = {
    "float32": f32,
    "float64": f64,
    "float16": f16,
    "int64": i64,
    "int32": i32,
    "int16": i16,
    "int8": i8,
    "uint8": ui8,
    "bool": i1,
}
_DTYPES = {element: np.dtype(name) for name, element in ELEMENTS.items()}


def dtype_of(element: Attribute) -> np.dtype:
    """The NumPy type of an element type. Raises KeyError where there is none."""
    return _DTYPES[element]


def element_of(dtype: np.dtype | type) -> Attribute:
    """The element type of a NumPy type. Raises KeyError where there is none."""
    return ELEMENTS[np.dtype(dtype).name]


LevelKind = Literal["dense", "compressed", "nm"]
LevelPart = Literal["", "/", "%"]


@dataclass(frozen=True)
class Level:
    """One storage level of a format: `kind` says how coordinates of `dim` are stored.

    With `part` "/" the level walks the blocks of `tile` coordinates, with "%" the coordinates inside a block.
    `keep` is the n of an n:m level (m is `tile`): how many of each block are stored.
    """

    dim: int
    kind: LevelKind
    part: LevelPart = ""
    tile: int = 1
    keep: int = 0

    def __str__(self) -> str:
        where = f"d{self.dim}{self.part}{self.tile}" if self.part else f"d{self.dim}"
        return f"{where}: {self.kind}({self.keep})" if self.kind == "nm" else f"{where}: {self.kind}"


@dataclass(frozen=True)
class Format:
    """Which elements of a weight are stored, as a list of levels from the outermost in (as in MLIR's sparse_tensor).

    `d0: dense, d1: compressed` is CSR; `d0/4: dense, d1: compressed, d0%4: dense` is blocks of 4 rows × 1 column;
    `d0: dense, d1/4: dense, d1%4: nm(2)` is 2:4; all levels dense is a plain array.
    """

    levels: tuple[Level, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.levels))

    @property
    def is_dense(self) -> bool:
        return all(level.kind == "dense" for level in self.levels)


_LEVEL = re.compile(r"d(\d+)(?:([/%])(\d+))?: (dense|compressed|nm\((\d+)\))$")


def parse_format(text: str) -> Format:
    """Read what `str(format)` writes. Raises ValueError."""
    levels: list[Level] = []
    for item in text.split(", "):
        match = _LEVEL.match(item)
        if not match:
            raise ValueError(f"not a storage level: {item!r}")
        dim, part, tile, kind, keep = match.groups()
        kind = cast(LevelKind, kind.split("(")[0])
        levels.append(Level(int(dim), kind, cast(LevelPart, part or ""), int(tile or 1), int(keep or 0)))
    return Format(tuple(levels))


@irdl_attr_definition
class ShapeAttr(Data[tuple[Dim, ...]]):
    """A logical shape: ints print as they are, symbolic sizes as strings."""

    name = "sp.shape"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[Dim, ...]:
        with parser.in_angle_brackets():
            return _parse_shape(parser)

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            _print_shape(printer, self.data)


@irdl_attr_definition
class FormatAttr(Data[Format]):
    """`#sp.format<"d0: dense, d1: compressed">` on the type of a weight."""

    name = "sp.format"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Format:
        with parser.in_angle_brackets():
            try:
                return parse_format(parser.parse_str_literal())
            except ValueError as error:
                parser.raise_error(str(error))

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string_literal(str(self.data))


@dataclass(frozen=True)
class Panel:
    """Layout of a [N, C, H, W] activation in panels of `rows` whole image rows.

    Element (n, c, h, w) lies at ((n*T + h // rows)*C + c)*stride + (h % rows)*W + w, with T = ceil(H / rows) panels an
    image. Pixels are innermost and contiguous in a channel; positions from rows*W to stride are padding.

    A value that lies inside another one, among that one's channels, has `pitch` elements from one panel to the next.

    With `pairs`, f32 is kept as bf16: channels 2c (low) and 2c + 1 share 32 bits, and lie where a channel would.
    """

    rows: int
    stride: int
    pairs: bool = False
    pitch: int = 0


@irdl_attr_definition
class PanelAttr(Data[Panel]):
    """`#sp.panel<rows = 2, stride = 112>` on the type of an activation.

    In pairs it ends in `, pairs>`, inside another value in `, pitch = 4096>`.
    """

    name = "sp.panel"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Panel:
        with parser.in_angle_brackets():
            sizes: list[int] = []
            for index, field in enumerate(("rows", "stride")):
                if index:
                    parser.parse_punctuation(",")
                parser.parse_keyword(field)
                parser.parse_punctuation("=")
                sizes.append(parser.parse_integer(allow_negative=False, allow_boolean=False))
            if parser.parse_optional_punctuation(",") is None:
                return Panel(sizes[0], sizes[1])
            if parser.parse_optional_keyword("pairs") is not None:
                return Panel(sizes[0], sizes[1], pairs=True)
            parser.parse_keyword("pitch")
            parser.parse_punctuation("=")
            return Panel(sizes[0], sizes[1], pitch=parser.parse_integer(allow_negative=False, allow_boolean=False))

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            pitch = f", pitch = {self.data.pitch}" if self.data.pitch else ""
            more = ", pairs" if self.data.pairs else pitch
            printer.print_string(f"rows = {self.data.rows}, stride = {self.data.stride}{more}")


@irdl_attr_definition
class TensorType(ParametrizedAttribute, TypeAttribute):
    """A tensor: logical shape, element type, encoding (NoneAttr for row-major)."""

    name = "sp.tensor"

    dims: ShapeAttr
    element: Attribute
    encoding: Attribute

    def __init__(self, shape: Iterable[Dim], element: Attribute, encoding: Attribute | None = None):
        super().__init__(ShapeAttr(tuple(shape)), element, encoding or NoneAttr())

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.dims.data

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape in ints. Raises NotFixed, naming the symbols, where a size is not fixed."""
        if names := sorted(set().union(*map(symbols, self.shape))):
            raise NotFixed(f"the size of {', '.join(names)} is not fixed")
        return tuple(int(dim) for dim in self.shape)  # pyright: ignore[reportArgumentType]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        return dtype_of(self.element)

    @property
    def panel(self) -> Panel | None:
        return self.encoding.data if isinstance(self.encoding, PanelAttr) else None

    @property
    def format(self) -> Format | None:
        return self.encoding.data if isinstance(self.encoding, FormatAttr) else None

    @property
    def physical_shape(self) -> tuple[Dim, ...]:
        """The shape in memory: [N, T, C, stride] in panels, with half the channels in pairs, else the logical shape."""
        if self.panel is None:
            return self.shape
        n, c, h, _ = self.shape
        return n, ceildiv(h, self.panel.rows), ceildiv(c, 2) if self.panel.pairs else c, self.panel.stride

    @property
    def nbytes(self) -> Dim:
        """Bytes in memory of an activation, padding and what lies between its panels included."""
        if self.panel is None or not self.panel.pitch:
            return product(self.physical_shape) * self.dtype.itemsize
        n, panels, c, stride = self.physical_shape
        return ((n * panels - 1) * self.panel.pitch + c * stride) * self.dtype.itemsize

    def with_shape(self, shape: Iterable[Dim]) -> TensorType:
        return TensorType(shape, self.element, self.encoding)

    def with_encoding(self, encoding: Attribute | None) -> TensorType:
        return TensorType(self.shape, self.element, encoding)

    def substitute(self, values: dict[str, Dim]) -> TensorType:
        """The same type with symbols replaced by sizes."""
        return self.with_shape(evaluate(dim, values) for dim in self.shape)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            shape = _parse_shape(parser)
            parser.parse_punctuation(",")
            element = parser.parse_type()
            encoding = parser.parse_attribute() if parser.parse_optional_punctuation(",") else NoneAttr()
            return [ShapeAttr(shape), element, encoding]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            _print_shape(printer, self.shape)
            printer.print_string(", ")
            printer.print_attribute(self.element)
            if not isinstance(self.encoding, NoneAttr):
                printer.print_string(", ")
                printer.print_attribute(self.encoding)


def is_float(element: Attribute) -> bool:
    return isinstance(element, Float16Type | Float32Type | Float64Type)


def _parse_shape(parser: AttrParser) -> tuple[Dim, ...]:
    return tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, lambda: _parse_dim(parser)))


def _parse_dim(parser: AttrParser) -> Dim:
    if (text := parser.parse_optional_str_literal()) is None:
        return parser.parse_integer(allow_boolean=False)
    try:
        return parse_dim(text)
    except ValueError as error:
        parser.raise_error(str(error))


def _print_shape(printer: Printer, shape: tuple[Dim, ...]) -> None:
    parts = [str(dim) if isinstance(dim, int) else f'"{dim}"' for dim in shape]
    printer.print_string(f"[{', '.join(parts)}]")
