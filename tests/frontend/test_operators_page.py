"""docs/operators.md lists the operators that there are."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_up_to_date() -> None:
    make = runpy.run_path(str(DOCS / "make_operators.py"))
    assert (DOCS / "operators.md").read_text() == make["page"](), "run python docs/make_operators.py"
