"""Encoders as torch exports them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from extras import require

Exported = Callable[..., Path]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """`exported(name, exporter, opset, dynamic)` is the file of a network, written once."""
    require("torch", "onnxscript")
    from torch_exports import export

    folder = tmp_path_factory.mktemp("exported")

    @cache
    def make(name: str, exporter: str = "torchscript", opset: int = 17, dynamic: bool = True) -> Path:
        path = folder / f"{name}_{exporter}_{opset}_{'dynamic' if dynamic else 'fixed'}.onnx"
        return export(name, path, exporter, opset, dynamic)  # pyright: ignore[reportArgumentType]

    return make
