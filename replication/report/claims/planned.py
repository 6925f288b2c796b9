"""The comparisons that decide statements about errors: their runs, their planned seeds, and what is claimed.

A comparison consists of Experiments, so its runs are found by name and only the full protocol can enter it.  The same
code reads our records, one error per run, and simulated ones, an array of draws per run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from replication.experiments.experiment import Experiment, loss_label
from replication.experiments.plan import PLAN
from replication.report.analysis import published as paper
from replication.report.analysis.published import TITLES
from replication.report.analysis.statistics import t_interval
from replication.report.claims import finding as words
from replication.report.claims.finding import BETTER, MARGIN, NONE, WORSE, Finding, majority, of_seeds, word_of

Errors = Mapping[Experiment, Any]  # last-epoch error of a run, percent, or one value per draw


@dataclass(frozen=True)
class Contrast:
    """scale x (mean error of the `plus` runs - mean error of the `minus` runs), one value per planned seed."""

    what: str
    plus: tuple[Experiment, ...]  # without their seeds
    minus: tuple[Experiment, ...]
    seeds: tuple[int, ...]
    claimed: str = BETTER
    scale: float = 1.0

    def values(self, errors: Errors) -> dict[int, Any]:
        """Return its value at each planned seed whose runs are complete; further seeds are left out."""
        found = {}
        for seed in self.seeds:
            plus, minus = ([replace(e, seed=seed) for e in side] for side in (self.plus, self.minus))
            if all(e in errors for e in (*plus, *minus)):
                found[seed] = self.scale * (_mean(errors, plus) - _mean(errors, minus))
        return found

    def printed(self) -> float:
        """Return its value in the paper's Figures 8 to 10; NaN if they lack a cell."""
        cells = {e: printed_error(e) for e in (*self.plus, *self.minus)}
        return self.scale * (_mean(cells, self.plus) - _mean(cells, self.minus))

    def finding(self, errors: Errors) -> Finding:
        """Return the finding of our runs."""
        return of_seeds(self.what, self.values(errors).values(), len(self.seeds), self.printed())


def _mean(errors: Errors, runs: Iterable[Experiment]):
    return np.mean([errors[e] for e in runs], axis=0)


def printed_error(e: Experiment) -> float:
    """Return the error that Figures 8 to 10 print for an experiment, in percent; NaN if there is none.

    >>> printed_error(Experiment(imbalance_factor=50.0, beta=0.9999))
    21.95
    """
    return _printed().get((e.dataset, loss_label(e.loss, e.gamma), e.beta, e.imbalance_factor), NONE)


@cache
def _printed() -> dict[tuple, float]:
    return paper.heat_maps().set_index(["dataset", "label", "beta", "imbalance_factor"])["error"].to_dict()


def contrast(
    what: str, letters: str, plus: list[dict], minus: list[dict], claimed: str = BETTER, scale: float = 1.0
) -> Contrast:
    """Build a comparison of planned runs from some of their fields; its seeds are those that all of them have.

    Raises:
        ValueError: a run that these letters of the plan do not have.
    """
    sides = [tuple(Experiment(**fields) for fields in side) for side in (plus, minus)]
    planned = {run for letter in letters for run in PLAN[letter]}
    seeds = set.intersection(*({s for s in range(10) if replace(e, seed=s) in planned} for e in chain(*sides)))
    if not seeds:
        raise ValueError(f"letters must be of a plan that has these runs, got {letters!r} for {what}")
    return Contrast(what, sides[0], sides[1], tuple(sorted(seeds)), claimed, scale)


def planned_seeds(dataset: str, beta: float, imbalance_factor: float) -> int:
    """Return the seeds planned for class-balanced against plain softmax at full protocol; 0 if only the map has it.

    >>> planned_seeds("cifar10", 0.9999, 50.0)
    3
    """
    cell = dict(dataset=dataset, imbalance_factor=imbalance_factor)
    for letter in "ABEGFH":
        try:
            return len(contrast("", letter, [cell | dict(beta=beta)], [cell]).seeds)
        except ValueError:
            continue
    return 0


@dataclass(frozen=True)
class Rule:
    """How runs decide a statement: its parts, and whether their majority, their mean or a regret counts."""

    parts: tuple[Contrast, ...]
    by: str = "majority"
    beside: tuple[Contrast, ...] = ()  # shown with their own words, but not counted in the statement's word

    def word(self, values: list[np.ndarray]) -> np.ndarray:
        """Return the words of complete parts: one array (..., seeds) per part -> words (...)."""
        if self.by == "mean":
            return majority(word_of(*t_interval(np.mean(values, axis=0)))[..., None], [BETTER])
        if self.by == "regret":
            return regret_word(np.stack(values))
        return majority(np.stack([word_of(*t_interval(v)) for v in values], -1), [c.claimed for c in self.parts])

    def decide(self, errors: Errors) -> tuple[str, list[Finding]]:
        """Return the word of our runs, which waits for all planned seeds of all parts, and its findings."""
        findings = [c.finding(errors) for c in (*self.parts, *self.beside)]
        found = [np.array(list(c.values(errors).values())) for c in self.parts]
        complete = [v for v, c in zip(found, self.parts, strict=True) if len(v) == len(c.seeds)]
        if self.by == "mean" and complete:
            what = f"mean over {len(complete)} of {len(self.parts)} columns"
            findings.insert(0, of_seeds(what, np.mean(complete, axis=0), len(self.parts[0].seeds)))
        if len(complete) == len(self.parts):
            return str(self.word(complete)), findings
        return words.AWAITING if any(len(v) for v in found) else words.NOT_RUN, findings


def regret_word(values: np.ndarray) -> np.ndarray:
    """Return whether a beta is at most MARGIN worse than the best other: (rivals, ..., seeds) differences -> words.

    The rival with the lowest mean error counts: replicated if its interval's upper bound is below the margin, not
    replicated if it is shown to be better and the margin is not kept.
    """
    best = values.mean(-1).argmax(0)[None]  # the rival against which the regret is largest
    low, high = (np.take_along_axis(bound, best, 0)[0] for bound in t_interval(values))
    return np.select([high < MARGIN, low > 0], [words.REPLICATED, words.NOT_REPLICATED], words.UNDECIDED)


def errors_of(records: pd.DataFrame) -> dict[Experiment, float]:
    """Return the last-epoch error of each finished run by its Experiment; per seed, of the precision with most runs."""
    done = records[records["status"] == "finished"]
    usual = done.groupby("seed")["precision"].agg(lambda p: p.mode()[0])
    done = done[done["precision"] == done["seed"].map(usual)]
    fields = done[list(Experiment.__dataclass_fields__)].astype(object)
    rows = fields.where(fields.notna(), None).to_dict("records")
    return {Experiment(**row): float(error) for row, error in zip(rows, done["error"], strict=True)}


# The comparisons of each statement -----------------------------------------------------------------------------------

_SIGMOID, _HALF, _ONE, _TWO = (dict(loss="sigmoid"), *(dict(loss="focal", gamma=g) for g in (0.5, 1.0, 2.0)))
_FIGURE5: tuple[dict, ...] = ({}, _SIGMOID, _HALF)
_BEST, _OWN = "the best plain loss", "its own plain loss"


def _at(dataset: str, factor: float, *betas: float, losses: Iterable[dict] = ({},)) -> list[dict]:
    return [dict(dataset=dataset, imbalance_factor=factor, beta=beta) | loss for beta in betas for loss in losses]


def _fixed(letter: str, dataset: str, factor: float, beta: float, claimed: str = BETTER) -> Contrast:
    what = f"{TITLES[dataset]} at imbalance {factor:g}, softmax, beta {beta:g} against plain"
    return contrast(what, letter, _at(dataset, factor, beta), _at(dataset, factor, 0.0), claimed)


def _gain(letter: str, dataset: str, what: str, plus: tuple, minus: tuple, claimed: str = BETTER, scale: float = 1.0):
    cells = [_at(dataset, 50.0, *betas, losses=_FIGURE5) for betas in (plus, minus)]
    return contrast(what, letter, cells[0], cells[1], claimed, scale)


def _pick(factor: float, pick: dict, plain: dict, against: str) -> Contrast:
    plus, minus = (_at("cifar10", factor, beta, losses=[loss]) for beta, loss in ((0.9999, pick), (0.0, plain)))
    return contrast(f"CIFAR-10 at imbalance {factor:g}, the paper's pick against {against}", "E", plus, minus)


def _smaller(dataset: str, factors: tuple[float, ...], claimed: str) -> Contrast:
    what = f"{TITLES[dataset]} at imbalance {' and '.join(f'{f:g}' for f in factors)}, 0.9999 against 0.99"
    plus, minus = ([_at(dataset, f, beta)[0] for f in factors] for beta in (0.9999, 0.99))
    return contrast(what, "G", plus, minus, claimed)


def _others(letters: str, dataset: str, factor: float, focal: dict) -> Contrast:
    what = f"{TITLES[dataset]} at imbalance {factor:g}, sigmoid and focal against softmax"
    return contrast(what, letters, _at(dataset, factor, 0.0, losses=(_SIGMOID, focal)), _at(dataset, factor, 0.0))


_R1 = (_pick(200.0, {}, {}, _BEST), _pick(100.0, _ONE, _SIGMOID, _BEST), _pick(50.0, _TWO, _HALF, _BEST))
_R1_BESIDE = (
    *(_pick(100.0, _ONE, _ONE, _OWN), _pick(50.0, _TWO, _TWO, _OWN)),
    *(_fixed(letter, "cifar10", f, 0.9999) for letter, f in (("A", 50.0), ("B", 100.0), ("G", 200.0), ("G", 10.0))),
    *(_fixed("B", "cifar100", 100.0, 0.99), _fixed("B", "cifar100", 100.0, 0.9999, WORSE)),
)
_R2 = (("F", "cifar10", 50.0, _HALF), ("H", "cifar100", 50.0, _HALF), ("EB", "cifar10", 100.0, _ONE))
_SMALL, _LARGE, _PLAIN = (0.9, 0.99), (0.999, 0.9999), (0.0,)
_GAIN = "beta {:g} against plain"
RULES: dict[str, Rule] = {
    "R1": Rule(_R1, "mean", _R1_BESIDE),
    "R2": Rule(tuple(_others(*row) for row in _R2)),
    "R3": Rule(
        tuple(_gain("F", "cifar10", f"0.9999 against {b:g}, imbalance 50", (0.9999,), (b,)) for b in (0.99, 0.999)),
        "regret",
    ),
    "R4": Rule(
        (
            *(_gain("F", "cifar10", _GAIN.format(b), (b,), _PLAIN) for b in (0.99, 0.999, 0.9999)),
            _gain("F", "cifar10", "trend, change for ten times 1/(1 - beta)", (0.9999,), (0.99,), scale=0.5),
        )
    ),
    "R5 text": Rule(
        (
            _gain("H", "cifar100", "beta 0.9 and 0.99 against plain", _SMALL, _PLAIN),
            _gain("H", "cifar100", "beta 0.999 and 0.9999 against plain", _LARGE, _PLAIN, WORSE),
            _gain("H", "cifar100", "beta 0.999 and 0.9999 against 0.9 and 0.99", _LARGE, _SMALL, WORSE),
        )
    ),
    "R5 caption": Rule(tuple(_gain("H", "cifar100", _GAIN.format(b), (b,), _PLAIN) for b in (0.99, 0.999))),
    "R6": Rule(
        (
            _gain("F", "cifar10", "CIFAR-10 at imbalance 50, 0.9999 against 0.99", (0.9999,), (0.99,)),
            *(_smaller(dataset, (200.0, 50.0), WORSE) for dataset in ("cifar20", "cifar100")),
        ),
        beside=tuple(_smaller(dataset, (10.0,), BETTER) for dataset in ("cifar20", "cifar100")),
    ),
}
