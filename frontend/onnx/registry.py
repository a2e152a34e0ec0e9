"""The table of operators: one handler for each, registered by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from xdsl.ir import SSAValue

if TYPE_CHECKING:
    from sparsec.frontend.onnx.node import Node, Sizes

MICROSOFT = "com.microsoft"
Result: TypeAlias = "SSAValue | Sizes | Sequence[SSAValue | Sizes | None]"
Handler: TypeAlias = "Callable[[Node], Result]"
SizeRule: TypeAlias = "Callable[..., np.ndarray | list[np.ndarray]]"

HANDLERS: dict[tuple[str, str], Handler] = {}


def operator(*names: str, domain: str = "") -> Callable[[Handler], Handler]:
    """Registers a handler: it reads a `Node`, emits ops, and returns the node's results in order."""

    def register(handler: Handler) -> Handler:
        for name in names:
            assert (domain, name) not in HANDLERS, name
            HANDLERS[domain, name] = handler
        return handler

    return register
