"""The file of `--attention`: JSON that says which keys the queries of each attention look at.

    {
      "*":             {"causal": true, "window": {"size": 1024}},
      "/layer3/attn":  {"causal": true, "streaming": {"sink": 64, "recent": 256, "heads": [0, 2, 5]}}
    }

Keys are names of attention nodes as `sparsec explain` prints them; "*" stands for all that are not named. A value has
"causal" (no key after the query; false if it is not there) and at most one of these; {} leaves a node as it is.

    "window": {"size": 512}                           keys at a distance below size
    "strided": {"stride": 8, "window": 512, "block": 64}
                                                      every stride-th block of keys, for head h from block h % stride
                                                      on, and a window; a block has 64 keys if nothing is said
    "streaming": {"sink": 64, "recent": 256, "heads": [0, 2]}
                                                      the first and the recent keys, for these heads (default: all)
    "spans": [64, 256, …]                             a window for each head
    "blocks": {"size": 64, "keep": [[0], [0, 1], …]}  the blocks of keys for each block of queries, or a list of such
                                                      lists for each head
    "topk": {"keep": 16, "block": 64}                 found at run time: that many blocks, or that share of them if
                                                      below 1, by the products of mean queries and mean keys

The last query stands at the last key. What the pattern leaves out counts as −inf, beside the model's own masks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from sparsec.errors import UsageError
from sparsec.patterns import Blocks, Everything, Keys, Pattern, Streaming, Strided, Window

EVERY = "*"
BLOCK = 64


ByHead = Callable[[int, int, int], Sequence[Keys]]
"""(heads, queries, keys) → what each head looks at."""


@dataclass(frozen=True)
class TopK:
    """The `keep` best blocks of `block` keys; below 1 it is a share of all."""

    block: int
    keep: float

    def count(self, keys: int) -> int:
        """How many blocks are kept of a sequence of `keys`; never fewer than the sink and the query's own."""
        blocks = -(-keys // self.block)
        return min(blocks, max(2, ceil(self.keep * blocks) if self.keep < 1 else int(self.keep)))

    def __str__(self) -> str:
        share = f"{self.keep:.0%} of the" if self.keep < 1 else f"{int(self.keep)}"
        return f"the best {share} blocks of {self.block} keys, found at run time"


@dataclass(frozen=True)
class Entry:
    """What the file says of one node: patterns by the number of heads and of queries, or a selection at run time."""

    where: str
    kind: str
    causal: bool
    keys: ByHead
    topk: TopK | None = None

    def patterns(self, heads: int, queries: int, keys: int) -> list[Pattern]:
        """A pattern for each head. Raises UsageError where the entry does not fit these sizes."""
        return [Pattern(found, self.causal) for found in self.keys(heads, queries, keys)]


@dataclass(frozen=True)
class AttentionFile:
    """The entries of a file by name of node."""

    path: Path
    entries: Mapping[str, Entry]

    def of(self, node: str) -> Entry | None:
        """The entry for a node, if any."""
        return self.entries.get(node) or self.entries.get(EVERY)

    def check_names(self, nodes: list[str]) -> None:
        """UsageError that lists the entries whose nodes are no attention of the model."""
        lost = [name for name in self.entries if name != EVERY and name not in nodes]
        if not nodes:
            raise UsageError(f"{self.path}: the model has no attention that sparsec recognises")
        if lost:
            there = ", ".join(nodes)
            raise UsageError(f"{self.path}: no attention is called {', '.join(lost)}; there are {there}")


def read(path: Path) -> AttentionFile:
    """The file at `path`. Raises UsageError that says what is wrong and where."""
    try:
        content = json.loads(path.read_text(), object_pairs_hook=lambda pairs: _once(path, pairs))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict) or not content:
        raise UsageError(
            f'{path}: should be an object of patterns by name of node, such as {{"*": {{"causal": true}}}}'
        )
    return AttentionFile(path, {name: _entry(f'{path}: "{name}"', value) for name, value in content.items()})


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, no key of which comes twice."""
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path}: {', '.join(twice)} is there twice")
    return dict(pairs)


def _entry(where: str, value: Any) -> Entry:
    found = _object(where, value, (), ("causal", *_KINDS))
    kinds = [name for name in found if name != "causal"]
    if len(kinds) > 1:
        raise UsageError(f"{where} has {' and '.join(kinds)}: one pattern a node")
    causal = found.get("causal", False)
    if not isinstance(causal, bool):
        raise UsageError(f"{where}: causal is true or false, not {json.dumps(causal)}")
    if not kinds:
        return Entry(where, "causal" if causal else "dense", causal, _everything)
    kind = kinds[0]
    where = f"{where}: {kind}"
    if kind == "topk":
        return Entry(where, kind, causal, _everything, _topk(where, found[kind]))
    return Entry(where, kind, causal, _KINDS[kind](where, found[kind]))


def _everything(heads: int, queries: int, keys: int) -> list[Keys]:
    return [Everything()] * heads


def _window(where: str, value: Any) -> ByHead:
    window = Window(_count(where, _object(where, value, ("size",)), "size"))
    return lambda heads, queries, keys: [window] * heads


def _strided(where: str, value: Any) -> ByHead:
    sizes = _object(where, value, ("stride", "window"), ("block",))
    stride, window = (_count(where, sizes, name) for name in ("stride", "window"))
    block = _count(where, sizes, "block", BLOCK)
    return lambda heads, queries, keys: [Strided(stride, window, block, head % stride) for head in range(heads)]


def _streaming(where: str, value: Any) -> ByHead:
    sizes = _object(where, value, ("sink", "recent"), ("heads",))
    pattern = Streaming(_count(where, sizes, "sink", least=0), _count(where, sizes, "recent"))
    chosen = sizes.get("heads")
    if chosen is not None:
        chosen = _indices(f"{where}: heads", chosen)

    def keys(heads: int, queries: int, keys: int) -> list[Keys]:
        if chosen is not None and max(chosen, default=0) >= heads:
            raise UsageError(f"{where}: there is no head {max(chosen)}, there are {heads}, from 0 on")
        return [pattern if chosen is None or head in chosen else Everything() for head in range(heads)]

    return keys


def _spans(where: str, value: Any) -> ByHead:
    spans = _indices(where, value)
    if not spans or min(spans) < 1:
        raise UsageError(f"{where} is a list of a number above 0 for each head, not {json.dumps(value)}")

    def keys(heads: int, queries: int, keys: int) -> list[Keys]:
        if len(spans) != heads:
            raise UsageError(f"{where} has {len(spans)} numbers for {heads} heads")
        return [Window(span) for span in spans]

    return keys


def _blocks(where: str, value: Any) -> ByHead:
    found = _object(where, value, ("size", "keep"))
    size, keep = _count(where, found, "size"), found["keep"]
    per_head = isinstance(keep, list) and keep and all(_is_nested(rows) for rows in keep)
    if not isinstance(keep, list) or not keep:
        raise UsageError(f"{where}: keep is a list of lists of blocks, one for each block of queries")
    tables = [
        Blocks(size, tuple(tuple(_indices(f"{where}: row {i} of keep", row)) for i, row in enumerate(rows)))
        for rows in (keep if per_head else [keep])
    ]

    def keys(heads: int, queries: int, keys: int) -> list[Keys]:
        if len(tables) not in (1, heads):
            raise UsageError(f"{where}: keep has lists for {len(tables)} heads, there are {heads}")
        for table in tables:
            _check_blocks(where, table, queries, keys)
        return [tables[head % len(tables)] for head in range(heads)]

    return keys


def _is_nested(rows: Any) -> bool:
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, list) for row in rows)


def _check_blocks(where: str, table: Blocks, queries: int, keys: int) -> None:
    blocks = -(-keys // table.size)
    if queries != keys:
        raise UsageError(f"{where} needs as many queries as keys, there are {queries} and {keys}")
    if len(table.rows) != blocks:
        raise UsageError(f"{where}: keep has {len(table.rows)} rows, {keys} tokens are {blocks} blocks of {table.size}")
    if (last := max((max(row, default=0) for row in table.rows), default=0)) >= blocks:
        raise UsageError(f"{where}: there is no block {last}, {keys} tokens are {blocks} blocks of {table.size}")


def _topk(where: str, value: Any) -> TopK:
    found = _object(where, value, ("keep",), ("block",))
    block, keep = _count(where, found, "block", BLOCK), found["keep"]
    whole = isinstance(keep, int) and not isinstance(keep, bool) and keep >= 2
    if not whole and not (isinstance(keep, float) and 0 < keep < 1):
        raise UsageError(f"{where}: keep is a number of blocks from 2 on, or a share below 1, not {json.dumps(keep)}")
    if block % BLOCK:
        raise UsageError(f"{where}: a block has a multiple of {BLOCK} keys, not {block}")
    return TopK(block, keep)


_KINDS: dict[str, Callable[[str, Any], ByHead]] = {
    "window": _window,
    "strided": _strided,
    "streaming": _streaming,
    "spans": _spans,
    "blocks": _blocks,
    "topk": lambda where, value: _everything,
}


def _object(where: str, value: Any, needed: tuple[str, ...], others: tuple[str, ...] = ()) -> dict[str, Any]:
    """`value`, an object with all `needed` keys and no unknown one."""
    allowed = ", ".join((*needed, *others))
    if not isinstance(value, dict):
        raise UsageError(f"{where} should be an object with {allowed}, not {json.dumps(value)}")
    if unknown := [name for name in value if name not in (*needed, *others)]:
        raise UsageError(f"{where} knows no {', '.join(unknown)}: there are {allowed}")
    if missing := [name for name in needed if name not in value]:
        raise UsageError(f"{where} has no {', '.join(missing)}")
    return value


def _count(where: str, found: Mapping[str, Any], name: str, default: int | None = None, least: int = 1) -> int:
    value = found.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{where}: {name} is a number from {least} on, not {json.dumps(value)}")
    return value


def _indices(where: str, value: Any) -> list[int]:
    if not isinstance(value, list) or any(not isinstance(x, int) or isinstance(x, bool) or x < 0 for x in value):
        raise UsageError(f"{where} is a list of numbers from 0 on, not {json.dumps(value)}")
    return value
