"""Statements on the course of training (P1, P2) and on large images (S1 to S3)."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd

from replication.experiments.plan import PLAN
from replication.report.analysis.ablations import changed
from replication.report.analysis.large_scale import pairs
from replication.report.analysis.published import HEAT_MAPS, TITLES
from replication.report.claims import finding as words
from replication.report.claims.evidence import Evidence, Weighing, statement
from replication.report.claims.finding import NOT_RUN, majority, of_seeds

ILSVRC_COUNTS = (732, 1300)  # training images of its smallest and largest class
CLOSED = 0.75  # share of the gap to the deeper network that must be closed to count as "comparable"


def change_between_drops(curve: list[dict], epochs: int, name: str = "error") -> float:
    """Return the least-squares change of a curve between the two drops of the rate (epochs 160 to 180 of 200).

    It is NaN with fewer than two evaluations there, or if the record lacks that value.
    """
    rows = [r for r in curve if 0.8 * epochs < r["epoch"] <= 0.9 * epochs and r.get(name) is not None]
    if len(rows) < 2:
        return math.nan
    return float(np.polyfit([r["epoch"] for r in rows], [r[name] for r in rows], 1)[0] * 0.1 * epochs)


def rises(e: Evidence, drop_factor: float, name: str) -> pd.Series:
    """Return the change between the drops of each finished run of plan D with that factor, by seed."""
    curves = e.full.records.query("status == 'finished'").set_index("name")["curve"]
    planned = [run for run in PLAN["D"] if run.drop_factor == drop_factor and run.name in curves]
    found = {run.seed: change_between_drops(curves[run.name], run.epochs, name) for run in planned}
    return pd.Series(found, dtype=float).dropna()


@statement("P1")
def p1(e: Evidence):
    """Plan D: plain softmax, imbalance 200, both drops, five seeds."""
    seeds, error = len({run.seed for run in PLAN["D"]}), rises(e, 0.1, "error")
    parts = [
        of_seeds("test error after a division by 10", error, seeds),
        of_seeds("test loss after a division by 10", rises(e, 0.1, "test_loss"), seeds, margin=0, unit="nats"),
        of_seeds("test error, division by 10 against 100", (error - rises(e, 0.01, "error")).dropna(), seeds),
    ]
    found = [f.word for f in parts]
    waiting = NOT_RUN if set(found) == {NOT_RUN} else words.AWAITING
    word = waiting if {words.AWAITING, NOT_RUN} & set(found) else str(majority(found, [words.WORSE] * len(parts)))
    return dict(word=word), dict(runs=Weighing("runs", word, parts))


def unstable(status: str, curve: list[dict], epochs: int) -> bool:
    """Whether a run diverged, or its training loss rose, in the first quarter of the epochs.

    A run that diverges later was stable at the start.  `curve` ends before the evaluation that saw the divergence.
    """
    quarter = 0.25 * epochs
    losses = [row["training_loss"] for row in curve if row["epoch"] <= quarter]
    seen = curve[-1]["epoch"] + curve[0]["epoch"] if curve else 0  # evaluations are evenly spaced
    return (status != "finished" and seen <= quarter) or any(b > a for a, b in pairwise(losses))


def initial_losses(classes: int) -> tuple[float, float]:
    """Return the initial sigmoid loss of a network whose logits equal its last bias: bias 0, and bias -log(C - 1).

    >>> [round(loss, 2) for loss in initial_losses(10)]
    [6.93, 3.25]
    """
    return classes * math.log(2), math.log(classes) - (classes - 1) * math.log(1 - 1 / classes)


@statement("P2")
def p2(e: Evidence):
    losses = {classes: initial_losses(classes) for classes in (10, 100)}
    said = "; ".join(f"{a:.2f} against {b:.2f} at C = {c}" for c, (a, b) in losses.items())
    runs = [row for p in e.profiles.values() for row in changed(p.records).itertuples()]
    zero = [row for row in runs if row.switch == "last_bias" and row.dataset in HEAT_MAPS]
    seen, n = sum(unstable(row.status, row.curve, row.epochs) for row in zero), len(zero)
    word = None if not n else words.REPLICATED if seen else words.UNDECIDED  # the paper says "could"
    numbers = dict(losses=said, seen=seen, n=n, often=f"seen in {seen} of" if seen else "not seen in")
    return numbers, dict(derivation=all(a > 2 * b for a, b in losses.values()), runs=word)


def _table3(e: Evidence, columns: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the errors of softmax and of CB focal at 224 by net, in the columns that a regular expression matches."""
    table = e.table3.query("input == 224").set_index(["loss", "net"]).filter(regex=columns)
    return table.loc["Softmax"], table.loc["CB Focal"]


def _without_plan(e: Evidence) -> str | None:
    """Return "not run": no plan fixes seeds for these runs, so records that exist are not weighed."""
    return words.UNDECIDED if len(pairs(e.large_scale)) else None


@statement("S1")
def s1(e: Evidence):
    plain, balanced = _table3(e, "top[15]$")
    d = (balanced - plain).to_numpy()
    better, (rare, frequent) = (d < 0).sum(), e.class_balanced_weights(ILSVRC_COUNTS, 0.999)
    groups = pairs(e.large_scale).groupby(["dataset", "depth"])["difference"]
    runs = [of_seeds(f"{TITLES[d]}, ResNet-{depth}", values, 0) for (d, depth), values in groups]
    word = str(majority([f.word for f in runs], [words.BETTER] * len(runs)))
    numbers = dict(better=better, pairs=d.size, low=d.min(), high=d.max(), span=rare / frequent)
    return numbers, dict(print=better == d.size, runs=Weighing("runs", word, runs) if runs else None)


@statement("S2")
def s2(e: Evidence):
    plain, balanced = _table3(e, "top1$")
    deeper = plain.loc["ResNet-152"].copy()
    deeper["ilsvrc_top1"] = plain.at["ResNet-101", "ilsvrc_top1"]  # the network that the paper names for ILSVRC
    shares = (plain - balanced).loc["ResNet-50"] / (plain.loc["ResNet-50"] - deeper)
    return dict(low=shares.min(), high=shares.max()), dict(print=shares.min() >= CLOSED, runs=_without_plan(e))


@statement("S3")
def s3(e: Evidence):
    return {}, dict(print=True, runs=_without_plan(e))
