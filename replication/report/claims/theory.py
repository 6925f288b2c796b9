"""Statements that derivations and simulations decide: T1 to T6, L1 to L4 and R8."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from replication.data.long_tail import long_tailed_counts
from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis.published import TITLES
from replication.report.analysis.statistics import SIGNIFICANCE
from replication.report.claims.evidence import FULL, Evidence, Weighing, bottom_line, statement, weigh
from replication.report.claims.finding import CONFIRMED, NOT_RUN, REFUTED, UNDECIDED, Finding, from_bool
from replication.theory import torus
from replication.theory.covering import TABLE_LEVEL, check, variance_rows
from replication.theory.near_duplicates import AUGMENTATIONS

FEWEST_ROWS = 20  # level of a simulation that decides a statement
EXACT = 1e-12
SAME_SCALE = 2.0  # "roughly the same scale": within a factor of 2
NEAR, NEARLY_EQUAL = 0.75, 1.05  # R8: E_n/n of every class at least; largest E_n over the smallest at most
HEAD = {"cifar10": (5000, 10), "cifar100": (500, 100)}  # images of the largest class, classes


def occupancy_mean(volume: int, n: int) -> Fraction:
    """Return the expected number of distinct prototypes after n draws from `volume`, by exact recursion.

    >>> occupancy_mean(2, 2)
    Fraction(3, 2)
    """
    chance = [Fraction(1)] + [Fraction(0)] * n  # of having covered 0, 1, ..., n
    for _ in range(n):
        hit = [p * Fraction(covered, volume) for covered, p in enumerate(chance)]
        chance = [h + (chance[k - 1] - hit[k - 1] if k else 0) for k, h in enumerate(hit)]
    return sum((covered * p for covered, p in enumerate(chance)), Fraction(0))


def _rows(e: Evidence, prototypes: bool) -> pd.DataFrame:
    table = e.covering.get("verify", pd.DataFrame(columns=["geometry", "d", "N", "n", "mean"]))
    return table[(table["geometry"] == "prototypes") == prototypes]


def _checked(rows: pd.DataFrame, about: str) -> Finding:
    """Check simulated means and variances against the exact ones, at a level fixed for the whole table."""
    if not len(rows):
        return Finding(about, NOT_RUN)
    result = check(rows)
    notes = (f"largest |z| {result.largest_z:.2f} of {len(rows)} means, bound {result.bound:.2f}",
             f"{result.variances} variances checked, smallest corrected p {result.smallest_p:.2g}")  # fmt: skip
    finding = from_bool("simulation", result.passed, about, *notes, n=len(rows))
    return replace(finding, word=UNDECIDED) if result.passed and len(rows) < FEWEST_ROWS else finding


def variance_clause(table: pd.DataFrame) -> str:
    """Return how many rows of the table meet the rule on variances, and the clause that leaves some of them out.

    The rule: replicates x variance is at least 1000 and, on the torus, the count is 3 sd away from both ends.
    """
    meet, checked = int(np.logical_and(*variance_rows(table)).sum()), check(table).variances
    return (f"{meet} rows of the whole table meet the rule on variances; {meet - checked} with an excess kurtosis of "
            "-1.9 or less is left out, for a fair coin's variance is not chi-square at any size")  # fmt: skip


@statement("T1", "Prop. 1", "theory", "Without partial overlap E_n = (1 - beta^n)/(1 - beta), beta = (N - 1)/N.")
def t1(e: Evidence):
    cases = list(product(range(1, 7), range(1, 13)))
    formula = np.array([float(e.effective_number(n, (volume - 1) / volume)) for volume, n in cases])
    worst = float(np.abs(formula / [float(occupancy_mean(*case)) for case in cases] - 1).max())
    exact = from_bool("derivation", worst < EXACT, "N = 1 to 6, n = 1 to 12, against exact fractions",
                      f"largest relative difference {worst:.0e}")  # fmt: skip
    simulated = _checked(_rows(e, prototypes=True), "samples inside or outside")
    if simulated.n:
        simulated = replace(simulated, notes=(*simulated.notes, variance_clause(e.covering["verify"])))
    found = weigh("derivation", exact), weigh("simulation", simulated)
    holds = f"E_n is exact where samples never overlap in part (to {worst:.0e} in {len(cases)} cases)."
    return bottom_line(found, holds, "The formula is not what the covering covers."), *found


@statement("T2", "Eq. 3, 4", "theory", "The j-th sample adds beta^(j-1); the total volume is N = 1/(1 - beta).")
def t2(e: Evidence):
    n, worst = np.arange(1, 201), 0.0
    for beta in (0.5, 0.9, 0.99, 0.999):
        steps = np.diff([0.0, *(e.effective_number(k, beta) for k in n)])
        total = float(e.effective_number(1e9, beta))
        worst = max(worst, float(np.abs(steps - beta ** (n - 1.0)).max()), abs(total * (1 - beta) - 1))
    exact = from_bool("derivation", worst < 1e-10, "increments against beta^(j-1), total against 1/(1 - beta)",
                      f"largest difference {worst:.0e}")  # fmt: skip
    rows = _rows(e, prototypes=True)
    found = weigh("derivation", exact), weigh("simulation", _checked(rows[rows["n"] >= 5 * rows["N"]], "n >= 5 N"))
    holds = f"The j-th sample adds beta^(j-1), and the total is 1/(1 - beta), to {worst:.0e}."
    return bottom_line(found, holds, "One of them does not hold."), *found


@statement("T3", "Impl. 1", "theory", "E_n = 1 for N = 1, and E_n -> n as N -> infinity.")
def t3(e: Evidence):
    one = {float(e.effective_number(n, 0.0)) for n in (1, 2, 10, 10**6)}
    worst = max(abs(float(e.effective_number(n, 1 - 1e-12)) / n - 1) for n in (1, 10, 1000, 10**5))
    exact = from_bool("derivation", one == {1} and worst <= 1e-7, "N = 1, and N = 1e12 up to n = 1e5",
                      f"E_n = {max(one):g} at N = 1; E_n/n - 1 is at most {worst:.0e} at N = 1e12")  # fmt: skip
    rows, simulated = _rows(e, prototypes=True), Finding("both limits", NOT_RUN)
    first, large = rows[rows["N"] == 1]["mean"], rows[(rows["N"] >= 1e4) & (rows["n"] <= rows["N"] / 100)]
    if len(first) and len(large):
        gap = float((large["mean"] / large["n"] - 1).abs().max())
        simulated = from_bool("simulation", bool((first == 1).all()) and gap <= 0.01, "both limits",
                              f"means are {first.max():g} at N = 1, within {gap:.2%} of n at N >= 100 n")  # fmt: skip
    found = weigh("derivation", exact), weigh("simulation", simulated)
    return bottom_line(found, "N = 1 gives E_n = 1 and large N gives E_n -> n.", "A limit does not hold."), *found


@statement("T4a", "Sec. 3.1 (ours, beyond the paper)", "theory",
           "With partial overlap, on a space without edges, the mean is E_n in every shape and dimension.")  # fmt: skip
def t4a(e: Evidence):
    rows = _rows(e, prototypes=False)
    shapes, spread = rows[["geometry", "d"]].drop_duplicates(), ""
    finding = _checked(rows, f"cubes and balls on a torus, {len(shapes)} shapes and dimensions")
    if len(shapes) < 3 and finding.word == CONFIRMED:
        finding = replace(finding, word=UNDECIDED)
    if len(shapes):
        volume = round(rows["N"].min())
        sds = [torus.exact_sd(g, d, volume, volume)[0] for g, d in shapes.itertuples(index=False)]
        spread = f" (sd {np.nanmin(sds):.2f} to {np.nanmax(sds):.2f} at n = N = {volume})"
    found = weigh("simulation", finding)
    holds = f"On a space without edges the mean is E_n for all {len(shapes)} shapes; only the spread differs{spread}."
    return bottom_line([found], holds, "The mean departs from E_n on the torus."), found


@statement("T4b", "Sec. 3.1", "theory",
           "With partial overlap the expected volume depends on shape and dimension (samples in S).")  # fmt: skip
def t4b(e: Evidence):
    frame, holds, finding = e.covering.get("wholly_inside"), "", Finding("cubes wholly inside a cube", NOT_RUN)
    if frame is not None:
        bound, largest, shares = stats.norm.isf(TABLE_LEVEL / (2 * len(frame))), frame["z"].abs().max(), frame["share"]
        named = ", ".join(
            f"{r.share:.2f} (d = {r.d})" for r in frame[frame["d"].isin([1, 2, 3, 6, 10, 30])].itertuples()
        )
        finding = from_bool("simulation", bool(largest < bound and np.ptp(shares) > 0.05), finding.what,
                            f"largest |z| {largest:.2f} of {len(frame)}, bound {bound:.2f}", n=len(frame))  # fmt: skip
        size = "N = {0.N:g}, n = {0.n:g}".format(frame.iloc[0])
        holds = f"As the paper says: unit cubes wholly inside S ({size}) cover {named} of E_n."
    found = weigh("simulation", finding)
    return bottom_line([found], holds, "The dimension makes no difference."), found


@statement("T5", "Sec. 3.1", "theory", "Stronger augmentation means a smaller N.")
def t5(e: Evidence):
    about = "near-duplicates of CIFAR-10 with and without crop and flip"
    frames = [e.covering[name] for name in ("near_duplicates", "random_crops") if name in e.covering]
    frame = pd.concat(frames or [pd.DataFrame(columns=["dataset", "augmentation"])])
    frame = frame[frame["dataset"] == "cifar10"]  # digits are not evidence about the paper
    if not set(AUGMENTATIONS[:2]) <= set(frame["augmentation"]):
        return "Not run.", weigh("simulation", Finding(about, NOT_RUN))
    keys, columns = ["dataset", "class_name", "radius"], ["N", "N_low", "N_high"]
    without, crops, single = (frame[frame["augmentation"] == a].set_index(keys)[columns] for a in AUGMENTATIONS)
    both = without.join(crops.add_suffix("_with"), how="inner")  # no close copies: N is infinite and did not fall
    cases = pd.DataFrame(dict(apart=both["N_high_with"] < both["N_low"], falls=both["N_with"] < both["N"]))
    by_radius = cases.groupby("radius")
    notes = [f"radius {radius:.3g}: N falls in {g['falls'].sum()} of {len(g)} classes, beyond both intervals in "
             f"{g['apart'].sum()} (counting all copies it cannot rise)" for radius, g in by_radius]  # fmt: skip
    if len(alone := without.join(single.add_suffix("_single"), how="inner")):
        rises = int((alone["N_single"] > alone["N"]).sum())
        notes.append(f"with one random copy in place of each image N rises in {rises} of {len(alone)} cases")
    apart = ((by_radius["apart"].mean() > 0.5) & (by_radius.size() >= 5)).all()
    word = CONFIRMED if apart else REFUTED if (by_radius["falls"].mean() < 0.5).all() else UNDECIDED
    lines = {CONFIRMED: "N falls in most classes, beyond the intervals.", REFUTED: "N does not fall in most classes."}
    line = lines.get(word, "With augmentation N falls, but by less than these counts can show.")
    return line, weigh("simulation", Finding(about, word, notes=tuple(notes)))


@statement("T6", "Sec. 5.3", "theory", "A fine-grained data set has a smaller N per class than a coarse one.")
def t6(e: Evidence):
    frame = e.covering.get("near_duplicates")
    if frame is None or not {"cifar10", "cifar100"} <= set(frame["dataset"]):
        return "Not run.", weigh("simulation", Finding("CIFAR-100 against CIFAR-10", NOT_RUN))
    findings = [_smaller_volumes(frame, coarse) for coarse in ("cifar10", "cifar20") if coarse in set(frame["dataset"])]
    lines = {CONFIRMED: "CIFAR-100's classes have a smaller N than CIFAR-10's.",
             REFUTED: "CIFAR-100's classes have a larger N than CIFAR-10's."}  # fmt: skip
    word = findings[0].word  # CIFAR-20's classes consist of CIFAR-100's: reported, but not counted
    return lines.get(word, "CIFAR-10, CIFAR-20 and CIFAR-100 show no difference in N by these counts."), weigh(
        "simulation", findings, word
    )


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


@statement("L1", "Sec. 4", "loss", "beta = 0 is no re-weighting, beta -> 1 inverse class frequency, smooth between.")
def l1(e: Evidence):
    counts, weights = np.array(long_tailed_counts(5000, 10, 100)), e.class_balanced_weights
    none, inverse = np.abs(weights(counts, 0.0) - 1).max(), (1 / counts) / (1 / counts).mean()
    gap = np.abs(weights(counts, 1 - 1e-12) / inverse - 1).max()
    ratios = np.array([(w := weights(counts, 1 - 10.0**-k))[-1] / w[0] for k in np.linspace(0, 9, 46)])
    smooth = bool((np.diff(ratios) >= -1e-12).all() and np.diff(np.log(ratios)).max() < np.log(10))
    note = f"1 within {none:.0e} at 0, inverse frequency within {gap:.0e} near 1"
    finding = from_bool("derivation", bool(none == 0 and gap < 1e-6 and smooth), "weights over beta", note)
    found = weigh("derivation", finding)
    holds = f"Beta 0 gives weights of 1, beta near 1 inverse frequency (to {gap:.0e}), smoothly between."
    return bottom_line([found], holds, "The weights do not."), found


def average_weight(e: Evidence, dataset: str, factor: float, beta: float) -> float:
    """Return the average class-balanced weight over the training images of a long-tailed set."""
    counts = np.array(long_tailed_counts(*HEAD[dataset], factor))
    return float((counts * e.class_balanced_weights(counts, beta)).sum() / counts.sum())


def loss_ratios(e: Evidence) -> pd.DataFrame:
    """Return plain over class-balanced (0.9999) training loss, first and last evaluation, softmax pairs by seed."""
    runs, losses = e.profiles[FULL].finished if FULL in e.profiles else pd.DataFrame(columns=["label", "beta"]), {}
    for beta in (0.0, 0.9999):
        rows = runs[(runs["label"] == "softmax") & (runs["beta"] == beta)]
        losses[beta] = {(r.dataset, r.imbalance_factor, r.seed, r.precision): r.curve for r in rows.itertuples()}
    shared = [key for key in losses[0.0] if key in losses[0.9999] and key[1] > 1]
    ratios = [[losses[0.0][key][k]["training_loss"] / losses[0.9999][key][k]["training_loss"] for k in (0, -1)]
              for key in shared]  # fmt: skip
    index = (
        pd.MultiIndex.from_tuples(shared, names=["dataset", "imbalance_factor", "seed", "precision"])
        if shared
        else None
    )
    return pd.DataFrame(ratios, index=index, columns=["first", "last"])


@statement("L2", "Sec. 4", "loss", "Weights that sum to C keep the loss at roughly the same scale.")
def l2(e: Evidence):
    shrink = {(d, f, b): 1 / average_weight(e, d, f, b) for d in HEAD for f in IMBALANCE_FACTORS for b in BETAS[1:]}
    off = [b for (_, _, b), v in shrink.items() if not 1 / SAME_SCALE <= v <= SAME_SCALE]
    strong = [v for (_, f, b), v in shrink.items() if b == 0.9999 and f >= 100]
    exact = from_bool("derivation", not off, "average weight over the training images",
                      f"off by more than {SAME_SCALE:g} at {len(off)} of {len(shrink)} settings, none with beta "
                      f"below {min(off, default=1):g}")  # fmt: skip
    ratios, measured = loss_ratios(e), Finding("plain over class-balanced (0.9999) training loss", NOT_RUN)
    if len(ratios):
        means = ratios.groupby(["dataset", "imbalance_factor"]).mean().itertuples()
        said = [f"{TITLES[r.Index[0]]} at {r.Index[1]:g}: {r.first:.1f} at first, {r.last:.2f} at last" for r in means]
        same = bool(ratios.stack().between(1 / SAME_SCALE, SAME_SCALE).all())
        measured = from_bool("runs", same, measured.what, *said, n=len(ratios))
    found = weigh("derivation", exact), weigh("runs", measured)
    fails = (f"Weights that sum to C make the loss {min(strong):.0f} to {max(strong):.0f} times smaller at beta 0.9999 "
             "and imbalance 100 or 200.")  # fmt: skip
    return bottom_line(found, "Weights that sum to C keep the scale of the loss.", fails), *found


@statement("L3", "Sec. 4.3", "loss", "CB focal is alpha-balanced focal with alpha_t = (1 - beta)/(1 - beta^n).")
def l3(e: Evidence):
    counts, beta = np.array(long_tailed_counts(500, 100, 50)), 0.99
    ratio = e.class_balanced_weights(counts, beta) * (1 - beta**counts) / (1 - beta)
    finding = from_bool(
        "derivation", bool(np.ptp(ratio) < EXACT * ratio.min()), "weights over alpha_t are one constant"
    )
    found = weigh("derivation", finding)
    return bottom_line([found], "CB focal is alpha-balanced focal, up to one constant factor.", "Not so."), found


@statement("L4", "Table 2", "loss", "At imbalance 1 the term is 1 and the loss is the plain one.")
def l4(e: Evidence):
    gap = max(float(np.abs(e.class_balanced_weights([5000] * 10, b) - 1).max()) for b in (*BETAS, 1.0))
    exact = from_bool("derivation", gap == 0, "weights at imbalance 1", f"they differ from 1 by {gap:g} at every beta")
    rows = e.table2[e.table2["imbalance_factor"] == 1]
    last, singles = rows[rows["row"] == "class_balanced"], rows[rows["row"] != "class_balanced"]
    alike = last.set_index("dataset")["error"] == singles.groupby("dataset")["error"].min()
    printed = from_bool("print", bool(alike.all()), "entries at imbalance 1 are those of the best plain loss")
    found = weigh("derivation", exact), weigh("print", printed), _runs_at_imbalance_1(e)
    return bottom_line(found, "At imbalance 1 it is the plain loss, in print and in our runs.", "Not so."), *found


def _runs_at_imbalance_1(e: Evidence) -> Weighing:
    pairs = pd.concat([p.pairs for p in e.profiles.values()] or [pd.DataFrame(columns=["imbalance_factor"])])
    pairs = pairs[pairs["imbalance_factor"] == 1]
    about = "pairs of runs at imbalance 1 on like hardware, where they must end alike to the last digit"
    same = pairs[pairs["plain_device"] == pairs["class_balanced_device"]] if len(pairs) else pairs
    if not len(same):
        return weigh("runs", Finding(about, NOT_RUN))
    equal = int((same["difference"] == 0).sum())
    return weigh("runs", from_bool("runs", equal == len(same), about, f"{equal} of {len(same)} do", n=len(same)))


@statement(
    "R8", "Fig. 6", "loss", "At 0.9999 effective numbers on CIFAR-10 are near the counts; small betas make them alike."
)
def r8(e: Evidence):
    counts = np.array(long_tailed_counts(5000, 10, 50))
    near, small = float((e.effective_number(counts, 0.9999) / counts).min()), e.effective_number(counts, 0.9)
    spread = float(small.max() / small.min())
    finding = from_bool("derivation", near >= NEAR and spread <= NEARLY_EQUAL, "CIFAR-10 at imbalance 50",
                        f"E_n/n at least {near:.2f} at 0.9999, largest over smallest {spread:.3f} at 0.9")  # fmt: skip
    found = weigh("derivation", finding)
    holds = f"E_n/n is at least {near:.2f} at 0.9999 on CIFAR-10; at 0.9 all classes are alike."
    return bottom_line([found], holds, "The effective numbers are not."), found
