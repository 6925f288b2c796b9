"""The comparisons that decide statements about errors: their runs, their planned seeds, and what is claimed.

A comparison consists of Experiments, so its runs are found by name and only the full protocol can enter it.  The same
code reads our records, one error per run, and simulated ones, an array of draws per run.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from replication.experiments.experiment import Experiment, loss_label
from replication.experiments.plan import PLAN
from replication.report.analysis import published as paper
from replication.report.analysis.statistics import t_interval
from replication.report.claims import finding as words
from replication.report.claims.finding import BETTER, MARGIN, Finding, majority, of_seeds, tally, word_of

Errors = Mapping[Experiment, Any]  # last-epoch error of a run, percent, or one value per draw
PRINTED = paper.heat_maps().set_index(["dataset", "label", "beta", "imbalance_factor"])["error"].to_dict()


@dataclass(frozen=True)
class Contrast:
    """scale x (mean error of the `plus` runs - mean error of the `minus` runs), one value per planned seed."""

    what: str
    plus: tuple[Experiment, ...]  # without their seeds
    minus: tuple[Experiment, ...]
    seeds: tuple[int, ...]
    claimed: str = BETTER
    scale: float = 1.0

    def of(self, error: Callable[[Experiment], Any], seed: int = 0) -> Any:
        """Return the value of the comparison at a seed, given a function from a run to its error."""
        plus, minus = ([error(replace(run, seed=seed)) for run in side] for side in (self.plus, self.minus))
        return self.scale * (np.mean(plus, axis=0) - np.mean(minus, axis=0))

    def values(self, errors: Errors) -> dict[int, Any]:
        """Return the value at each planned seed for which all runs are there; other seeds are left out."""
        runs = (*self.plus, *self.minus)
        complete = [seed for seed in self.seeds if all(replace(run, seed=seed) in errors for run in runs)]
        return {seed: self.of(errors.__getitem__, seed) for seed in complete}

    def finding(self, errors: Errors) -> Finding:
        """Return the finding of our runs beside the value of Figures 8 to 10, which is NaN if they lack a cell."""
        printed = float(self.of(printed_error))
        return of_seeds(self.what, self.values(errors).values(), len(self.seeds), printed=printed)


def printed_error(e: Experiment) -> float:
    """Return the error that Figures 8 to 10 print for an experiment, in percent; NaN if there is none.

    >>> printed_error(Experiment(imbalance_factor=50.0, beta=0.9999))
    21.95
    """
    return PRINTED.get((e.dataset, loss_label(e.loss, e.gamma), e.beta, e.imbalance_factor), float("nan"))


def _seeds(letters: str, runs: Iterable[Experiment]) -> tuple[int, ...]:
    planned = {run for letter in letters for run in PLAN[letter]}
    return tuple(seed for seed in range(10) if all(replace(run, seed=seed) in planned for run in runs))


def planned_seeds(dataset: str, beta: float, imbalance_factor: float) -> int:
    """Return the seeds planned for class-balanced against plain softmax at full protocol; 0 if only the map has it.

    >>> planned_seeds("cifar10", 0.9999, 50.0)
    3
    """
    runs = [Experiment(dataset=dataset, imbalance_factor=imbalance_factor, beta=b) for b in (0.0, beta)]
    return next((len(seeds) for letter in "ABEGFH" if (seeds := _seeds(letter, runs))), 0)


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

    def decide(self, errors: Errors) -> tuple[str, list[Finding], str]:
        """Return the word of our runs, which waits for all planned seeds of all parts, its findings, and a clause."""
        findings = [c.finding(errors) for c in (*self.parts, *self.beside)]
        found = [np.array(list(c.values(errors).values())) for c in self.parts]
        complete = [v for v, c in zip(found, self.parts, strict=True) if len(v) == len(c.seeds)]
        if self.by == "mean" and complete:
            what = f"mean over {len(complete)} of {len(self.parts)} columns"
            findings.insert(0, of_seeds(what, np.mean(complete, axis=0), len(self.parts[0].seeds)))
        waiting = words.AWAITING if any(len(v) for v in found) else words.NOT_RUN
        word = str(self.word(complete)) if len(complete) == len(self.parts) else waiting
        return word, findings, self._clause(word, findings)

    def _clause(self, word: str, findings: list[Finding]) -> str:
        """Return the end of a bottom line: the word for our runs and how many comparisons agree; empty if none ran."""
        counted = tally(findings)
        if any(c.claimed != BETTER for c in self.parts):
            pairs = zip(self.parts, findings, strict=False)
            right = [f.word == c.claimed for c, f in pairs if f.word not in (words.NOT_RUN, words.AWAITING)]
            counted = f"{sum(right)} of {len(right)} as claimed" if right else ""
        if word == words.NOT_RUN:
            return f"; at a beta fixed beforehand, our runs: {counted}" if counted else ""
        said = "our runs await their planned seeds" if word == words.AWAITING else f"our runs: {word}"
        return f"; {said} ({counted})" if counted else f"; {said}"


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
    done = done[done["precision"] == done.groupby("seed")["precision"].transform(lambda p: p.mode()[0])]
    rows = done[list(Experiment.__dataclass_fields__)].replace({np.nan: None}).to_dict("records")
    return {Experiment(**row): float(error) for row, error in zip(rows, done["error"], strict=True)}


def contrast(row: Mapping[str, Any]) -> Contrast:
    """Build a comparison from a row of comparisons.csv; " + " separates several betas, losses or imbalance factors.

    Its seeds are those that the plan's `letters` have for all of its runs.

    Raises:
        ValueError: a run that these letters of the plan do not have.
    """
    plus, minus = _runs(row, ""), _runs(row, "against_")
    seeds = _seeds(row["letters"], plus + minus)
    if not seeds:
        raise ValueError(f"letters must be of a plan that has these runs, got {row['letters']!r} for {row['words']}")
    what = f"{paper.TITLES[row['dataset']]} at imbalance {row['imbalance'].replace('+', 'and')}, {row['words']}"
    return Contrast(what, plus, minus, seeds, row["claimed"], float(row["scale"]))


def _runs(row: Mapping[str, Any], side: str) -> tuple[Experiment, ...]:
    factors, betas, losses = (row[name].split(" + ") for name in ("imbalance", f"{side}betas", f"{side}losses"))
    return tuple(
        Experiment(row["dataset"], float(factor), loss, gamma=float(gamma[0]) if gamma else None, beta=float(beta))
        for factor, beta, (loss, *gamma) in product(factors, betas, map(str.split, losses))
    )


def _rule(name: str, rows: pd.DataFrame) -> Rule:
    parts, beside = (tuple(map(contrast, rows[rows["role"] == role].to_dict("records"))) for role in ("part", "beside"))
    return Rule(parts, {"R1": "mean", "R3": "regret"}.get(name, "majority"), beside)


RULES = {name: _rule(name, rows) for name, rows in paper.table("claims/comparisons", dtype=str).groupby("rule")}
