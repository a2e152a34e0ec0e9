"""One artifact from several targets of one architecture, which chooses at load: `arm:cortex-a76,arm`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from sparsec.errors import UsageError
from sparsec.targets.cpu import needs
from sparsec.targets.isa import Isa, Precision
from sparsec.targets.native import NativeTarget


def combined(text: str, targets: Sequence[NativeTarget], precision: Precision) -> NativeTarget:
    """All ISAs of `targets`, the most demanding first; costs are those of its target.

    UsageError for targets of several architectures, for WebAssembly, where engines refuse unknown code as a whole, and
    for ISAs that need the same of a CPU: nothing at load could tell them apart.
    """
    if len({target.isas[0].triple for target in targets}) > 1 or targets[0].isas[0].wasm:
        raise UsageError(f"{text!r}: an artifact can only combine targets of one architecture, and none of WebAssembly")
    pairs = [(_named(isa, target.name), target) for target in targets for isa in target.isas]
    bits = {isa: needs(isa) for isa, _ in pairs}
    pairs.sort(key=lambda pair: -sum(word.bit_count() for word in bits[pair[0]]))
    for (first, _), (second, _) in combinations(pairs, 2):
        if bits[first] == bits[second]:
            raise UsageError(f"{text!r}: {first.name} and {second.name} need the same features of a CPU; name one")
    return NativeTarget(text, [isa for isa, _ in pairs], pairs[0][1].cost, precision)


def _named(isa: Isa, target: str) -> Isa:
    """`isa` under a name of its own: what refines it follows, as in neon-cortex-a76."""
    refinement = re.search(r"[:+].*", target)
    words = re.findall(r"\w+", refinement[0]) if refinement else []
    return replace(isa, name="-".join([isa.name, *words]))
