"""Rules on the course of training (P1, P2) that our runs with one switch changed decide, beside their partners."""

from itertools import pairwise

import pandas as pd

from replication.report.analysis.ablations import PAIR, changed
from replication.report.analysis.measured import finished, reference
from replication.report.analysis.statistics import SEEDS, SIGNIFICANCE, sign_test
from replication.report.claims.evidence import Evidence
from replication.report.claims.runs import SETS, by_seeds, runs_of
from replication.report.claims.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    REPLICATED,
    Finding,
    capped,
    nothing,
    together,
)


def rise_after_drop(curve: list[dict], epochs: int) -> float:
    """Test error at the end of the first drop's stretch (epochs 160 to 180 of 200) minus at its start, points.

    The claim is of a rise after the drop, not against the time before it (the drop itself lowers the error), so it
    needs two evaluations after the first drop and no later than the second; NaN with fewer, as in 30 epochs.
    """
    stretch = [row["error"] for row in curve if 0.8 * epochs < row["epoch"] <= 0.9 * epochs]
    return stretch[-1] - stretch[0] if len(stretch) > 1 else float("nan")


def p1_runs(evidence: Evidence) -> Finding:
    """Test error rises between the drops with a drop of 0.1, and by more than with 0.01: both intervals above 0.

    Records hold no test loss, so the claim's loss is not judged.
    """
    if evidence.records is None or not len(evidence.records):
        return nothing("runs with a drop of 0.1")
    slow = changed(evidence.records).query("switch == 'drop_factor' and value == '0.1' and dataset in @SETS")
    usual, _ = runs_of(evidence, "imbalance_factor >= 1")
    both = _rises(finished(slow)).rename("slow").to_frame().join(_rises(usual).rename("usual"), how="inner")
    lost = int((slow["status"] != "finished").sum())
    if not len(both):
        return capped(nothing("runs with a drop of 0.1 and their partners at 0.01"), lost)
    seen = both.dropna()
    if not len(seen):
        missing = f"two evaluations between the drops in any of {len(both)} runs with a drop of 0.1"
        return capped(nothing(missing), lost)
    parts = {
        "after a drop of 0.1": by_seeds(seen["slow"], "change of test error", "above"),
        "excess over a drop of 0.01": by_seeds(seen["slow"] - seen["usual"], "difference", "above"),
    }
    return capped(together(parts), lost)


def _rises(runs: pd.DataFrame) -> pd.Series:
    if not len(runs):
        return pd.Series(dtype=float, index=pd.MultiIndex.from_frame(runs[PAIR]))
    rises = [rise_after_drop(curve, epochs) for curve, epochs in zip(runs["curve"], runs["epochs"], strict=True)]
    return pd.Series(rises, index=pd.MultiIndex.from_frame(runs[PAIR]), dtype=float)


def unstable(status: str, curve: list[dict], epochs: int) -> bool:
    """At the start, the first quarter of the epochs: diverged by an evaluation in it, or the training loss rose there.

    A run that diverges later was stable at the start.  `curve` ends before the evaluation that saw the divergence.
    """
    quarter = 0.25 * epochs
    losses = [row["training_loss"] for row in curve if row["epoch"] <= quarter]
    seen = curve[-1]["epoch"] + curve[0]["epoch"] if curve else 0  # evaluations are evenly spaced
    return (status != "finished" and seen <= quarter) or any(b > a for a, b in pairwise(losses))


def p2_runs(evidence: Evidence) -> Finding:
    """Seeds unstable at the start with last bias 0 against the same seeds with -log(C - 1): exact McNemar test.

    A seed is unstable if any of its runs is; the claim speaks of sigmoid and focal, so it must have both.  With fewer
    than six seeds no p-value can be below 5 %.  Contradicted too if none of them is unstable with 0: were half of all
    seeds unstable, six stable ones had a chance of 1 in 64.
    """
    if evidence.records is None or not len(evidence.records):
        return nothing("runs with last bias 0")
    records = evidence.records[evidence.records["dataset"].isin(SETS)]
    zero = changed(records).query("switch == 'last_bias' and value == 'zero'")
    both = _unstable(zero).rename("zero").to_frame().join(_unstable(reference(records)).rename("prior"), how="inner")
    if not len(both):
        return nothing("runs with last bias 0 and their partners")
    kinds = both.index.to_frame(index=False).assign(kind=lambda rows: rows["label"].str.split().str[0])
    has_both = kinds.groupby("seed")["kind"].nunique() == 2  # sigmoid and focal
    begun, both = len(has_both), both[has_both[both.index.get_level_values("seed")].to_numpy()]
    if not len(both):
        return Finding(INCONCLUSIVE, f"of {begun} seeds with runs of either none has both sigmoid and focal")
    seeds = both.groupby("seed")[["zero", "prior"]].any()
    n, counts, p = len(seeds), seeds.sum(), sign_test(seeds["prior"].astype(int) - seeds["zero"].astype(int))
    words = (
        f"seeds unstable at the start: {counts['zero']} of {n} with 0, {counts['prior']} of {n} with -log(C - 1), "
        f"of {len(both)} runs each (exact McNemar p = {p:.2g})"
    )
    if n < 2 * SEEDS:  # of five seeds that all say one thing p is 1/16
        return Finding(INCONCLUSIVE, f"{words}; a verdict needs {2 * SEEDS} seeds")
    if p < SIGNIFICANCE:
        return Finding(REPLICATED if counts["zero"] > counts["prior"] else CONTRADICTED, words, p)
    return Finding(INCONCLUSIVE if counts["zero"] else CONTRADICTED, words, p)


def _unstable(runs: pd.DataFrame) -> pd.Series:
    values = [unstable(r.status, r.curve, r.epochs) for r in runs.itertuples()]
    return pd.Series(values, index=pd.MultiIndex.from_frame(runs[PAIR]), dtype=bool)
