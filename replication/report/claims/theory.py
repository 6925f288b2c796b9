"""Statements that derivations and simulations decide: T1 to T6, L1 to L4 and R8."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from replication.data.long_tail import long_tailed_counts
from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis.statistics import SIGNIFICANCE
from replication.report.claims.evidence import FULL, Evidence, Statement, weigh
from replication.report.claims.finding import (
    CONFIRMED,
    CONSISTENT,
    NOT_REPLICATED,
    NOT_RUN,
    PROVED,
    REFUTED,
    REPLICATED,
    UNDECIDED,
    Finding,
    from_bool,
)
from replication.theory import torus
from replication.theory.covering import TABLE_LEVEL, check, variance_rows
from replication.theory.near_duplicates import AUGMENTATIONS

FEWEST_ROWS = 20  # of a simulation that is to decide anything
EXACT = 1e-12
SAME_SCALE = 2.0  # "roughly the same scale": within a factor of 2
NEAR, ALIKE_NUMBERS = 0.75, 1.05
HEAD = {"cifar10": (5000, 10), "cifar100": (500, 100)}  # images of the largest class, classes


def _line(statement_words: dict[str, str], holds: str, fails: str) -> str:
    """The bottom line: `fails` where a kind of evidence speaks against, `holds` where one speaks for it."""
    found = set(statement_words.values())
    if found & {REFUTED, NOT_REPLICATED}:
        return fails
    return holds if found & {PROVED, CONFIRMED, CONSISTENT, REPLICATED} else "Not simulated or run here."


def _statement(head: tuple[str, str, str, str], weighings: list, holds: str, fails: str) -> Statement:
    words = {w.kind: w.word for w in weighings}
    return Statement(*head, _line(words, holds, fails), tuple(weighings))


def occupancy_mean(volume: int, n: int) -> Fraction:
    """Expected number of distinct prototypes after n draws from `volume`, by exact recursion over the distribution.

    >>> occupancy_mean(2, 2)
    Fraction(3, 2)
    """
    chance = {0: Fraction(1)}
    for _ in range(n):
        step: dict[int, Fraction] = {}
        for covered, p in chance.items():
            hit = Fraction(covered, volume)
            step[covered] = step.get(covered, Fraction(0)) + p * hit
            step[covered + 1] = step.get(covered + 1, Fraction(0)) + p * (1 - hit)
        chance = step
    return sum((covered * p for covered, p in chance.items()), Fraction(0))


def _rows(evidence: Evidence, prototypes: bool) -> pd.DataFrame:
    table = evidence.covering.get("verify", pd.DataFrame({"geometry": []}))
    return table[(table["geometry"] == "prototypes") == prototypes]


def _checked(rows: pd.DataFrame, about: str) -> Finding:
    """The check of simulated means and variances against the exact ones, at a level fixed for the whole table."""
    if not len(rows):
        return Finding(about, NOT_RUN)
    result = check(rows)
    notes = [f"largest |z| {result.largest_z:.2f} of {len(rows)} means, bound {result.bound:.2f}",
             f"{result.variances} variances checked, smallest corrected p {result.smallest_p:.2g}"]  # fmt: skip
    finding = from_bool("simulation", result.passed, about, *notes, n=len(rows))
    few = len(rows) < FEWEST_ROWS and result.passed
    return Finding(about, UNDECIDED, notes=("too few rows to decide", *notes)) if few else finding


def variance_clause(table: pd.DataFrame) -> str:
    """How many rows of the whole table meet the rule on variances, and the clause that leaves some of them out.

    The rule: replicates x variance is at least 1000 and, on the torus, the count is 3 sd away from both ends.
    """
    meet, checked = int(np.logical_and(*variance_rows(table)).sum()), check(table).variances
    return (f"{meet} rows of the whole table meet the rule on variances; {meet - checked} with an excess kurtosis of "
            "-1.9 or less is left out, for a fair coin's variance is not chi-square at any size")  # fmt: skip


def t1(e: Evidence) -> Statement:
    cases = list(product(range(1, 7), range(1, 13)))
    formula = np.array([float(e.effective_number(n, (volume - 1) / volume)) for volume, n in cases])
    worst = float(np.abs(formula / [float(occupancy_mean(*case)) for case in cases] - 1).max())
    exact = from_bool("derivation", worst < EXACT, "N = 1 to 6, n = 1 to 12, against exact fractions",
                      f"largest relative difference {worst:.0e}")  # fmt: skip
    simulated = _checked(_rows(e, prototypes=True), "samples inside or outside")
    if simulated.n:
        simulated = replace(simulated, notes=(*simulated.notes, variance_clause(e.covering["verify"])))
    weighings = [weigh("derivation", [exact]), weigh("simulation", [simulated])]
    text = "Without partial overlap E_n = (1 - beta^n)/(1 - beta), with beta = (N - 1)/N."
    return _statement(("T1", "Prop. 1", "theory", text), weighings,
                      "The formula is exact under the paper's assumption that samples never overlap in part.",
                      "The formula is not what the covering covers.")  # fmt: skip


def t2(e: Evidence) -> Statement:
    n, worst = np.arange(1, 201), 0.0
    for beta in (0.5, 0.9, 0.99, 0.999):
        steps = np.diff(np.concatenate([[0.0], [e.effective_number(k, beta) for k in n]]))
        total = float(e.effective_number(1e9, beta))
        worst = max(worst, float(np.abs(steps - beta ** (n - 1.0)).max()), abs(total * (1 - beta) - 1))
    exact = from_bool("derivation", worst < 1e-10, "increments against beta^(j-1), total against 1/(1 - beta)",
                      f"largest difference {worst:.0e}")  # fmt: skip
    rows = _rows(e, prototypes=True)
    late = rows[rows["n"] >= 5 * rows["N"]] if len(rows) else rows
    weighings = [weigh("derivation", [exact]), weigh("simulation", [_checked(late, "n >= 5 N, nearly all covered")])]
    text = "The j-th sample adds beta^(j-1); the total volume is N = 1/(1 - beta)."
    return _statement(("T2", "Eq. 3, 4", "theory", text), weighings, "Both follow exactly and are seen in simulation.",
                      "The increments or the total differ from the formula.")  # fmt: skip


def t3(e: Evidence) -> Statement:
    one = [float(e.effective_number(n, 0.0)) for n in (1, 2, 10, 10**6)]
    worst = max(abs(float(e.effective_number(n, 1 - 1e-12)) / n - 1) for n in (1, 10, 1000, 10**5))
    exact = from_bool("derivation", all(v == 1 for v in one) and worst <= 1e-7, "N = 1, and N = 1e12 up to n = 1e5",
                      f"E_n = {max(one):g} at N = 1; E_n/n - 1 is at most {worst:.0e} at N = 1e12")  # fmt: skip
    rows = _rows(e, prototypes=True)
    first = rows[rows["N"] == 1] if len(rows) else rows
    large = rows[(rows["N"] >= 1e4) & (rows["n"] <= rows["N"] / 100)] if len(rows) else rows
    simulated = Finding("both limits", NOT_RUN)
    if len(first) and len(large):
        gap = float((large["mean"] / large["n"] - 1).abs().max())
        holds = bool((first["mean"] == 1).all()) and gap <= 0.01
        simulated = from_bool("simulation", holds, "N = 1, and N >= 1e4 with n <= N/100",
                              f"every mean at N = 1 is {first['mean'].max():g}; means within {100 * gap:.2f} % of n")  # fmt: skip
    text = "E_n = 1 for N = 1, and E_n -> n as N -> infinity."
    weighings = [weigh("derivation", [exact]), weigh("simulation", [simulated])]
    return _statement(("T3", "Impl. 1", "theory", text), weighings, "Both limits hold.", "A limit does not hold.")


def t4a(e: Evidence) -> Statement:
    rows, about = _rows(e, prototypes=False), "cubes and balls on a torus"
    finding = _checked(rows, about)
    shapes = rows[["geometry", "d"]].drop_duplicates() if len(rows) else rows
    if finding.word == CONFIRMED and len(shapes) < 3:
        finding = Finding(about, UNDECIDED, notes=("fewer than three shapes and dimensions",))
    holds = ""
    if len(shapes) >= 3:
        volume = round(rows["N"].min())
        spread = [torus.exact_sd(g, d, volume, volume)[0] for g, d in shapes.itertuples(index=False)]
        holds = (f"On a space without edges the mean is E_n for all {len(shapes)} shapes and dimensions; only the "
                 f"spread differs (sd {np.nanmin(spread):.2f} to {np.nanmax(spread):.2f} at n = N = {volume}).")  # fmt: skip
    text = "With partial overlap, on a space without edges, the mean is still E_n for every shape and dimension."
    head = ("T4a", "Sec. 3.1 (ours, beyond the paper)", "theory", text)
    return _statement(head, [weigh("simulation", [finding])], holds, "The mean departs from E_n on the torus.")


def t4b(e: Evidence) -> Statement:
    frame = e.covering.get("wholly_inside")
    text = "With partial overlap the expected volume depends on shape and dimension (samples are subsets of S)."
    head = ("T4b", "Sec. 3.1", "theory", text)
    if frame is None or frame["d"].nunique() < 2:
        return _statement(head, [weigh("simulation", [Finding("cubes wholly inside a cube", NOT_RUN)])], "", "")
    bound, largest = stats.norm.isf(TABLE_LEVEL / (2 * len(frame))), frame["z"].abs().max()
    shares = frame.set_index("d")["share"]
    some = shares[shares.index.isin([1, 2, 3, 6, 10, 30])]
    named = ", ".join(f"{share:.2f} (d = {d})" for d, share in some.items())
    agrees, differs = largest < bound, bool(shares.max() - shares.min() > 0.05)
    note = f"simulated and exact means agree: largest |z| {largest:.2f} of {len(frame)}, bound {bound:.2f}"
    finding = from_bool("simulation", bool(agrees and differs), "cubes wholly inside a cube", note,
                        f"share of E_n: {named}", n=len(frame))  # fmt: skip
    first = frame.iloc[0]
    holds = (f"As the paper says: unit cubes wholly inside S (N = {first['N']:g}, n = {first['n']:g}) cover "
             f"{named} of E_n.")  # fmt: skip
    return _statement(head, [weigh("simulation", [finding])], holds, "The dimension makes no difference.")


def t5(e: Evidence) -> Statement:
    text = "Stronger augmentation means a smaller N."
    head, about = ("T5", "Sec. 3.1", "theory", text), "near-duplicates of CIFAR-10 with and without crop and flip"
    frame = pd.concat([e.covering[k] for k in ("near_duplicates", "random_crops") if k in e.covering] or
                      [pd.DataFrame({"dataset": [], "augmentation": []})])  # fmt: skip
    frame = frame[frame["dataset"] == "cifar10"]  # digits decide nothing about the paper
    if not set(AUGMENTATIONS[:2]) <= set(frame["augmentation"]):
        return _statement(head, [weigh("simulation", [Finding(about, NOT_RUN)])], "", "")
    keys, columns = ["dataset", "class_name", "radius"], ["N", "N_low", "N_high"]
    without, crops, single = (frame[frame["augmentation"] == a].set_index(keys)[columns] for a in AUGMENTATIONS)
    both = without.join(crops.add_suffix("_with"), how="inner")  # no copies close: N infinite, and it did not fall
    cases = pd.DataFrame(dict(apart=both["N_high_with"] < both["N_low"], falls=both["N_with"] < both["N"]))
    by_radius = cases.groupby("radius")
    notes = [f"radius {radius:.3g}: N falls in {g['falls'].sum()} of {len(g)} classes, beyond both intervals in "
             f"{g['apart'].sum()}" for radius, g in by_radius]  # fmt: skip
    alone = without.join(single.add_suffix("_single"), how="inner")
    if len(alone):
        notes.append(f"with one random copy in place of each image N falls in {(alone['N_single'] < alone['N']).sum()} "
                     f"and rises in {(alone['N_single'] > alone['N']).sum()} of {len(alone)}")  # fmt: skip
    holds = ((by_radius["apart"].mean() > 0.5) & (by_radius.size() >= 5)).all()
    fails = (by_radius["falls"].mean() < 0.5).all()
    word = CONFIRMED if holds else REFUTED if fails else UNDECIDED
    line = ("N falls in most classes at every distance that counts as near." if holds else
            "Whether N falls depends on the distance that counts as near.")  # fmt: skip
    weighing = weigh("simulation", [Finding(about, word, notes=(*notes, "counting all copies N cannot rise"))])
    return Statement(*head, line if not fails else "N does not fall in most classes.", (weighing,))


def t6(e: Evidence) -> Statement:
    text = "A fine-grained data set has a smaller N per class than a coarse one."
    head, frame = ("T6", "Sec. 5.3", "theory", text), e.covering.get("near_duplicates")
    if frame is None or not {"cifar10", "cifar100"} <= set(frame["dataset"]):
        return _statement(head, [weigh("simulation", [Finding("CIFAR-100 against CIFAR-10", NOT_RUN)])], "", "")
    word, notes = _smaller_volumes(frame, "cifar10")
    _, beside = _smaller_volumes(frame, "cifar20")
    findings = [Finding("CIFAR-100 against CIFAR-10", word, notes=notes)]
    if beside:
        findings.append(Finding("CIFAR-100 against CIFAR-20, made of its classes (reported)", word, notes=beside))
    lines = {CONFIRMED: "CIFAR-100's classes have a smaller N than CIFAR-10's.",
             REFUTED: "CIFAR-100's classes have a larger N than CIFAR-10's."}  # fmt: skip
    line = lines.get(word, "Which set has the smaller N depends on the distance that counts as near.")
    return Statement(*head, line, (weigh("simulation", findings, word),))


def _smaller_volumes(frame: pd.DataFrame, coarse: str) -> tuple[str, tuple[str, ...]]:
    """Mann-Whitney tests of N over classes, CIFAR-100 against a coarser set, without augmentation, by radius."""
    notes, sides = [], set()
    for radius, rows in frame[frame["augmentation"] == "none"].groupby("radius"):
        here, other = (rows.loc[rows["dataset"] == d, "N"] for d in ("cifar100", coarse))
        if len(here) and len(other):
            p = float(stats.mannwhitneyu(here, other).pvalue)
            sides.add(None if p >= SIGNIFICANCE else bool(here.median() < other.median()))
            notes.append(f"radius {radius:.3g}: median N {here.median():.3g} against {other.median():.3g}, p = {p:.2g}")
    word = {frozenset([True]): CONFIRMED, frozenset([False]): REFUTED}.get(frozenset(sides), UNDECIDED)
    return word, tuple(notes)


def l1(e: Evidence) -> Statement:
    counts, weights = np.array(long_tailed_counts(5000, 10, 100)), e.class_balanced_weights
    none = np.abs(weights(counts, 0.0) - 1).max()
    inverse = (1 / counts) * len(counts) / (1 / counts).sum()
    gap = np.abs(weights(counts, 1 - 1e-12) / inverse - 1).max()
    ratios = np.array([(w := weights(counts, 1 - 10.0**-k))[-1] / w[0] for k in np.linspace(0, 9, 46)])
    smooth = bool((np.diff(ratios) >= -1e-12).all() and np.diff(np.log(ratios)).max() < np.log(10))
    finding = from_bool("derivation", bool(none == 0 and gap < 1e-6 and smooth), "weights from beta 0 to 1 - 1e-12",
                        f"1 within {none:.0e} at 0, inverse frequency within {gap:.0e} near 1")  # fmt: skip
    text = "beta = 0 is no re-weighting, beta -> 1 inverse class frequency, with a smooth way between."
    return _statement(("L1", "Sec. 4", "loss", text), [weigh("derivation", [finding])], "Exactly so.", "Not so.")


def average_weight(e: Evidence, dataset: str, factor: float, beta: float) -> float:
    """Average class-balanced weight over the training images of a long-tailed set."""
    largest, classes = HEAD[dataset]
    counts = np.array(long_tailed_counts(largest, classes, factor))
    return float((counts * e.class_balanced_weights(counts, beta)).sum() / counts.sum())


def loss_ratios(e: Evidence) -> pd.DataFrame:
    """Plain over class-balanced (0.9999) training loss at the first and the last evaluation, softmax pairs by seed."""
    frame = e.runs(FULL)
    runs = frame[frame["label"].eq("softmax") & frame["status"].eq("finished")] if len(frame) else frame
    if not len(runs):
        return pd.DataFrame(columns=["first", "last"])
    keys = ["dataset", "imbalance_factor", "seed", "precision"]
    runs = e.profiles[FULL].finished.query("label == 'softmax' and imbalance_factor > 1")
    losses = {
        beta: group.set_index(keys)["curve"].map(lambda c: (c[0]["training_loss"], c[-1]["training_loss"]))
        for beta, group in runs[runs["beta"].isin([0.0, 0.9999])].groupby("beta")
    }
    if len(losses) < 2:
        return pd.DataFrame(columns=["first", "last"])
    both = pd.concat([losses[0.0].rename("plain"), losses[0.9999].rename("balanced")], axis=1, join="inner")
    ratios = [(p[0] / b[0], p[1] / b[1]) for p, b in both.itertuples(index=False)]
    return pd.DataFrame(ratios, index=both.index, columns=["first", "last"])


def l2(e: Evidence) -> Statement:
    shrink = {(d, f, b): 1 / average_weight(e, d, f, b) for d in HEAD for f in IMBALANCE_FACTORS for b in BETAS[1:]}
    holds = all(1 / SAME_SCALE <= v <= SAME_SCALE for v in shrink.values())
    off = {k: v for k, v in shrink.items() if v > SAME_SCALE}
    strong = [v for (_, f, b), v in shrink.items() if b == 0.9999 and f >= 100]
    notes = [f"divided by more than {SAME_SCALE:g} at {len(off)} of {len(shrink)} settings, none with beta below "
             f"{min((b for _, _, b in off), default=1):g}",
             f"divided by {min(strong):.1f} to {max(strong):.1f} at 0.9999 and imbalance 100 or 200"]  # fmt: skip
    findings = [from_bool("derivation", holds, "average weight over the training images", *notes)]
    weighings, ratios = [weigh("derivation", findings)], loss_ratios(e)
    measured = Finding("plain over class-balanced training loss", NOT_RUN)
    if len(ratios):
        means = {f"{d} at {f:g}": g.mean() for (d, f), g in ratios.groupby(["dataset", "imbalance_factor"])}
        said = tuple(f"{k}: {m['first']:.1f} at the first evaluation, {m['last']:.2f} at the last" for k, m in means.items())
        same = bool(((ratios < SAME_SCALE) & (ratios > 1 / SAME_SCALE)).all().all())
        measured = from_bool("runs", same, "plain over class-balanced (0.9999) training loss", *said, n=len(ratios))
    text = "Weights that sum to C keep the loss at roughly the same scale."
    fails = (f"Only at small beta or imbalance: at 0.9999 and imbalance 100 or 200 the loss is {min(strong):.0f} to "
             f"{max(strong):.0f} times smaller at the start of training.")  # fmt: skip
    return _statement(("L2", "Sec. 4", "loss", text), [*weighings, weigh("runs", [measured])], "It does.", fails)


def l3(e: Evidence) -> Statement:
    counts, beta = np.array(long_tailed_counts(500, 100, 50)), 0.99
    ratio = e.class_balanced_weights(counts, beta) * (1 - beta**counts) / (1 - beta)
    spread = float(ratio.max() / ratio.min() - 1)
    below = 10.0 ** math.ceil(math.log10(max(spread, 1e-15)))  # the last digits differ between machines
    finding = from_bool("derivation", spread < EXACT, "weights over alpha_t on long-tailed CIFAR-100",
                        f"one constant to better than {below:.0e}")  # fmt: skip
    text = "CB focal is alpha-balanced focal with alpha_t = (1 - beta)/(1 - beta^n)."
    return _statement(("L3", "Sec. 4.3", "loss", text), [weigh("derivation", [finding])],
                      "Exactly so, up to one constant factor.", "Not so.")  # fmt: skip


def l4(e: Evidence) -> Statement:
    gap = max(float(np.abs(e.class_balanced_weights([5000] * 10, b) - 1).max()) for b in (*BETAS, 1.0))
    exact = from_bool("derivation", gap == 0, "weights at imbalance 1", f"they differ from 1 by {gap:g} at every beta")
    rows = e.table2[e.table2["imbalance_factor"] == 1]
    last, singles = rows[rows["row"] == "class_balanced"], rows[rows["row"] != "class_balanced"]
    lowest = singles.groupby("dataset")["error"].min()
    printed = from_bool("print", bool((last.set_index("dataset")["error"] == lowest).all()),
                        "class-balanced entries at imbalance 1 are those of the best plain loss")  # fmt: skip
    pairs = pd.concat([p.pairs for p in e.profiles.values()] or [pd.DataFrame({"imbalance_factor": []})])
    pairs = pairs[pairs["imbalance_factor"] == 1]
    same = pairs[pairs["plain_device"] == pairs["class_balanced_device"]] if len(pairs) else pairs  # others may round
    runs = Finding("pairs of runs at imbalance 1", NOT_RUN)
    if len(same):
        equal = int((same["difference"] == 0).sum())
        runs = from_bool("runs", equal == len(same), "pairs of runs at imbalance 1 on like hardware",
                         f"{equal} of {len(same)} end with the same error to the last digit", n=len(same))  # fmt: skip
    text = "At imbalance 1 the term is 1 and the loss is the plain one."
    weighings = [weigh("derivation", [exact]), weigh("print", [printed]), weigh("runs", [runs])]
    return _statement(("L4", "Table 2", "loss", text), weighings, "Exactly so, in print and in our runs.", "Not so.")


def r8(e: Evidence) -> Statement:
    counts = np.array(long_tailed_counts(5000, 10, 50))
    near = float((e.effective_number(counts, 0.9999) / counts).min())
    small = e.effective_number(counts, 0.9)
    alike = float(small.max() / small.min())
    finding = from_bool("derivation", near >= NEAR and alike <= ALIKE_NUMBERS, "CIFAR-10 at imbalance 50",
                        f"E_n/n is {near:.2f} or more at beta 0.9999; largest over smallest {alike:.3f} at 0.9")  # fmt: skip
    text = "At 0.9999 effective numbers on CIFAR-10 are near the counts; small betas make them alike."
    return _statement(("R8", "Fig. 6", "loss", text), [weigh("derivation", [finding])],
                      f"So it is: E_n/n is at least {near:.2f} at 0.9999.", "Not so.")  # fmt: skip
