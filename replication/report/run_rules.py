"""Rules that our runs decide: one profile's records, reference protocol unless the claim is about a switch.

The unit is the seed: losses and imbalance factors of one seed share their images, so they are averaged first.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from replication.report.controls import changed
from replication.report.measured import finished, fixed_beta, pairs, reference, seed_means
from replication.report.paper import TITLES
from replication.report.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    LEVEL,
    REPLICATED,
    SEEDS,
    Evidence,
    Finding,
    by_interval,
    judged,
    nothing,
    together,
)
from replication.training.experiment import BETAS

SETS = ("cifar10", "cifar20", "cifar100")  # the paper's; digits and others decide nothing about it
MATCH = ["dataset", "label", "imbalance_factor", "beta", "seed"]


def _runs(evidence: Evidence) -> pd.DataFrame:
    """Finished reference runs on the paper's data sets."""
    if evidence.records is None or not len(evidence.records):
        return pd.DataFrame(columns=[*MATCH, "error"])
    done = finished(reference(evidence.records))
    return done[done["dataset"].isin(SETS)]


def _pairs(evidence: Evidence) -> pd.DataFrame:
    if evidence.records is None or not len(evidence.records):
        return pd.DataFrame(columns=[*MATCH, "plain", "class_balanced", "difference"])
    both = pairs(evidence.records)
    return both[both["dataset"].isin(SETS)]


def _at_fixed_beta(both: pd.DataFrame) -> pd.DataFrame:
    return both[both["beta"] == both["dataset"].map(fixed_beta)]


def r1_runs(evidence: Evidence) -> Finding:
    groups = _at_fixed_beta(_pairs(evidence)).groupby(["dataset", "imbalance_factor"])
    return together({f"{TITLES[d]} at {f:g}": by_interval(seed_means(g)) for (d, f), g in groups if f > 1})


def r2_runs(evidence: Evidence) -> Finding:
    runs = _runs(evidence).query("imbalance_factor > 1")
    if not len(runs):
        return nothing("runs")
    wide = runs.pivot_table(index=["seed", "dataset", "beta", "imbalance_factor"], columns="label", values="error")
    if "softmax" not in wide or wide.shape[1] < 2:
        return nothing("softmax beside sigmoid or focal")
    others = wide.drop(columns="softmax").mean(axis=1)
    per_seed = (others - wide["softmax"]).dropna().unstack("seed").dropna().mean()
    return by_interval(per_seed, "sigmoid and focal minus softmax")


def r3_runs(evidence: Evidence) -> Finding:
    runs, parts = _runs(evidence).query("dataset == 'cifar10' and beta > 0 and imbalance_factor > 1"), {}
    for factor, group in runs.groupby("imbalance_factor"):
        wide = group.pivot_table(index=["label", "seed"], columns="beta", values="error")
        if set(BETAS[1:]) <= set(wide):
            table = wide[list(BETAS[1:])].dropna().groupby("seed").mean()
            rival = table.drop(columns=0.9999).mean().idxmin() if len(table) else None
            values = table[0.9999] - table[rival] if len(table) else []
            parts[f"at {factor:g}"] = by_interval(values, f"0.9999 minus the next best, {rival:g}:" if rival else "")
    return together(parts) if parts else nothing("imbalance factor with all four betas")


def _by_beta(evidence: Evidence, dataset: str, betas) -> dict[float, pd.Series]:
    both = _pairs(evidence).query("dataset == @dataset and imbalance_factor == 50")
    return {beta: seed_means(both[both["beta"] == beta]) for beta in betas if (both["beta"] == beta).any()}


def r4_runs(evidence: Evidence) -> Finding:
    means = _by_beta(evidence, "cifar10", BETAS[1:])
    whole = together({f"beta {b:g}": by_interval(v) for b, v in means.items()})
    order = [float(v.mean()) for _, v in sorted(means.items())]
    falls = len(order) == len(BETAS) - 1 and all(a > b for a, b in pairwise(order))
    if whole.verdict == REPLICATED and not falls:
        return Finding(INCONCLUSIVE, f"{whole.words}; {len(order)} betas measured, not each better than the last")
    return whole


def r5_runs(evidence: Evidence) -> Finding:
    means = _by_beta(evidence, "cifar100", (0.99, 0.999, 0.9999))
    parts = {f"beta {b:g}": by_interval(v, claimed="above" if b == 0.9999 else "below") for b, v in means.items()}
    whole = together(parts)
    return whole if len(parts) in (0, 3) or whole.verdict == CONTRADICTED else Finding(INCONCLUSIVE, whole.words)


def r6_runs(evidence: Evidence) -> Finding:
    runs, parts = _runs(evidence).query("imbalance_factor > 1"), {}
    for dataset, side in (("cifar10", "below"), ("cifar20", "above"), ("cifar100", "above")):
        here = runs[runs["dataset"] == dataset].pivot_table(
            index=["label", "imbalance_factor", "seed"], columns="beta", values="error"
        )
        if {0.9, 0.9999} <= set(here):
            d = (here[0.9999] - here[0.9]).dropna().unstack("seed").dropna().mean()
            parts[TITLES[dataset]] = by_interval(d, "0.9999 minus 0.9:", side)
        else:
            parts[TITLES[dataset]] = nothing("runs at 0.9 and 0.9999")
    return together(parts)


def r7_runs(evidence: Evidence) -> Finding:
    parts = {}
    for dataset, group in _at_fixed_beta(_pairs(evidence)).query("imbalance_factor > 1").groupby("dataset"):
        wide = group.pivot_table(index="seed", columns=["label", "imbalance_factor"], values="difference").dropna()
        table = wide.T.groupby(level="imbalance_factor").mean().T  # seeds x factors
        if table.shape[1] >= 3 and len(table):
            x = np.log10(table.columns.to_numpy(float))
            slopes = [float(stats.linregress(x, row).slope) for row in table.to_numpy(float)]
            parts[TITLES[dataset]] = by_interval(
                slopes, "change of class-balanced minus plain for ten times the imbalance"
            )
    return together(parts) if parts else nothing("three imbalance factors with pairs")


def l4_runs(evidence: Evidence) -> Finding:
    both = pairs(evidence.records) if evidence.records is not None and len(evidence.records) else pd.DataFrame()
    same = both.query("imbalance_factor == 1") if len(both) else both
    if not len(same):
        return nothing("class-balanced runs at imbalance 1")
    equal = int((same["difference"] == 0).sum())
    return judged(equal == len(same), f"{equal} of {len(same)} pairs end with the same error to the last digit")


def rise_after_drop(curve: list[dict], epochs: int) -> float:
    """Test error at the end of the first drop's stretch (160 to 180 of 200 epochs) minus at its start, points.

    With fewer than two evaluations before the second drop, the last epoch stands for the end.  NaN without either.
    """
    after = [row for row in curve if row["epoch"] > 0.8 * epochs]
    stretch = [row for row in after if row["epoch"] <= 0.9 * epochs]
    rows = stretch if len(stretch) > 1 else after
    return rows[-1]["error"] - rows[0]["error"] if len(rows) > 1 else float("nan")


def p1_runs(evidence: Evidence) -> Finding:
    if evidence.records is None or not len(evidence.records):
        return nothing("runs with a drop of 0.1")
    slow = finished(changed(evidence.records)).query("switch == 'drop_factor' and value == '0.1' and dataset in @SETS")
    both = (
        _with_rise(slow)
        .join(_with_rise(_runs(evidence))["rise"].rename("usual"), how="inner")
        .dropna(subset=["rise", "usual"])
    )
    if not len(both):
        return nothing("runs with a drop of 0.1 and their partners at 0.01")
    rise, usual = (both.groupby("seed")[c].mean() for c in ("rise", "usual"))
    parts = {"after a drop of 0.1": by_interval(rise, "test error changes by", "above"),
             "excess over a drop of 0.01": by_interval(rise - usual, "", "above")}  # fmt: skip
    return together(parts)


def _with_rise(runs: pd.DataFrame) -> pd.DataFrame:
    if not len(runs):
        return pd.DataFrame(columns=[*MATCH, "rise"]).set_index(MATCH)
    rises = [rise_after_drop(curve, epochs) for curve, epochs in zip(runs["curve"], runs["epochs"], strict=True)]
    return runs.assign(rise=rises).set_index(MATCH)


def unstable(status: str, curve: list[dict], epochs: int) -> bool:
    """Diverged, or the training loss rose from one evaluation to the next within the first quarter of the epochs."""
    losses = [row["training_loss"] for row in curve if row["epoch"] <= 0.25 * epochs]
    return status != "finished" or any(b > a for a, b in pairwise(losses))


def p2_runs(evidence: Evidence) -> Finding:
    if evidence.records is None or not len(evidence.records):
        return nothing("runs with last bias 0")
    records = evidence.records[evidence.records["dataset"].isin(SETS)]
    zero = changed(records).query("switch == 'last_bias' and value == 'zero'").set_index(MATCH)
    prior = reference(records).set_index(MATCH)
    both = zero.index.intersection(prior.index)
    if not len(both):
        return nothing("runs with last bias 0 and their partners")
    counts = [sum(unstable(r.status, r.curve, r.epochs) for r in f.loc[both].itertuples()) for f in (zero, prior)]
    n = len(both)
    p = float(
        stats.fisher_exact([[counts[0], n - counts[0]], [counts[1], n - counts[1]]], alternative="greater").pvalue
    )
    words = (
        f"unstable at the start: {counts[0]} of {n} with 0, {counts[1]} of {n} with -log(C - 1) (Fisher p = {p:.2g})"
    )
    if n < SEEDS:
        return Finding(INCONCLUSIVE, f"{words}; a verdict needs {SEEDS} pairs")
    return Finding(
        REPLICATED if p < LEVEL else CONTRADICTED if n >= 2 * SEEDS and counts[0] == 0 else INCONCLUSIVE, words
    )
