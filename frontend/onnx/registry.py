"""The table of operators: one handler for each, registered by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from sparsec.frontend.onnx.node import Node, Value

MICROSOFT = "com.microsoft"
Result: TypeAlias = "Value | Sequence[Value | None]"
Handler: TypeAlias = "Callable[[Node], Result]"
H = TypeVar("H", bound="Handler")

HANDLERS: dict[tuple[str, str], Handler] = {}


def operator(*names: str, domain: str = "") -> Callable[[H], H]:
    """Registers a handler: it reads a `Node`, emits ops, and returns the node's results in order."""

    def register(handler: H) -> H:
        for name in names:
            assert (domain, name) not in HANDLERS, name
            HANDLERS[domain, name] = handler
        return handler

    return register
