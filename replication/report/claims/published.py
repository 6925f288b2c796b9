"""Rules that the paper's own printed numbers decide.

A statement about every cell ("always", "each", "consistent") stands or falls literally with the printed cells; a
tendency ("in most cases", "in general", "grows") needs an exact test at the 5 % level.
"""

import math

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.measured import fixed_beta
from replication.report.analysis.selection import improvements, published_luck, rerun_sd
from replication.report.analysis.statistics import SIGNIFICANCE, trend_test
from replication.report.claims.evidence import Evidence
from replication.report.claims.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    REPLICATED,
    Finding,
    by_signs,
    judged,
    nothing,
    together,
)

CLOSED = 0.75  # share of the gap to the deeper network that "comparable" must close


def printed_differences(evidence: Evidence, dataset: str) -> pd.DataFrame:
    """Class-balanced minus plain, one row per cell of the data set's printed heat map."""
    maps = evidence.heat_maps
    return paper.difference_to_plain(maps[maps["dataset"] == dataset])


def l4_published(evidence: Evidence) -> Finding:
    rows = evidence.table2[evidence.table2["imbalance_factor"] == 1]
    last, singles = rows[rows["row"] == "class_balanced"], rows[rows["row"] != "class_balanced"]
    lowest = singles.groupby("dataset")["error"].min()
    holds = bool((last.set_index("dataset")["error"] == lowest).all())
    return judged(
        holds, f"the class-balanced entries at imbalance 1 are those of the best plain loss: {lowest.to_dict()}"
    )


def r1_published(evidence: Evidence) -> Finding:
    maps = evidence.heat_maps[evidence.heat_maps["dataset"].isin(["cifar10", "cifar100"])]
    luck = published_luck(maps)
    left, n = luck["left"], len(luck)
    tendency = by_signs(-left, "columns")
    words = (
        f"best of 20 below the best of 5 plain in {(luck['gain'] > 0).sum()} of {n} columns; after the luck of the "
        f"larger choice is taken off, in {(left > 0).sum()} (by {left.min():+.2f} to {left.max():+.2f} points; sign "
        f"test over columns p = {tendency.p:.2g}), and in {(luck['left_low'] > 0).sum()} its own 95 % interval leaves "
        f"out 0; at the beta that the paper advises the mean improves in {(luck['fixed_gain'] > 0).sum()}"
    )
    worse = (published_luck(maps, 1 - SIGNIFICANCE / n)["left_high"] < 0).any()
    if worse or tendency.verdict == CONTRADICTED:
        return Finding(CONTRADICTED, words)
    return Finding(tendency.verdict if (left > 0).all() else INCONCLUSIVE, words)


def r2_published(evidence: Evidence) -> Finding:
    wide = evidence.heat_maps.pivot_table(
        index=["dataset", "beta", "imbalance_factor"], columns="label", values="error"
    )
    d = wide.drop(columns="softmax").mean(axis=1) - wide["softmax"]
    return by_signs(d, "settings where sigmoid and focal, averaged, are below softmax")


def r3_published(evidence: Evidence) -> Finding:
    cells = evidence.heat_maps[evidence.heat_maps["dataset"] == "cifar10"]
    best = paper.lowest(cells)
    at = (best["beta"] == 0.9999).sum()
    table = paper.balanced(cells).pivot_table(index=["imbalance_factor", "label"], columns="beta", values="error")
    losses = (table.idxmin(axis=1) == 0.9999).groupby(level="imbalance_factor")
    tally = ", ".join(f"{best.sum()} of {len(best)} at {factor:g}" for factor, best in losses)
    mean = (table.groupby(level="imbalance_factor").mean().idxmin(axis=1) == 0.9999).sum()
    return judged(
        at == len(best),
        f"the lowest class-balanced error is at 0.9999 at {at} of {len(best)} imbalance factors; not judged: of the "
        f"losses, 0.9999 is the best beta of {tally}, and of their mean at {mean} of {len(best)}",
    )


def r4_published(evidence: Evidence) -> Finding:
    d = printed_differences(evidence, "cifar10").query("imbalance_factor == 50 and label in @paper.FIGURE5_LOSSES")
    worse = d[d["difference"] >= 0]
    steps = d.pivot(index="label", columns="beta", values="error").sort_index(axis=1).diff(axis=1).iloc[:, 1:]
    up = int((steps.to_numpy() >= 0).sum())
    named = "; ".join(f"{r.label} at {r.beta:g}: {r.plain:.2f} -> {r.error:.2f}" for r in worse.itertuples())
    words = f"{len(d) - len(worse)} of {len(d)} improve, {up} steps to a larger beta do not lower the error"
    if named:
        words += f"; against it {named}, where reruns of one cell differ by {rerun_sd()[0]:.2f} (sd)"
    return judged(not len(worse) and not up, words)


def r5_published(evidence: Evidence) -> Finding:
    d = printed_differences(evidence, "cifar100").query("imbalance_factor == 50 and label in @paper.FIGURE5_LOSSES")
    middle, large = d.query("beta in (0.99, 0.999)"), d.query("beta == 0.9999")
    against = middle[middle["difference"] >= 0]
    named = "; ".join(f"{r.label} at {r.beta:g}: {r.plain:.2f} -> {r.error:.2f}" for r in against.itertuples())
    worse = int((large["difference"] > 0).sum())
    either = int((middle.groupby("label")["difference"].min() < 0).sum())
    words = f"at 0.99 and 0.999 {len(middle) - len(against)} of {len(middle)} improve, at 0.9999 {worse} "
    words += f"of {len(large)} are worse" + (f"; against it {named}" if named else "")
    words += f'; were "or" to mean one of the two, {either} of {middle["label"].nunique()} losses improve (not judged)'
    return judged(not len(against) and bool((large["difference"] > 0).all()), words)


def r6_published(evidence: Evidence) -> Finding:
    parts = {}
    for dataset, sign in (("cifar10", 1), ("cifar20", -1), ("cifar100", -1)):
        d = printed_differences(evidence, dataset).pivot(
            index=["label", "imbalance_factor"], columns="beta", values="error"
        )
        word = "cells lower at 0.9999 than at 0.9" if sign > 0 else "cells lower at 0.9 than at 0.9999"
        parts[paper.TITLES[dataset]] = by_signs(sign * (d[0.9999] - d[0.9]), word)
    counts = (
        improvements(evidence.heat_maps)
        .groupby("dataset", sort=False)["improved"]
        .apply(lambda s: "/".join(map(str, s)))
    )
    whole = together(parts)
    tally = ", ".join(f"{paper.TITLES[k]} {v}" for k, v in counts.items())
    return whole._replace(words=f"{whole.words}; cells that improve at 0.9/0.99/0.999/0.9999: {tally}")


def table2_gains(evidence: Evidence) -> pd.DataFrame:
    """Table 2's own gains (points): best plain row minus the class-balanced row, data sets x factors, rising.

    Imbalance 1 is left out: its class-balanced entry is the best plain one, so its gain is 0 by construction.
    """
    rows = evidence.table2.query("imbalance_factor > 1")
    keys = ["dataset", "imbalance_factor"]
    plain = rows[rows["row"] != "class_balanced"].groupby(keys)["error"].min()
    return (plain - rows[rows["row"] == "class_balanced"].set_index(keys)["error"]).unstack().sort_index(axis=1)


def r7_published(evidence: Evidence) -> Finding:
    parts, fixed = {}, []
    for dataset, gains in table2_gains(evidence).iterrows():
        parts[paper.TITLES[dataset]] = _trend(f"gains {' '.join(f'{g:.2f}' for g in gains)}, ", gains.to_numpy()[None])
        beta = fixed_beta(dataset)
        cells = -printed_differences(evidence, dataset).query("beta == @beta").pivot(
            index="label", columns="imbalance_factor", values="difference").sort_index(axis=1)  # fmt: skip
        fixed.append(f"{paper.TITLES[dataset]} at {beta:g} {_trend('', cells).words}")
    whole = together(parts)
    beside = "; not judged, five losses at the fixed beta: " + "; ".join(fixed)
    return whole._replace(words=whole.words + beside)


def _trend(words: str, table) -> Finding:
    """Do gains rise with imbalance?  Rows are losses, columns rising imbalance factors."""
    tau, p = trend_test(table)
    verdict = INCONCLUSIVE if p >= SIGNIFICANCE else REPLICATED if tau > 0 else CONTRADICTED
    return Finding(verdict, f"{words}Kendall's tau {tau:+.2f}, exact p = {p:.2g}", p)


def _large(evidence: Evidence) -> pd.DataFrame:
    table = evidence.table3.query("input == 224")
    return table.assign(balanced=table["loss"].str.startswith("CB")).set_index(["net", "balanced"])


def s1_published(evidence: Evidence) -> Finding:
    table = _large(evidence)
    errors = [c for c in table if c.endswith(("top1", "top5"))]
    d = table.xs(True, level="balanced")[errors] - table.xs(False, level="balanced")[errors]
    better = int((d < 0).to_numpy().sum())
    least, most = -d.to_numpy().max(), -d.to_numpy().min()
    return judged(
        better == d.size,
        f"lower in {better} of {d.size} (net, data set, top-1 or -5), by {least:.2f} to {most:.2f} points",
    )


def s2_published(evidence: Evidence) -> Finding:
    table, shares = _large(evidence), {}
    for column, deeper in (("inat17_top1", "ResNet-152"), ("inat18_top1", "ResNet-152"), ("ilsvrc_top1", "ResNet-101")):
        shallow, balanced = table.loc[("ResNet-50", False), column], table.loc[("ResNet-50", True), column]
        gap = shallow - table.loc[(deeper, False), column]
        shares[column.split("_")[0]] = float((shallow - balanced) / gap) if gap else math.nan
    words = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    if not all(math.isfinite(s) for s in shares.values()):
        return nothing("gap between the networks")
    return judged(
        min(shares.values()) >= CLOSED, f"share of the gap to the deeper network that the loss closes, top-1: {words}"
    )
