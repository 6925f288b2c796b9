"""The statements on the effective number, decided by derivations and simulations: T1 to T6."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from replication.report.analysis.published import TITLES
from replication.report.analysis.statistics import SIGNIFICANCE
from replication.report.claims.evidence import Evidence, settle, statement, weigh
from replication.report.claims.finding import CONFIRMED, NOT_RUN, REFUTED, UNDECIDED, Finding, from_bool
from replication.theory import torus
from replication.theory.covering import FOR_VARIANCE, TABLE_LEVEL, check, variance_rows
from replication.theory.near_duplicates import AUGMENTATIONS

FEWEST_ROWS = 20  # level of a simulation that decides a statement
EXACT = 1e-12


def occupancy_mean(volume: int, n: int) -> Fraction:
    """Return the expected number of distinct prototypes after n draws from `volume`, by exact recursion.

    A draw adds a prototype with probability 1 - covered/volume, which is linear, so the mean obeys it too.

    >>> occupancy_mean(2, 2)
    Fraction(3, 2)
    """
    mean = Fraction(0)
    for _ in range(n):
        mean += 1 - mean / volume
    return mean


def _rows(e: Evidence, prototypes: bool) -> pd.DataFrame:
    table = e.covering.get("verify", pd.DataFrame(columns=["geometry", "d", "N", "n", "mean"]))
    return table[(table["geometry"] == "prototypes") == prototypes]


def _checked(rows: pd.DataFrame, about: str, enough: bool = True) -> Finding:
    """Check simulated means and variances against the exact ones, at a level fixed for the whole table."""
    if not len(rows):
        return Finding(about, NOT_RUN)
    result = check(rows)
    notes = (f"largest |z| {result.largest_z:.2f} of {len(rows)} means, bound {result.bound:.2f}",
             f"{result.variances} variances checked, smallest corrected p {result.smallest_p:.2g}")  # fmt: skip
    finding = from_bool("simulation", result.passed, about, *notes, n=len(rows))
    undecided = result.passed and not (enough and len(rows) >= FEWEST_ROWS)
    return replace(finding, word=UNDECIDED) if undecided else finding


def variance_clause(table: pd.DataFrame) -> str:
    """Return how many rows of the table meet the rule on variances, how many are tested, and the clause between."""
    meet, tested = int(np.logical_and(*variance_rows(table)).sum()), check(table).variances
    return (f"variances of the whole table: {meet} rows meet the rule (replicates x variance at least "
            f"{FOR_VARIANCE:g}; on the torus also sd at least 1 and E_n at least 3 sd from both ends), {tested} of "
            f"them are tested; {meet - tested} with an excess kurtosis of -1.9 or less is left out, for a fair coin's "
            "variance is not chi-square at any size")  # fmt: skip


@statement("T1", "Prop. 1", "theory", "Without partial overlap E_n = (1 - beta^n)/(1 - beta), beta = (N - 1)/N.")
def t1(e: Evidence):
    cases = list(product(range(1, 7), range(1, 13)))
    formula = np.array([float(e.effective_number(n, (volume - 1) / volume)) for volume, n in cases])
    worst = float(np.abs(formula / [float(occupancy_mean(*case)) for case in cases] - 1).max())
    exact = settle("derivation", worst < EXACT, "N = 1 to 6, n = 1 to 12, against exact fractions",
                   f"largest relative difference {worst:.0e}")  # fmt: skip
    simulated = _checked(_rows(e, prototypes=True), "samples inside or outside")
    if simulated.n:
        simulated = replace(simulated, notes=(*simulated.notes, variance_clause(e.covering["verify"])))
    holds = f"E_n is exact where samples never overlap in part (to {worst:.0e} in {len(cases)} cases)."
    return (holds, "The formula is not what the covering covers."), exact, weigh("simulation", simulated)


@statement("T2", "Eq. 3, 4", "theory", "The j-th sample adds beta^(j-1); the total volume is N = 1/(1 - beta).")
def t2(e: Evidence):
    n, worst = np.arange(1, 201), 0.0
    for beta in (0.5, 0.9, 0.99, 0.999):
        steps = np.diff([0.0, *(e.effective_number(k, beta) for k in n)])
        total = float(e.effective_number(1e9, beta))
        worst = max(worst, float(np.abs(steps - beta ** (n - 1.0)).max()), abs(total * (1 - beta) - 1))
    exact = settle("derivation", worst < 1e-10, "increments against beta^(j-1), total against 1/(1 - beta)",
                   f"largest difference {worst:.0e}")  # fmt: skip
    rows = _rows(e, prototypes=True)
    holds = f"The j-th sample adds beta^(j-1), and the total is 1/(1 - beta), to {worst:.0e}."
    simulated = _checked(rows[rows["n"] >= 5 * rows["N"]], "n >= 5 N")
    return (holds, "One of them does not hold."), exact, weigh("simulation", simulated)


@statement("T3", "Impl. 1", "theory", "E_n = 1 for N = 1, and E_n -> n as N -> infinity.")
def t3(e: Evidence):
    one = {float(e.effective_number(n, 0.0)) for n in (1, 2, 10, 10**6)}
    worst = max(abs(float(e.effective_number(n, 1 - 1e-12)) / n - 1) for n in (1, 10, 1000, 10**5))
    exact = settle("derivation", one == {1} and worst <= 1e-7, "N = 1, and N = 1e12 up to n = 1e5",
                   f"E_n = {max(one):g} at N = 1; E_n/n - 1 is at most {worst:.0e} at N = 1e12")  # fmt: skip
    rows, simulated = _rows(e, prototypes=True), Finding("both limits", NOT_RUN)
    first, large = rows[rows["N"] == 1]["mean"], rows[(rows["N"] >= 1e4) & (rows["n"] <= rows["N"] / 100)]
    if len(first) and len(large):
        gap = float((large["mean"] / large["n"] - 1).abs().max())
        simulated = from_bool("simulation", bool((first == 1).all()) and gap <= 0.01, "both limits",
                              f"means are {first.max():g} at N = 1, within {gap:.2%} of n at N >= 100 n")  # fmt: skip
    lines = "N = 1 gives E_n = 1 and large N gives E_n -> n.", "A limit does not hold."
    return lines, exact, weigh("simulation", simulated)


@statement("T4a", "Sec. 3.1 (ours, beyond the paper)", "theory",
           "With partial overlap, on a space without edges, the mean is E_n in every shape and dimension.")  # fmt: skip
def t4a(e: Evidence):
    rows, spread = _rows(e, prototypes=False), ""
    shapes = rows[["geometry", "d"]].drop_duplicates()
    finding = _checked(rows, f"cubes and balls on a torus, {len(shapes)} shapes and dimensions", len(shapes) >= 3)
    if len(shapes):
        volume = round(rows["N"].min())
        sds = [torus.exact_sd(g, d, volume, volume)[0] for g, d in shapes.itertuples(index=False)]
        spread = f" (sd {np.nanmin(sds):.2f} to {np.nanmax(sds):.2f} at n = N = {volume})"
    holds = f"On a space without edges the mean is E_n for all {len(shapes)} shapes; only the spread differs{spread}."
    return (holds, "The mean departs from E_n on the torus."), weigh("simulation", finding)


@statement("T4b", "Sec. 3.1", "theory",
           "With partial overlap the expected volume depends on shape and dimension (samples in S).")  # fmt: skip
def t4b(e: Evidence):
    about, frame = "cubes wholly inside a cube", e.covering.get("wholly_inside")
    if frame is None:
        return "Not run.", weigh("simulation", Finding(about, NOT_RUN))
    bound, largest = stats.norm.isf(TABLE_LEVEL / (2 * len(frame))), frame["z"].abs().max()
    note = f"largest |z| {largest:.2f} of {len(frame)}, bound {bound:.2f}"
    found = settle("simulation", bool(largest < bound and np.ptp(frame["share"]) > 0.05), about, note)
    shown = frame[frame["d"].isin([1, 2, 3, 6, 10, 30])].itertuples()
    shares = ", ".join(f"{row.share:.2f} (d = {row.d})" for row in shown)
    size = "N = {0.N:g}, n = {0.n:g}".format(frame.iloc[0])
    holds = f"As the paper says: unit cubes wholly inside S ({size}) cover {shares} of E_n."
    return (holds, "The dimension makes no difference."), found


@statement("T5", "Sec. 3.1", "theory", "Stronger augmentation means a smaller N.")
def t5(e: Evidence):
    about, (none, crops, single) = "near-duplicates of CIFAR-10 with and without crop and flip", AUGMENTATIONS
    frames = [e.covering[name] for name in ("near_duplicates", "random_crops") if name in e.covering]
    frame = pd.concat(frames or [pd.DataFrame(columns=["dataset", "augmentation"])])
    frame = frame[frame["dataset"] == "cifar10"]  # digits are not evidence about the paper
    if not {none, crops} <= set(frame["augmentation"]):
        return "Not run.", weigh("simulation", Finding(about, NOT_RUN))
    wide = frame.pivot(index=["radius", "class_name"], columns="augmentation", values=["N", "N_low", "N_high"])
    falls, apart = wide["N", crops] < wide["N", none], wide["N_high", crops] < wide["N_low", none]
    cases = pd.DataFrame({"falls": falls, "apart": apart})
    by_radius = cases.groupby("radius")  # without close copies N is infinite and did not fall
    notes = [f"radius {radius:.3g}: N falls in {g['falls'].sum()} of {len(g)} classes, beyond both intervals in "
             f"{g['apart'].sum()} (counting all copies it cannot rise)" for radius, g in by_radius]  # fmt: skip
    if single in wide["N"]:
        rises = int((wide["N", single] > wide["N", none]).sum())
        notes.append(f"with one random copy in place of each image N rises in {rises} of {len(wide)} cases")
    clear = ((by_radius["apart"].mean() > 0.5) & (by_radius.size() >= 5)).all()
    word = CONFIRMED if clear else REFUTED if (by_radius["falls"].mean() < 0.5).all() else UNDECIDED
    lines = ("N falls in most classes, beyond the intervals.", "N does not fall in most classes.",
             "With augmentation N falls, but by less than these counts can show.")  # fmt: skip
    return lines, weigh("simulation", Finding(about, word, notes=tuple(notes)))


@statement("T6", "Sec. 5.3", "theory", "A fine-grained data set has a smaller N per class than a coarse one.")
def t6(e: Evidence):
    frame = e.covering.get("near_duplicates")
    if frame is None or not {"cifar10", "cifar100"} <= set(frame["dataset"]):
        return "Not run.", weigh("simulation", Finding("CIFAR-100 against CIFAR-10", NOT_RUN))
    coarser = [dataset for dataset in ("cifar10", "cifar20") if dataset in set(frame["dataset"])]
    findings = [_smaller_volumes(frame, dataset) for dataset in coarser]
    word = findings[0].word  # CIFAR-20's classes consist of CIFAR-100's: reported, but not counted
    lines = ("CIFAR-100's classes have a smaller N than CIFAR-10's.",
             "CIFAR-100's classes have a larger N than CIFAR-10's.",
             "CIFAR-10, CIFAR-20 and CIFAR-100 show no difference in N by these counts.")  # fmt: skip
    return lines, weigh("simulation", findings, word)


def _smaller_volumes(frame: pd.DataFrame, coarse: str) -> Finding:
    """Mann-Whitney tests of N over classes, CIFAR-100 against a coarser set, without augmentation, by radius."""
    notes, sides = [], set[bool | None]()
    for radius, rows in frame[frame["augmentation"] == "none"].groupby("radius"):
        here, other = (rows.loc[rows["dataset"] == d, "N"] for d in ("cifar100", coarse))
        if len(here) and len(other):
            p = float(stats.mannwhitneyu(here, other).pvalue)
            sides.add(None if p >= SIGNIFICANCE else bool(here.median() < other.median()))
            notes.append(f"radius {radius:.3g}: median N {here.median():.3g} against {other.median():.3g}, p = {p:.2g}")
    word = CONFIRMED if sides == {True} else REFUTED if sides == {False} else UNDECIDED
    return Finding(f"CIFAR-100 against {TITLES[coarse]}", word, notes=tuple(notes))
