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
from replication.report.claims.evidence import FULL, Evidence, Weighing, settle, statement, weigh
from replication.report.claims.finding import NOT_RUN, Finding, majority, of_seeds

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
    curves = (
        e.profiles[FULL].records.query("status == 'finished'").set_index("name")["curve"] if FULL in e.profiles else {}
    )
    planned = [run for run in PLAN["D"] if run.drop_factor == drop_factor and run.name in curves]
    found = {run.seed: change_between_drops(curves[run.name], run.epochs, name) for run in planned}
    return pd.Series(found, dtype=float).dropna()


@statement("P1", "Sec. 5.2", "training",
           "Where the rate is divided by 10, test error and loss rise after it; dividing by 100 cures it.")  # fmt: skip
def p1(e: Evidence):
    """Plan D: plain softmax, imbalance 200, both drops, five seeds."""
    seeds, error = len({run.seed for run in PLAN["D"]}), rises(e, 0.1, "error")
    parts = [
        of_seeds("test error after a division by 10", error, seeds),
        of_seeds("test loss after a division by 10", rises(e, 0.1, "test_loss"), seeds, margin=0, unit="nats"),
        of_seeds("test error, division by 10 against 100", (error - rises(e, 0.01, "error")).dropna(), seeds),
    ]
    found = {f.word for f in parts}
    if found & {words.AWAITING, NOT_RUN}:
        word = NOT_RUN if found == {NOT_RUN} else words.AWAITING
    else:
        word = str(majority([f.word for f in parts], [words.WORSE] * 3))
    lines = {words.REPLICATED: "Test error and loss rise after a division by 10, and less after one by 100.",
             words.NOT_REPLICATED: "Test error and loss do not rise after a division by 10."}  # fmt: skip
    line = lines.get(word, f"Whether errors rise after a division of the rate by 10: {word}.")
    return line, weigh("runs", parts, word)


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


@statement("P2", "Sec. 5.2", "training",
           "A last bias of 0 induces a huge loss at first, which could make sigmoid and focal unstable.")  # fmt: skip
def p2(e: Evidence):
    losses = {classes: initial_losses(classes) for classes in (10, 100)}
    said = "; ".join(f"{a:.2f} against {b:.2f} at C = {c}" for c, (a, b) in losses.items())
    exact = settle("derivation", all(a > 2 * b for a, b in losses.values()), "loss before the first step", said)
    runs = [row for p in e.profiles.values() for row in changed(p.records).itertuples()]
    zero = [row for row in runs if row.switch == "last_bias" and row.dataset in HEAT_MAPS]
    seen, n = sum(unstable(row.status, row.curve, row.epochs) for row in zero), len(zero)
    word = NOT_RUN if not n else words.REPLICATED if seen else words.UNDECIDED  # the paper says "could"
    found = Finding("runs with bias 0 that were unstable at the start", word, n=n, notes=(f"{seen} of {n}",))
    often = f"seen in {seen} of" if seen else "not seen in"
    line = f"A last bias of 0 makes the first loss huge; instability was {often} {n} runs."
    return line, exact, weigh("runs", found)


def _no_plan(e: Evidence, what: str) -> Weighing:
    """Runs whose seeds no plan fixes are not weighed, even if there are some."""
    ran = len(pairs(e.large_scale)) > 0
    found = Finding(what, words.UNDECIDED, notes=("no seeds are planned",)) if ran else Finding(what, NOT_RUN)
    return weigh("runs", found)


def _large(e: Evidence) -> pd.DataFrame:
    table = e.table3.query("input == 224")
    return table.assign(balanced=table["loss"].str.startswith("CB")).set_index(["net", "balanced"])


@statement("S1", "Table 3", "large scale",
           "CB focal (0.999, 0.5) beats softmax on iNaturalist 2017, 2018 and ILSVRC at each depth.")  # fmt: skip
def s1(e: Evidence):
    table = _large(e)
    errors = [c for c in table if c.endswith(("top1", "top5"))]
    d = (table.xs(True, level="balanced")[errors] - table.xs(False, level="balanced")[errors]).to_numpy()
    better, weights = int((d < 0).sum()), e.class_balanced_weights(ILSVRC_COUNTS, 0.999)
    printed = settle(
        "print", better == d.size, f"lower in {better} of {d.size} (net, data set, top-1 or top-5)",
        f"by {d.min():+.2f} to {d.max():+.2f} points",
        "focal is trained with 2 to 4 times the learning rate, and no row has plain focal",
        f"on ILSVRC the weights at beta 0.999 span {weights[0] / weights[1]:.1f} to 1",
    )  # fmt: skip
    groups = pairs(e.large_scale).groupby(["dataset", "depth"])["difference"]
    runs = [of_seeds(f"{TITLES[d]}, ResNet-{depth}", values, 0) for (d, depth), values in groups]
    word = str(majority([f.word for f in runs], [words.BETTER] * len(runs))) if runs else NOT_RUN
    line = f"CB focal beats softmax in {better} of {d.size} printed comparisons, which also change the learning rate."
    return line, printed, weigh("runs", runs or Finding("runs of Table 3", NOT_RUN), word)


@statement("S2", "Sec. 5.4", "large scale",
           "ResNet-50 with it is comparable to softmax's ResNet-152 on iNaturalist, ResNet-101 on ILSVRC.")  # fmt: skip
def s2(e: Evidence):
    table, shares = _large(e), {}
    for column, deeper in (("inat17_top1", "ResNet-152"), ("inat18_top1", "ResNet-152"), ("ilsvrc_top1", "ResNet-101")):
        shallow, balanced = table.loc[("ResNet-50", False), column], table.loc[("ResNet-50", True), column]
        shares[column] = float((shallow - balanced) / (shallow - table.loc[(deeper, False), column]))
    said = f"{min(shares.values()):.0%} to {max(shares.values()):.0%}"
    printed = settle("print", min(shares.values()) >= CLOSED, "share of the gap in top-1 that the loss closes", said)
    line = f"ResNet-50 with CB focal closes {said} of the printed gap to deeper networks, at a higher rate."
    return line, printed, _no_plan(e, "runs of Table 3")


@statement("S3", "Fig. 7", "large scale", "Its advantage shows after 60 epochs.")
def s3(e: Evidence):
    printed = settle("print", True, "Figure 7 as it is drawn", "its curves are not printed as numbers")
    line = "The printed curves part after 60 epochs, at a higher learning rate."
    return line, printed, _no_plan(e, "runs of Figure 7")
