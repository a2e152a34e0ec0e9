"""Pieces of generated C: tables, strings, comments, sizes in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_PADDING = 128  # THREAD_PADDING of runtime/sparsec.h


def table(kind: str, name: str, rows: Iterable[str]) -> str:
    """A constant C array; C has no empty ones, so that one without rows gets a row of zeros that no count reaches."""
    return f"static const {kind} {name}[] = {{\n    " + "\n    ".join(list(rows) or ["0"]) + "\n};"


def comment(text: str) -> str:
    """`text` as one line that cannot end a C comment."""
    return re.sub(r"[^ -~]", "?", text).replace("*/", "*-").replace("/*", "-*")


def quoted(text: str | Path) -> str:
    """A C or assembler string of any text or path: quotes, backslashes and all outside plain ASCII in octal."""
    octal = (chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in str(text).encode())
    return f'"{"".join(octal)}"'


def round_up(size: int) -> int:
    """Whole paddings between what two threads write."""
    return -(-size // _PADDING) * _PADDING
