"""Tunes a model: measures kernels for its layers while there is time, then proves the choice in the whole model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sparsec.errors import TargetError
from sparsec.options import Options
from sparsec.targets.isa import host_isas
from sparsec.targets.measured import Measured, Time
from sparsec.tune.layers import Network
from sparsec.tune.outcome import Outcome
from sparsec.tune.proof import Proof
from sparsec.tune.search import Search, check_installed
from sparsec.tune.trial import MeasurementFailed, Measurer, OutOfTime

Progress = Callable[[str, int, int], None]


def tune(
    model: Path,
    options: Options,
    cache: Path,
    seconds: float,
    measurer: Measurer,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Spend `seconds` on measuring kernels for `model`, then compare the whole model with and without the choices.

    Every time is in `cache` as soon as it is known; what is there already is not measured again. A layer keeps another
    kernel than the default only where that is faster inside the model, and all do only if the whole is not slower.
    """
    check_installed()
    progress("import and passes", 0, 0)
    network = Network(model, replace(options, tuned=None))
    if network.target.isas[0] not in host_isas(options.precision):
        raise TargetError(f"{options.target} does not run on this machine, and tuning measures on the target itself")
    measured = Measured(cache, network.target.isas[0])
    measured.warn_of_damage()
    searches = [Search(layer) for layer in network.layers]
    outcome = Outcome(cache, len(searches))
    outcome.known = sum(_recall(search, measured, outcome.failed) for search in searches)
    _measure(network, searches, measured, measurer, seconds, outcome, progress)
    with tempfile.TemporaryDirectory(prefix="sparsec-tune-") as folder:
        Proof(model, options, measured, searches, Path(folder), progress).settle(outcome)
    return outcome


def _recall(search: Search, measured: Measured, failed: list[str]) -> int:
    """Tells a search what the cache knows; how much that was. What may succeed now is left to be measured again."""
    for way in search.layer.ways.values():
        found = measured.alone(way.key)
        if found is None or found.passing:
            continue
        if found.seconds is None:
            failed.append(f"{way.row} for {search.layer.nodes[0]}: {found.error}, in an earlier run")
        search.tell(way, found.seconds)
    return len(search.known)


def _measure(
    network: Network,
    searches: list[Search],
    measured: Measured,
    measurer: Measurer,
    seconds: float,
    outcome: Outcome,
    progress: Progress,
) -> None:
    """Measures while there is time, next always for the layer with the most time for each measurement it has had."""
    end = time.monotonic() + seconds
    while (open_ := [s for s in searches if not s.finished]) and (left := end - time.monotonic()) > 0:
        search = max(open_, key=lambda s: s.cost / len(s.known) if s.known else float("inf"))
        way = search.next()
        progress(f"measure {way.row} for {search.layer.nodes[0]}", int(seconds - left), int(seconds))
        try:
            result = Time(measurer.seconds(network.trial(search.layer, way)), "alone")
        except MeasurementFailed as error:
            result = Time(None, "alone", str(error), isinstance(error, OutOfTime))
            outcome.failed.append(f"{way.row} for {search.layer.nodes[0]}: {error}")
        measured.add(way.key, way.row, result)
        search.tell(way, result.seconds)
        outcome.measured += 1
