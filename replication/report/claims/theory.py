"""The statements on the effective number, decided by derivations and simulations: T1 to T6."""

from fractions import Fraction
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from replication.report.analysis.published import TITLES
from replication.report.analysis.statistics import SIGNIFICANCE
from replication.report.claims.evidence import Evidence, Weighing, statement
from replication.report.claims.finding import CONFIRMED, REFUTED, UNDECIDED, Finding
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


def _checked(rows: pd.DataFrame, enough: bool = True) -> tuple[dict, bool | str | None]:
    """Check simulated means and variances, at a level fixed for the whole table; too few rows decide nothing."""
    if not len(rows):
        return {}, None
    result = check(rows)
    decided = not result.passed or (enough and len(rows) >= FEWEST_ROWS)
    return result._asdict() | {"rows": len(rows)}, result.passed if decided else UNDECIDED


def variances(table: pd.DataFrame) -> dict[str, float]:
    """Return how many rows of the table meet the rule on variances, how many of them are tested or left out."""
    meet, tested = int(np.logical_and(*variance_rows(table)).sum()), check(table).variances
    return dict(meet=meet, tested=tested, left_out=meet - tested, least=FOR_VARIANCE)


@statement("T1")
def t1(e: Evidence):
    cases = list(product(range(1, 7), range(1, 13)))
    worst = max(abs(float(e.effective_number(n, (N - 1) / N)) / float(occupancy_mean(N, n)) - 1) for N, n in cases)
    numbers, simulated = _checked(_rows(e, prototypes=True))
    numbers |= variances(e.covering["verify"]) if numbers else {}
    return numbers | dict(worst=worst, cases=len(cases)), dict(derivation=worst < EXACT, simulation=simulated)


@statement("T2")
def t2(e: Evidence):
    n, beta = np.arange(201), np.array([[0.5], [0.9], [0.99], [0.999]])
    off = np.abs(np.diff(e.effective_number(n, beta)) - beta ** n[:-1])  # (4, 200)
    worst = max(off.max(), np.abs(e.effective_number(1e9, beta) * (1 - beta) - 1).max())
    rows = _rows(e, prototypes=True)
    numbers, simulated = _checked(rows[rows["n"] >= 5 * rows["N"]])
    return numbers | dict(worst=worst), dict(derivation=worst < 1e-10, simulation=simulated)


@statement("T3")
def t3(e: Evidence):
    one = {float(e.effective_number(n, 0.0)) for n in (1, 2, 10, 10**6)}
    worst = max(abs(float(e.effective_number(n, 1 - 1e-12)) / n - 1) for n in (1, 10, 1000, 10**5))
    rows, simulated, numbers = _rows(e, prototypes=True), None, dict(one=max(one), worst=worst)
    first, large = rows[rows["N"] == 1]["mean"], rows[(rows["N"] >= 1e4) & (rows["n"] <= rows["N"] / 100)]
    if len(first) and len(large):
        gap = float((large["mean"] / large["n"] - 1).abs().max())
        simulated = bool((first == 1).all()) and gap <= 0.01
        numbers |= dict(first=first.max(), gap=gap)
    return numbers, dict(derivation=one == {1} and worst <= 1e-7, simulation=simulated)


@statement("T4a")
def t4a(e: Evidence):
    rows = _rows(e, prototypes=False)
    shapes = rows[["geometry", "d"]].drop_duplicates()
    numbers, simulated = _checked(rows, len(shapes) >= 3)
    if numbers:
        volume = round(rows["N"].min())
        sds = [torus.exact_sd(g, d, volume, volume)[0] for g, d in shapes.itertuples(index=False)]
        numbers |= dict(volume=volume, least=np.nanmin(sds), most=np.nanmax(sds))
    return numbers | dict(shapes=len(shapes)), dict(simulation=simulated)


@statement("T4b")
def t4b(e: Evidence):
    frame = e.covering.get("wholly_inside")
    if frame is None:
        return {}, dict(simulation=None)
    bound, largest = stats.norm.isf(TABLE_LEVEL / (2 * len(frame))), frame["z"].abs().max()
    shown = frame[frame["d"].isin([1, 3, 10, 30])].itertuples()
    numbers = dict(N=frame["N"].iloc[0], n=frame["n"].iloc[0], largest=largest, bound=bound, rows=len(frame))
    numbers |= dict(shares=", ".join(f"{row.share:.2f} (d = {row.d})" for row in shown))
    return numbers, dict(simulation=largest < bound and np.ptp(frame["share"]) > 0.05)


@statement("T5")
def t5(e: Evidence):
    none, crops, single = AUGMENTATIONS
    frames = [e.covering[name] for name in ("near_duplicates", "random_crops") if name in e.covering]
    frame = pd.concat(frames or [pd.DataFrame(columns=["dataset", "augmentation"])])
    frame = frame[frame["dataset"] == "cifar10"]  # digits are not evidence about the paper
    if not {none, crops} <= set(frame["augmentation"]):
        return {}, dict(simulation=None)
    wide = frame.pivot(index=["radius", "class_name"], columns="augmentation", values=["N", "N_low", "N_high"])
    falls, apart = wide["N", crops] < wide["N", none], wide["N_high", crops] < wide["N_low", none]
    by_radius = pd.DataFrame({"falls": falls, "apart": apart}).groupby("radius")  # an infinite N did not fall
    notes = [
        f"radius {radius:.3g}: N falls in {g['falls'].sum()} of {len(g)} classes, "
        f"beyond both intervals in {g['apart'].sum()} (counting all copies it cannot rise)"
        for radius, g in by_radius
    ]
    if single in wide["N"]:
        rises = int((wide["N", single] > wide["N", none]).sum())
        notes.append(f"with one random copy in place of each image N rises in {rises} of {len(wide)} cases")
    clear = ((by_radius["apart"].mean() > 0.5) & (by_radius.size() >= 5)).all()
    word = CONFIRMED if clear else REFUTED if (by_radius["falls"].mean() < 0.5).all() else UNDECIDED
    return dict(notes="; ".join(notes)), dict(simulation=word)


@statement("T6")
def t6(e: Evidence):
    frame = e.covering.get("near_duplicates")
    if frame is None or not {"cifar10", "cifar100"} <= set(frame["dataset"]):
        return {}, dict(simulation=None)
    findings = [_smaller_volumes(frame, name) for name in ("cifar10", "cifar20") if name in set(frame["dataset"])]
    word = findings[0].word  # CIFAR-20's classes consist of CIFAR-100's: reported, but not counted
    return {}, dict(simulation=Weighing("simulation", word, findings))


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
