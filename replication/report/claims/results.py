"""Statements on errors: R1 to R6 from the paper's printed numbers and the plan's runs."""

from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from replication.data.long_tail import long_tailed_counts
from replication.report.analysis import published as paper
from replication.report.analysis.measured import fixed_beta
from replication.report.analysis.selection import agreement_probability, replicate_sd, rerun_sd
from replication.report.claims.evidence import Evidence, Weighing, statement
from replication.report.claims.finding import CONSISTENT, INCONSISTENT, Finding

HIGH, LOW = (200.0, 100.0, 50.0), (20.0, 10.0)  # imbalance factors that R6 treats separately


def figure5_differences(e: Evidence, dataset: str) -> pd.DataFrame:
    """Return class-balanced minus plain in the cells of Figure 5: imbalance 50, three losses."""
    maps = e.heat_maps.query("imbalance_factor == 50 and label in @paper.FIGURE5_LOSSES")
    return paper.difference_to_plain(maps[maps["dataset"] == dataset])


@statement("R1")
def r1(e: Evidence):
    bias, columns = e.selection_bias, len(e.selection_bias)
    better, left, alone = (bias[["change", "change_corrected", "change_corrected_high"]] < 0).sum()
    fixed = bias["fixed_change"]
    word = f"{(fixed < 0).sum()} of {columns} better, {(fixed > 0).sum()} worse"
    what = f"one beta ({fixed_beta('cifar10'):g}; {fixed_beta('cifar100'):g}), mean over five losses"
    beside = Finding(what, word, notes=(f"by {fixed.min():+.2f} to {fixed.max():+.2f} points",))
    numbers: dict = dict(better=better, left=left, alone=alone, columns=columns)
    numbers |= dict(chance=agreement_probability(replicate_sd()[0]))
    return numbers, dict(print=(better == columns, beside))


@statement("R2")
def r2(e: Evidence):
    plain = e.heat_maps.query("beta == 0 and dataset in @paper.TABLE2_SETS")
    wide = plain.pivot_table(index=["dataset", "imbalance_factor"], columns="label", values="error")
    d = wide.drop(columns="softmax").mean(axis=1) - wide["softmax"]
    lower, columns = (d < 0).sum(), len(d)
    p = stats.binomtest(lower, columns).pvalue
    return dict(lower=lower, columns=columns, p=p, mean=d.mean()), dict(print=lower > columns / 2)


def printed_regret(e: Evidence) -> pd.Series:
    """Return the lowest printed error at 0.9999 minus the lowest at any other beta above 0, by imbalance, CIFAR-10."""
    cells = e.heat_maps.query("beta > 0 and dataset == 'cifar10'")
    lowest = cells.groupby(["imbalance_factor", "beta"])["error"].min().unstack()
    return lowest[0.9999] - lowest.drop(columns=0.9999).min(axis=1)


@statement("R3")
def r3(e: Evidence):
    regret = printed_regret(e)
    said = ", ".join(f"{value:+.2f} at {factor:g}" for factor, value in regret[::-1].items())
    return dict(closest=-regret.max(), regrets=said), dict(print=(regret <= 0).all())


@statement("R4")
def r4(e: Evidence):
    gap = np.abs(e.class_balanced_weights(long_tailed_counts(5000, 10, 50), 0.9) - 1).max()
    here = figure5_differences(e, "cifar10")
    d, none = here[here["beta"] > 0.9], here[here["beta"] == 0.9]
    steps = np.diff(d.pivot(index="label", columns="beta", values="error"))
    better, down = (d["difference"] < 0).sum(), (steps < 0).sum()
    at_09 = ", ".join(f"{r.label} {r.plain:.2f} -> {r.error:.2f}" for r in none.itertuples())
    numbers: dict = dict(gap=gap, at_09=at_09, better=better, cells=len(d), down=down, steps=steps.size)
    numbers |= dict(sd=replicate_sd()[0], sd_of_all=replicate_sd(HIGH + LOW)[0], sd_of_reruns=rerun_sd()[0])
    return numbers, dict(derivation=gap > 1e-3, print=better == len(d) and down == steps.size)


@statement("R5a")
def r5a(e: Evidence):
    d = figure5_differences(e, "cifar100")
    right = ((d["difference"] < 0) == (d["beta"] < 0.995)).sum()
    return dict(right=right, cells=len(d)), dict(print=right == len(d))


@statement("R5b")
def r5b(e: Evidence):
    d = figure5_differences(e, "cifar100").query("beta in (0.99, 0.999)")
    printed = []
    for beta, group in d.groupby("beta"):
        said = ", ".join(f"{r.label} {r.difference:+.2f}" for r in group.itertuples())
        word = CONSISTENT if (group["difference"] < 0).all() else INCONSISTENT
        printed.append(Finding(f"beta {beta:g} against plain", word, notes=(said,)))
    word = INCONSISTENT if INCONSISTENT in {f.word for f in printed} else CONSISTENT
    return dict(worse=(d.query("beta == 0.999")["difference"] > 0).sum()), dict(print=Weighing("print", word, printed))


@statement("R6")
def r6(e: Evidence):
    cells = e.heat_maps.pivot(index=["dataset", "label", "imbalance_factor"], columns="beta", values="error")
    difference = (cells[0.9999] - cells[0.99]).rename("difference").reset_index()
    findings: list[Finding] = []
    for (dataset, sign), factors in product((("cifar10", -1), ("cifar20", 1), ("cifar100", 1)), (HIGH, LOW)):
        part = difference.query("dataset == @dataset and imbalance_factor in @factors")["difference"]
        what = f"{paper.TITLES[dataset]} at imbalance {max(factors):g} to {min(factors):g}, 0.9999 minus 0.99"
        note = f"{(sign * part > 0).sum()} of {len(part)} cells as the paper says"
        word = CONSISTENT if sign * part.mean() > 0 else INCONSISTENT
        findings.append(Finding(what, word, part.mean(), notes=(note,)))
    high, low = findings[::2], findings[1::2]  # the product alternates HIGH and LOW
    word = INCONSISTENT if INCONSISTENT in {f.word for f in high} else CONSISTENT
    but = ", ".join(f.what.split(" at ")[0] for f in low if f.word != word)
    but = f", but not on {but} at 20 and 10" if but else ""
    return dict(word=word, but=but), dict(print=Weighing("print", word, findings))
