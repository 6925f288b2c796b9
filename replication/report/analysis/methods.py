"""Which method today: the class-balanced loss beside its successors, same seeds, same images, imbalance 100."""

import math
from functools import cache, lru_cache
from itertools import product

import numpy as np
import pandas as pd

from replication.experiments.records import FEW, MANY
from replication.report.analysis import published as paper
from replication.report.analysis.measured import finished, off_protocol
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import summary

IMBALANCE = 100.0
# By name: the fields of its runs, its name in other work, its cost beside plain training, and whether it is read from
# the plain run's `adjusted_error` after training.
METHODS = {row.method: row for row in paper.table("analysis/methods").itertuples()}
COLUMNS = ["dataset", "method", "mean", "sd", "n", "low", "high"]
COLUMNS += ["change", "change_low", "change_high", "change_n", "detectable", "many", "medium", "few"]
COLUMNS += ["published_low", "published_high", "sources", "cost"]


def comparators() -> pd.DataFrame:
    """Read the top-1 errors (percent) that later work reports: method, dataset, imbalance_factor, error, source.

    Their protocols differ, so a difference under two points is not evidence.
    """
    return paper.published("comparators").rename(columns={"error_percent": "error"})


@cache
def published_errors(method: str, dataset: str) -> pd.DataFrame:
    """Return what the paper and later work report at imbalance 100: error, source. It is cached: do not modify it."""
    kind = METHODS[method]
    later = comparators().query("dataset == @dataset and imbalance_factor == @IMBALANCE and method == @kind.published")
    printed = paper.heat_map(dataset).query("imbalance_factor == @IMBALANCE and label == @kind.loss")
    printed = printed[(printed["beta"] == kind.beta) & (kind.reweight_from == 0) & (not kind.after_training)]
    return pd.concat([printed.assign(source="Cui et al. 2019"), later])[["error", "source"]]


def shot_errors(error_per_class, class_counts) -> tuple[float, ...]:
    """Return the mean error of classes with many (over 100), medium (20 to 100) and few images; NaN if there are none.

    >>> shot_errors([10.0, 20.0, 40.0], [500, 100, 20])
    (10.0, 30.0, nan)
    """
    errors, counts = np.asarray(error_per_class, dtype=float), np.asarray(class_counts)
    many, few = counts > MANY, counts < FEW
    return tuple(float(errors[group].mean()) if group.any() else math.nan for group in (many, ~many & ~few, few))


def method_runs(runs: pd.DataFrame, method: str) -> pd.DataFrame:
    """Select the runs of a method, by seed and precision: error, many, medium, few (all percent)."""
    kind = METHODS[method]
    same = (runs["loss"] == kind.loss) & (runs["beta"] == kind.beta) & (runs["reweight_from"] == kind.reweight_from)
    runs = runs[same].set_index(["seed", "precision"])
    if kind.after_training:
        runs = runs[runs["adjusted_error"].notna()]
        runs = runs.assign(error=runs["adjusted_error"], error_per_class=runs["adjusted_error_per_class"])
    shots = [shot_errors(*pair) for pair in zip(runs["error_per_class"], runs["class_counts"], strict=True)]
    shots = pd.DataFrame(shots, index=runs.index, columns=["many", "medium", "few"])
    return runs[["error"]].join(shots).astype(float).sort_index()


@lru_cache(maxsize=8)
def methods(profile: Profile) -> pd.DataFrame:
    """Return one row per data set and measured or published method, with COLUMNS.

    mean, sd, n, low, high: error over seeds.  change: minus the plain run of the same seed.  detectable: the smallest
    change that so many seeds show.  many, medium, few: means over seeds.  published_*: what others report (`sources`).
    """
    switched = off_protocol(profile.records).drop(columns="reweight_from").any(axis=1)
    done = finished(profile.records[~switched & (profile.records["imbalance_factor"] == IMBALANCE)])
    rows = []
    for dataset, (method, kind) in product(paper.TABLE2_SETS, METHODS.items()):
        here = done[done["dataset"] == dataset]
        runs, printed = method_runs(here, method), published_errors(method, dataset)
        if runs.empty and (printed.empty or (method == "class-balanced 0.99" and dataset == "cifar10")):
            continue
        row: dict = dict(dataset=dataset, method=method, cost=kind.cost) | summary(runs["error"])._asdict()
        row |= runs[["many", "medium", "few"]].mean().to_dict()
        row |= dict(published_low=printed["error"].min(), published_high=printed["error"].max())
        row |= dict(sources="; ".join(dict.fromkeys(printed["source"])), detectable=math.nan)
        if method != "plain":
            c = summary((runs["error"] - method_runs(here, "plain")["error"]).dropna())
            row |= dict(change=c.mean, change_low=c.low, change_high=c.high, change_n=c.n, detectable=c.detectable)
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)
