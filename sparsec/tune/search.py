"""Which kernel of a layer to measure next: the ones that the cost model ranks highest first, then what Optuna suggests.

A study of Optuna lives in memory only: the cache of measured times is its storage, from which it is told what is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from sparsec.errors import UsageError
from sparsec.targets.kernels.ways import Way
from sparsec.tune.layers import Layer

FIRST = 5  # kernels that are measured in the order of their predicted times
ATTEMPTS = 20  # suggestions in which a new kernel should be


def check_installed() -> None:
    """UsageError where there is no Optuna."""
    if find_spec("optuna") is None:
        raise UsageError("tuning needs Optuna: pip install 'sparsec[tune]', or in a checkout '.[tune]'")


class Search:
    """The kernels of one layer, with the times that are known; None for those that failed."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.known: dict[str, float | None] = {}
        self._study: Any = None
        self._places = {_place(way): row for row, way in layer.ways.items()}

    @property
    def best(self) -> str:
        """The row with the smallest time; the default where none is known."""
        times = {row: seconds for row, seconds in self.known.items() if seconds is not None}
        return min(times, key=lambda row: times[row], default=self.layer.default)

    @property
    def cost(self) -> float:
        """Seconds that the layer's nodes take in a run, as far as is known."""
        seconds = self.known.get(self.best)
        return (seconds or self.layer.predicted[self.layer.default]) * len(self.layer.nodes)

    @property
    def finished(self) -> bool:
        return len(self.known) == len(self.layer.ways)

    def next(self) -> Way:
        """A kernel whose time is not known. Not to be asked when finished."""
        ways = self.layer.ways
        if self.layer.default not in self.known:
            return ways[self.layer.default]
        ranked = [row for row in ways if row not in self.known]
        if len(self.known) < FIRST:
            return ways[ranked[0]]
        return ways[self._suggested() or ranked[0]]

    def tell(self, way: Way, seconds: float | None) -> None:
        """What the kernel took, now or in an earlier run."""
        self.known[way.row] = seconds
        if self._study is not None:
            self._add(way.row, seconds)

    def _suggested(self) -> str | None:
        """A new row that Optuna suggests, if it finds one."""
        import optuna

        if self._study is None:
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=FIRST, seed=0))
            for row, seconds in self.known.items():
                self._add(row, seconds)
        for _ in range(ATTEMPTS):
            trial = self._study.ask()
            row = self._places.get(self._ask(trial))
            # The answer comes later, as a trial of its own: measuring can be interrupted.
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            if row is not None and row not in self.known:
                return row
        return None

    def _ask(self, trial: Any) -> tuple:
        kind = trial.suggest_categorical("kind", sorted({way.kind for way in self.layer.ways.values()}))
        sizes = {name: trial.suggest_categorical(f"{kind} {name}", v) for name, v in self._sizes(kind).items()}
        return kind, tuple(sizes.items())

    def _sizes(self, kind: str) -> Mapping[str, list[int]]:
        """The values of each size, over the ways of a kind."""
        ways = [way for way in self.layer.ways.values() if way.kind == kind]
        return {name: sorted({way.sizes[name] for way in ways}) for name in ways[0].sizes}

    def _add(self, row: str, seconds: float | None) -> None:
        import optuna

        way, categories = self.layer.ways[row], optuna.distributions.CategoricalDistribution
        choices = {"kind": sorted({way.kind for way in self.layer.ways.values()})}
        choices |= {f"{way.kind} {name}": values for name, values in self._sizes(way.kind).items()}
        params = {"kind": way.kind} | {f"{way.kind} {name}": size for name, size in way.sizes.items()}
        state = optuna.trial.TrialState.COMPLETE if seconds is not None else optuna.trial.TrialState.FAIL
        distributions: dict[str, Any] = {name: categories(values) for name, values in choices.items()}
        found = optuna.trial.create_trial(state=state, params=params, distributions=distributions, value=seconds)
        self._study.add_trial(found)


def _place(way: Way) -> tuple:
    return way.kind, tuple(way.sizes.items())
