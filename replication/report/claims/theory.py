"""Rules for the claims that theory decides: exact arithmetic (L1-L4, R8, T1-T3) and the simulated covering (T1-T6)."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
from scipy import stats

from replication.data.long_tail import long_tailed_counts
from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis.statistics import SIGNIFICANCE
from replication.report.claims.evidence import Evidence
from replication.report.claims.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_MEASURED,
    REPLICATED,
    Finding,
    judged,
    nothing,
)
from replication.theory import torus
from replication.theory.covering import check
from replication.theory.near_duplicates import AUGMENTATIONS

FEWEST_ROWS = 20  # of a simulation that is to decide anything
EXACT = 1e-12
SAME_SCALE = 2.0
NEAR, ALIKE = 0.75, 1.05


def occupancy_mean(volume: int, n: int) -> Fraction:
    """Expected number of distinct prototypes after n draws from `volume`, by exact recursion over the distribution."""
    chance = {0: Fraction(1)}
    for _ in range(n):
        step: dict[int, Fraction] = {}
        for covered, p in chance.items():
            hit = Fraction(covered, volume)
            step[covered] = step.get(covered, Fraction(0)) + p * hit
            step[covered + 1] = step.get(covered + 1, Fraction(0)) + p * (1 - hit)
        chance = step
    return sum((covered * p for covered, p in chance.items()), Fraction(0))


def t1_exact(evidence: Evidence) -> Finding:
    cases = [(volume, n) for volume in range(1, 7) for n in range(1, 13)]
    formula = [float(evidence.effective_number(n, (volume - 1) / volume)) for volume, n in cases]
    exact = np.array([float(occupancy_mean(volume, n)) for volume, n in cases])
    worst = float(np.max(np.abs(np.array(formula) / exact - 1)))
    return judged(worst < EXACT, f"N = 1 to 6, n = 1 to 12 by exact fractions: largest relative difference {worst:.1e}")


def _rows(evidence: Evidence, prototypes: bool) -> pd.DataFrame:
    if evidence.verify is None:
        return pd.DataFrame()
    return evidence.verify[(evidence.verify["geometry"] == "prototypes") == prototypes]


def _checked(rows: pd.DataFrame, about: str) -> Finding:
    if not len(rows):
        return nothing("simulation of the covering")
    result = check(rows)
    words = (
        f"{about}: largest |z| {result.largest_z:.2f} of {len(rows)} rows, bound {result.bound:.2f}; "
        f"{result.variances} of {result.known} known variances checked, smallest corrected p {result.smallest_p:.2g}"
    )
    if len(rows) < FEWEST_ROWS and result.passed:
        return Finding(INCONCLUSIVE, f"{words}; too few rows to decide")
    return judged(result.passed, words)


def t1_simulation(evidence: Evidence) -> Finding:
    return _checked(_rows(evidence, prototypes=True), "without partial overlap")


def t2_exact(evidence: Evidence) -> Finding:
    n, worst = np.arange(1, 201), 0.0
    for beta in (0.5, 0.9, 0.99, 0.999):
        steps = np.diff(np.concatenate([[0.0], [evidence.effective_number(k, beta) for k in n]]))
        total = float(evidence.effective_number(1e9, beta))
        worst = max(worst, float(np.max(np.abs(steps - beta ** (n - 1.0)))), abs(total * (1 - beta) - 1))
    return judged(
        worst < 1e-10, f"increments against beta^(j-1) and total against 1/(1-beta): largest difference {worst:.1e}"
    )


def t2_simulation(evidence: Evidence) -> Finding:
    rows = _rows(evidence, prototypes=True)
    late = rows[rows["n"] >= 5 * rows["N"]] if len(rows) else rows
    return _checked(late, "n >= 5 N, where the volume is nearly all covered")


def t3_exact(evidence: Evidence) -> Finding:
    one = [float(evidence.effective_number(n, 0.0)) for n in (1, 2, 10, 10**6)]
    many = [float(evidence.effective_number(n, 1 - 1e-12)) / n - 1 for n in (1, 10, 1000, 10**5)]
    worst = max(abs(v) for v in many)
    holds = all(v == 1 for v in one) and worst <= 1e-7
    return judged(
        holds, f"beta 0: E_n = {max(one):g} for every n; N = 1e12: E_n / n - 1 at most {worst:.1e} up to n = 1e5"
    )


def t3_simulation(evidence: Evidence) -> Finding:
    rows = _rows(evidence, prototypes=True)
    if not len(rows):
        return nothing("simulation of the covering")
    one, large = rows[rows["N"] == 1], rows[(rows["N"] >= 1e4) & (rows["n"] <= rows["N"] / 100)]
    if not len(one) or not len(large):
        return nothing("rows with N = 1 and with N >= 1e4, n <= N / 100")
    gap = float((large["mean"] / large["n"] - 1).abs().max())
    holds = bool((one["mean"] == 1).all()) and gap <= 0.01
    return judged(
        holds, f"N = 1: every mean is {one['mean'].max():g}; N >= 1e4, n <= N / 100: mean within {100 * gap:.2f} % of n"
    )


def t4_simulation(evidence: Evidence) -> Finding:
    rows = _rows(evidence, prototypes=False)
    if not len(rows):
        return nothing("simulation with partial overlap")
    shapes = rows[["geometry", "d"]].drop_duplicates()
    result = check(rows)
    volume = round(rows["N"].min())
    spread = [torus.exact_sd(geometry, d, volume, volume)[0] for geometry, d in shapes.itertuples(index=False)]
    words = (
        f"on the torus, {len(shapes)} shapes and dimensions: the mean is E_n in all (largest |z| "
        f"{result.largest_z:.2f}, bound {result.bound:.2f}); its standard deviation is from {np.nanmin(spread):.2f} to "
        f"{np.nanmax(spread):.2f} (exact, n = N = {volume})"
    )
    words += _with_an_edge(evidence.departures)
    if len(rows) < FEWEST_ROWS or len(shapes) < 3:
        return Finding(INCONCLUSIVE, f"too few rows or shapes; {words}")
    if not result.passed:
        return Finding(
            REPLICATED, f"the mean departs from E_n: largest |z| {result.largest_z:.2f}, bound {result.bound:.2f}"
        )
    return Finding(CONTRADICTED, words)


def _with_an_edge(frame: pd.DataFrame | None) -> str:
    """How far the same sets fall short of E_n where the space ends, by dimension, and how far dimensions differ."""
    rows = frame[frame["geometry"] == "bounded"] if frame is not None else pd.DataFrame(columns=["d"])
    if rows["d"].nunique() < 2:
        return ""
    shortfall = 100 * (1 - (rows["exact_mean"] / rows["E_n"])[rows["n"] >= rows["N"] / 2].groupby(rows["d"]).min())
    mean, error = (rows.pivot(index="n", columns="d", values=v) for v in ("mean", "standard_error"))
    low, high = mean.columns.min(), mean.columns.max()
    z = ((mean[low] - mean[high]).abs() / np.hypot(error[low], error[high])).max()
    falls = ", ".join(f"{v:.1f} % (d = {d})" for d, v in shortfall.items())
    return (
        f"; on a space that ends it falls short of E_n, from n = N/2 on by up to {falls}, exact; simulated, d = {low} "
        f"and d = {high} differ by up to {z:.1f} standard errors"
    )


def t5_near_duplicates(evidence: Evidence) -> Finding:
    frame = evidence.near_duplicates
    if frame is None or not set(AUGMENTATIONS[:2]) <= set(frame["augmentation"]):
        return nothing("near-duplicate counts with and without crop and flip")
    frame = pd.concat([frame, evidence.random_crops]) if evidence.random_crops is not None else frame
    frame = frame[frame["dataset"] == "cifar10"]  # digits decide nothing about the paper
    keys, columns = ["dataset", "class_name", "radius"], ["N", "N_low", "N_high"]
    without, with_all, single = (frame[frame["augmentation"] == a].set_index(keys)[columns] for a in AUGMENTATIONS)
    both = without.join(with_all.add_suffix("_with"), how="inner")  # no copies close: N infinite, and it did not fall
    if not len(both):
        return nothing("class of CIFAR-10 counted both ways")
    cases = pd.DataFrame(dict(apart=both["N_high_with"] < both["N_low"], falls=both["N_with"] < both["N"]))
    by_radius = cases.groupby("radius")
    words = "; ".join(
        f"radius {radius:.3g}: counting all copies, N falls in {g['falls'].sum()} of {len(g)} classes, beyond both "
        f"intervals in {g['apart'].sum()}"
        for radius, g in by_radius
    )
    words += "; that it never rises is built in, so it is the size of the fall that is evidence"
    alone = without.join(single.add_suffix("_single"), how="inner")
    if len(alone):
        lower, higher = (int(side.sum()) for side in (alone["N_single"] < alone["N"], alone["N_single"] > alone["N"]))
        words += f"; with one random copy in place of each image N falls in {lower} and rises in {higher}"
        words += f" of {len(alone)}"
    if (by_radius["falls"].mean() < 0.5).all():
        return Finding(CONTRADICTED, words)
    holds = (by_radius["apart"].mean() > 0.5) & (by_radius.size() >= 5)
    return judged(bool(holds.all()), words, INCONCLUSIVE)


def t6_near_duplicates(evidence: Evidence) -> Finding:
    frame = evidence.near_duplicates
    if frame is None or not {"cifar10", "cifar100"} <= set(frame["dataset"]):
        return nothing("near-duplicate counts of CIFAR-10 and CIFAR-100")
    finding, within = (_smaller_volumes(frame, "cifar100", coarse) for coarse in ("cifar10", "cifar20"))
    told = "" if within.verdict == NOT_MEASURED else f"; not judged, against CIFAR-20: {within.words}"
    return finding._replace(words=f"against CIFAR-10: {finding.words}{told}")


def _smaller_volumes(frame: pd.DataFrame, fine: str, coarse: str) -> Finding:
    """Whether the classes of one data set have a smaller N than those of another, without augmentation."""
    words, sides = [], set()
    for radius, rows in frame[frame["augmentation"] == "none"].groupby("radius"):
        here, other = (rows.loc[rows["dataset"] == d, "N"] for d in (fine, coarse))
        if len(here) and len(other):
            p = float(stats.mannwhitneyu(here, other).pvalue)
            sides.add(None if p >= SIGNIFICANCE else bool(here.median() < other.median()))
            words.append(
                f"radius {radius:.3g}: median N {here.median():.3g} against {other.median():.3g} (p = {p:.2g})"
            )
    if not words:
        return nothing("common radius")
    verdict = {frozenset([True]): REPLICATED, frozenset([False]): CONTRADICTED}.get(frozenset(sides), INCONCLUSIVE)
    return Finding(verdict, "; ".join(words))


def l1_exact(evidence: Evidence) -> Finding:
    counts = np.array(long_tailed_counts(5000, 10, 100))
    weights = evidence.class_balanced_weights
    none = np.abs(weights(counts, 0.0) - 1).max()
    inverse = (1 / counts) * len(counts) / (1 / counts).sum()
    gap = np.abs(weights(counts, 1 - 1e-12) / inverse - 1).max()
    grid = [1 - 10.0**-k for k in np.linspace(0, 9, 46)]
    ratios = np.array([weights(counts, b)[-1] / weights(counts, b)[0] for b in grid])
    smooth = bool((np.diff(ratios) >= -1e-12).all() and np.diff(np.log(ratios)).max() < np.log(10))
    words = f"beta 0: weights 1 within {none:.0e}; beta = 1 - 1e-12: inverse frequency within {gap:.0e}"
    return judged(bool(none == 0 and gap < 1e-6 and smooth), words + "; tail over head rises steadily between" * smooth)


def average_weight(evidence: Evidence, factor: float) -> float:
    """Average class-balanced weight at beta 0.9999 over the training images of long-tailed CIFAR-10."""
    counts = np.array(long_tailed_counts(5000, 10, factor))
    return float((counts * evidence.class_balanced_weights(counts, 0.9999)).sum() / counts.sum())


def l2_exact(evidence: Evidence) -> Finding:
    shrink = {f: 1 / average_weight(evidence, f) for f in sorted(IMBALANCE_FACTORS)}
    words = ", ".join(f"1/{v:.2f} at {f:g}" for f, v in shrink.items())
    holds = all(1 / SAME_SCALE <= v <= SAME_SCALE for v in shrink.values())
    return judged(holds, f"average loss weight on CIFAR-10, beta 0.9999: {words}")


def l3_exact(evidence: Evidence) -> Finding:
    counts, beta = np.array(long_tailed_counts(500, 100, 50)), 0.99
    ratio = evidence.class_balanced_weights(counts, beta) * (1 - beta**counts) / (1 - beta)
    spread = float(ratio.max() / ratio.min() - 1)
    below = 10.0 ** math.ceil(math.log10(max(spread, 1e-15)))  # the last digits differ between machines
    words = f"weights over alpha_t on long-tailed CIFAR-100 are one constant (to better than {below:.0e})"
    return judged(spread < EXACT, words)


def l4_exact(evidence: Evidence) -> Finding:
    gap = max(float(np.abs(evidence.class_balanced_weights([5000] * 10, b) - 1).max()) for b in (*BETAS, 1.0))
    return judged(gap == 0, f"imbalance 1: weights differ from 1 by {gap:g} at every beta")


def r8_exact(evidence: Evidence) -> Finding:
    counts = np.array(long_tailed_counts(5000, 10, 50))
    near = float((evidence.effective_number(counts, 0.9999) / counts).min())
    small = evidence.effective_number(counts, 0.9)
    alike = float(small.max() / small.min())
    words = f"imbalance 50: E_n / n is {near:.2f} or more at beta 0.9999; largest over smallest {alike:.3f} at beta 0.9"
    return judged(near >= NEAR and alike <= ALIKE, words)
