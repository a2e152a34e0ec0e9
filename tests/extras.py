"""Packages of the extra `encoders`, without which tests are skipped; but not in CI."""

from __future__ import annotations

import importlib.util
import os

import pytest


def require(*packages: str) -> None:
    """Skip the test where a package is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    assert not missing or "SPARSEC_CI" not in os.environ, f"CI installs {', '.join(missing)}"
    if missing:
        pytest.skip(f"no {', '.join(missing)}: the README tells how to install what tests of exported encoders need")
