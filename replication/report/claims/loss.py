"""The statements on the class-balanced loss and its weights: L1 to L4 and R8."""

import numpy as np
import pandas as pd

from replication.data.long_tail import long_tailed_counts
from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis.published import TITLES
from replication.report.claims.evidence import FULL, Evidence, Weighing, settle, statement, weigh
from replication.report.claims.finding import NOT_RUN, Finding, from_bool

EXACT = 1e-12
SAME_SCALE = 2.0  # "roughly the same scale": within a factor of 2
NEAR, NEARLY_EQUAL = 0.75, 1.05  # R8: E_n/n of every class at least; largest E_n over the smallest at most
HEAD = {"cifar10": (5000, 10), "cifar100": (500, 100)}  # images of the largest class, classes


@statement("L1", "Sec. 4", "loss", "beta = 0 is no re-weighting, beta -> 1 inverse class frequency, smooth between.")
def l1(e: Evidence):
    counts, weights = np.array(long_tailed_counts(5000, 10, 100)), e.class_balanced_weights
    none, inverse = np.abs(weights(counts, 0.0) - 1).max(), (1 / counts) / (1 / counts).mean()
    gap = np.abs(weights(counts, 1 - 1e-12) / inverse - 1).max()
    ratios = np.array([(w := weights(counts, 1 - 10.0**-k))[-1] / w[0] for k in np.linspace(0, 9, 46)])
    smooth = bool((np.diff(ratios) >= -1e-12).all() and np.diff(np.log(ratios)).max() < np.log(10))
    note = f"1 within {none:.0e} at 0, inverse frequency within {gap:.0e} near 1"
    found = settle("derivation", bool(none == 0 and gap < 1e-6 and smooth), "weights over beta", note)
    holds = f"Beta 0 gives weights of 1, beta near 1 inverse frequency (to {gap:.0e}), smoothly between."
    return (holds, "The weights do not."), found


def average_weight(e: Evidence, dataset: str, factor: float, beta: float) -> float:
    """Return the average class-balanced weight over the training images of a long-tailed set."""
    counts = np.array(long_tailed_counts(*HEAD[dataset], factor))
    return float((counts * e.class_balanced_weights(counts, beta)).sum() / counts.sum())


def loss_ratios(e: Evidence) -> pd.DataFrame:
    """Return plain over class-balanced (0.9999) training loss, first and last evaluation, softmax pairs by seed."""
    if FULL not in e.profiles:
        return pd.DataFrame()
    runs = e.profiles[FULL].finished.query("label == 'softmax' and imbalance_factor > 1")
    ends = [(curve[0]["training_loss"], curve[-1]["training_loss"]) for curve in runs["curve"]]
    runs_by = pd.MultiIndex.from_frame(runs[["dataset", "imbalance_factor", "seed", "precision"]])
    ends = pd.DataFrame(ends, index=runs_by, columns=["first", "last"])
    plain, balanced = (ends[runs["beta"].eq(beta).to_numpy()] for beta in (0.0, 0.9999))
    return (plain / balanced).dropna()


@statement("L2", "Sec. 4", "loss", "Weights that sum to C keep the loss at roughly the same scale.")
def l2(e: Evidence):
    shrink = {(d, f, b): 1 / average_weight(e, d, f, b) for d in HEAD for f in IMBALANCE_FACTORS for b in BETAS[1:]}
    off = [b for (_, _, b), v in shrink.items() if not 1 / SAME_SCALE <= v <= SAME_SCALE]
    strong = [v for (_, f, b), v in shrink.items() if b == 0.9999 and f >= 100]
    exact = settle("derivation", not off, "average weight over the training images",
                   f"off by more than {SAME_SCALE:g} at {len(off)} of {len(shrink)} settings, none with beta "
                   f"below {min(off, default=1):g}")  # fmt: skip
    ratios, measured = loss_ratios(e), Finding("plain over class-balanced (0.9999) training loss", NOT_RUN)
    if len(ratios):
        means = ratios.groupby(["dataset", "imbalance_factor"]).mean().itertuples()
        said = [f"{TITLES[r.Index[0]]} at {r.Index[1]:g}: {r.first:.1f} at first, {r.last:.2f} at last" for r in means]
        same = bool(ratios.stack().between(1 / SAME_SCALE, SAME_SCALE).all())
        measured = from_bool("runs", same, measured.what, *said, n=len(ratios))
    fails = (f"Weights that sum to C make the loss {min(strong):.0f} to {max(strong):.0f} times smaller at beta 0.9999 "
             "and imbalance 100 or 200.")  # fmt: skip
    return ("Weights that sum to C keep the scale of the loss.", fails), exact, weigh("runs", measured)


@statement("L3", "Sec. 4.3", "loss", "CB focal is alpha-balanced focal with alpha_t = (1 - beta)/(1 - beta^n).")
def l3(e: Evidence):
    counts, beta = np.array(long_tailed_counts(500, 100, 50)), 0.99
    ratio = e.class_balanced_weights(counts, beta) * (1 - beta**counts) / (1 - beta)
    constant = bool(np.ptp(ratio) < EXACT * ratio.min())
    found = settle("derivation", constant, "weights over alpha_t are one constant")
    return ("CB focal is alpha-balanced focal, up to one constant factor.", "Not so."), found


@statement("L4", "Table 2", "loss", "At imbalance 1 the term is 1 and the loss is the plain one.")
def l4(e: Evidence):
    gap = max(float(np.abs(e.class_balanced_weights([5000] * 10, b) - 1).max()) for b in (*BETAS, 1.0))
    exact = settle("derivation", gap == 0, "weights at imbalance 1", f"they differ from 1 by {gap:g} at every beta")
    rows = e.table2[e.table2["imbalance_factor"] == 1]
    last, singles = rows[rows["row"] == "class_balanced"], rows[rows["row"] != "class_balanced"]
    alike = last.set_index("dataset")["error"] == singles.groupby("dataset")["error"].min()
    printed = settle("print", bool(alike.all()), "entries at imbalance 1 are those of the best plain loss")
    lines = "At imbalance 1 it is the plain loss, in print and in our runs.", "Not so."
    return lines, exact, printed, _runs_at_imbalance_1(e)


def _runs_at_imbalance_1(e: Evidence) -> Weighing:
    about = "pairs of runs at imbalance 1 on like hardware, where they must end alike to the last digit"
    pairs = [p.pairs.query("imbalance_factor == 1 and not across")["difference"] for p in e.profiles.values()]
    n, equal = sum(map(len, pairs)), sum(int((difference == 0).sum()) for difference in pairs)
    finding = from_bool("runs", equal == n, about, f"{equal} of {n} do", n=n) if n else Finding(about, NOT_RUN)
    return weigh("runs", finding)


@statement("R8", "Fig. 6", "loss",
           "At 0.9999 effective numbers on CIFAR-10 are near the counts; small betas make them alike.")  # fmt: skip
def r8(e: Evidence):
    counts = np.array(long_tailed_counts(5000, 10, 50))
    near, small = float((e.effective_number(counts, 0.9999) / counts).min()), e.effective_number(counts, 0.9)
    spread = float(small.max() / small.min())
    found = settle("derivation", near >= NEAR and spread <= NEARLY_EQUAL, "CIFAR-10 at imbalance 50",
                   f"E_n/n at least {near:.2f} at 0.9999, largest over smallest {spread:.3f} at 0.9")  # fmt: skip
    holds = f"E_n/n is at least {near:.2f} at 0.9999 on CIFAR-10; at 0.9 all classes are alike."
    return (holds, "The effective numbers are not."), found
