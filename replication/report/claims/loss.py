"""The statements on the class-balanced loss and its weights: L1 to L4 and R8."""

from itertools import product

import numpy as np
import pandas as pd

from replication.data.long_tail import long_tailed_counts
from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis.published import SIZES, TABLE2_SETS, TITLES
from replication.report.claims.evidence import Evidence, statement

EXACT = 1e-12
SAME_SCALE = 2.0  # "roughly the same scale": within a factor of 2
NEAR, NEARLY_EQUAL = 0.75, 1.05  # R8: E_n/n of every class at least; largest E_n over the smallest at most


@statement("L1")
def l1(e: Evidence):
    counts, weights = np.array(long_tailed_counts(5000, 10, 100)), e.class_balanced_weights
    none, inverse = np.abs(weights(counts, 0.0) - 1).max(), (1 / counts) / (1 / counts).mean()
    gap = np.abs(weights(counts, 1 - 1e-12) / inverse - 1).max()
    ratios = np.array([(w := weights(counts, 1 - 10.0**-k))[-1] / w[0] for k in np.linspace(0, 9, 46)])
    smooth = (np.diff(ratios) >= -1e-12).all() and np.diff(np.log(ratios)).max() < np.log(10)
    return dict(none=none, gap=gap), dict(derivation=none == 0 and gap < 1e-6 and smooth)


def average_weight(e: Evidence, dataset: str, factor: float, beta: float) -> float:
    """Return the average class-balanced weight over the training images of a long-tailed set."""
    counts = np.array(long_tailed_counts(*SIZES[dataset], factor))
    return float((counts * e.class_balanced_weights(counts, beta)).sum() / counts.sum())


def loss_ratios(e: Evidence) -> pd.DataFrame:
    """Return plain over class-balanced (0.9999) training loss, first and last evaluation, softmax pairs by seed."""
    rows = e.full.pairs.query("label == 'softmax' and beta == 0.9999 and imbalance_factor > 1")
    rows = rows.set_index(["dataset", "imbalance_factor"])
    curves = zip(rows["curve_plain"], rows["curve"], strict=True)
    ratios = [[plain[k]["training_loss"] / balanced[k]["training_loss"] for k in (0, -1)] for plain, balanced in curves]
    return pd.DataFrame(ratios, index=rows.index, columns=["first", "last"])


@statement("L2")
def l2(e: Evidence):
    shrink = {cell: 1 / average_weight(e, *cell) for cell in product(TABLE2_SETS, IMBALANCE_FACTORS, BETAS[1:])}
    off = [b for (_, _, b), v in shrink.items() if not 1 / SAME_SCALE <= v <= SAME_SCALE]
    strong = [v for (_, f, b), v in shrink.items() if b == 0.9999 and f >= 100]
    ratios = loss_ratios(e)
    means = ratios.groupby(["dataset", "imbalance_factor"]).mean().itertuples()
    said = [f"{TITLES[r.Index[0]]} at {r.Index[1]:g}: {r.first:.1f} at first, {r.last:.2f} at last" for r in means]
    same = ratios.stack().between(1 / SAME_SCALE, SAME_SCALE).all() if len(ratios) else None
    numbers: dict = dict(scale=SAME_SCALE, off=len(off), settings=len(shrink), smallest_beta=min(off, default=1))
    numbers |= dict(least=min(strong), most=max(strong), ratios="; ".join(said))
    return numbers, dict(derivation=not off, runs=same)


@statement("L3")
def l3(e: Evidence):
    counts, beta = np.array(long_tailed_counts(500, 100, 50)), 0.99
    ratio = e.class_balanced_weights(counts, beta) * (1 - beta**counts) / (1 - beta)
    return {}, dict(derivation=np.ptp(ratio) < EXACT * ratio.min())


@statement("L4")
def l4(e: Evidence):
    gap = max(float(np.abs(e.class_balanced_weights([5000] * 10, b) - 1).max()) for b in (*BETAS, 1.0))
    rows = e.table2[e.table2["imbalance_factor"] == 1]
    last, singles = rows[rows["row"] == "class_balanced"], rows[rows["row"] != "class_balanced"]
    alike = last.set_index("dataset")["error"] == singles.groupby("dataset")["error"].min()
    pairs = [p.pairs.query("imbalance_factor == 1 and not across")["difference"] for p in e.profiles.values()]
    n, equal = sum(map(len, pairs)), sum(int((difference == 0).sum()) for difference in pairs)
    return dict(gap=gap, n=n, equal=equal), dict(derivation=gap == 0, print=alike.all(), runs=equal == n if n else None)


@statement("R8")
def r8(e: Evidence):
    counts = np.array(long_tailed_counts(5000, 10, 50))
    near, small = (e.effective_number(counts, 0.9999) / counts).min(), e.effective_number(counts, 0.9)
    spread = small.max() / small.min()
    return dict(near=near, spread=spread), dict(derivation=near >= NEAR and spread <= NEARLY_EQUAL)
