"""Questions of ours, beside the paper's statements: growth with imbalance, re-balancing, the pick, methods, length."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from replication.report.analysis.ablations import CONTRASTS
from replication.report.analysis.length import length_of_training
from replication.report.analysis.measured import complete, differences, fixed_beta, settings_by_seeds
from replication.report.analysis.methods import methods
from replication.report.analysis.published import LABELS, TABLE2_SETS, TITLES
from replication.report.analysis.statistics import SIGNIFICANCE
from replication.report.claims.evidence import FULL, SHORT, Evidence, Weighing, statement, weigh
from replication.report.claims.finding import BETTER, NOT_RUN, UNDECIDED, WORSE, Finding, interval_word, of_seeds, tally

SHORT_SEEDS, METHOD_SEEDS, LENGTH_SEEDS = 3, 3, 5  # fixed beforehand: the short study's, and those of plans B and C


def _of_row(what: str, row: dict, planned: int, name: str = "mean", prefix: str = "") -> Finding:
    """Make a finding from a row of numbers with low, high, n and detectable."""
    low, high, n = row[f"{prefix}low"], row[f"{prefix}high"], int(row[f"{prefix}n"])
    word = interval_word(low, high, n, planned)
    return Finding(what, word, row[name], low, high, n, planned, detectable=row["detectable"])


def _answered(findings: list[Finding], missing: str) -> Weighing:
    findings = findings or [Finding(missing, NOT_RUN)]
    words = {f.word for f in findings}
    return weigh("runs", findings, words.pop() if len(words) == 1 else tally(findings) or UNDECIDED)


def table2_changes(table2: pd.DataFrame) -> pd.DataFrame:
    """Table 2's class-balanced row minus its best plain row (points), data sets x imbalance factors, rising."""
    rows, keys = table2[table2["imbalance_factor"] > 1], ["dataset", "imbalance_factor"]
    balanced = rows["row"] == "class_balanced"
    changes = rows[balanced].set_index(keys)["error"] - rows[~balanced].groupby(keys)["error"].min()
    return changes.unstack().sort_index(axis=1)


def slopes(e: Evidence) -> tuple[np.ndarray, pd.Series]:
    """Short training, CIFAR-10 at the fixed beta: change for ten times the imbalance by seed, and mean by imbalance.

    Over the losses that are measured at each imbalance factor; empty with fewer than three factors.
    """
    both = e.profiles[SHORT].pairs
    both = both[both["dataset"].eq("cifar10") & both["beta"].eq(fixed_beta("cifar10")) & both["label"].isin(LABELS)]
    table = complete(settings_by_seeds(differences(both[both["imbalance_factor"] > 1])))
    shared = table.unstack("imbalance_factor").dropna().stack("imbalance_factor")
    means = shared.groupby(level="imbalance_factor").mean()  # (factors, seeds)
    return np.polyfit(np.log10(means.index), means, 1)[0] if len(means) > 2 else np.array([]), means.mean(axis=1)


@statement("O1", "Table 2", "ours", "Does the gain grow with imbalance?")
def growth(e: Evidence):
    """Table 2 in print, and the slope of the short study's change over log10 imbalance, one per seed."""
    printed, runs = [], []
    for dataset, changes in table2_changes(e.table2).iterrows():
        found = stats.kendalltau(range(len(changes)), -changes, method="exact")
        said = ", ".join(f"{change:+.2f} at {factor:g}" for factor, change in changes.items())
        notes = (said, f"Kendall's tau {found.statistic:+.2f}, p = {found.pvalue:.2g}")
        word = UNDECIDED if found.pvalue >= SIGNIFICANCE else "grows" if found.statistic > 0 else "falls"
        what = f"{TITLES[dataset]}, best of 20 minus best plain"
        printed.append(Finding(what, word, p=float(found.pvalue), notes=notes))
    if SHORT in e.profiles:
        by_seed, means = slopes(e)
        said = ", ".join(f"{v:+.2f} at {f:g}" for f, v in means.items())
        runs = [of_seeds("short training, for ten times the imbalance", by_seed, SHORT_SEEDS, notes=(said,))]
    weighing = _answered(runs, "runs at three imbalances")
    said = {BETTER: "it grows", WORSE: "it falls"}.get(weighing.word, weighing.word)
    in_print = " and ".join(dict.fromkeys(f.word for f in printed))
    return f"In print {in_print}; in short training {said}.", weigh("print", printed, UNDECIDED), weighing


@statement("O2", "Sec. 4", "ours", "Is the gain re-balancing, or the smaller loss that the weights bring?")
def rebalancing(e: Evidence):
    """The 2 x 2 of scale and weights, with its interaction."""
    rows = e.profiles[SHORT].scale_by_weights.to_dict("records") if SHORT in e.profiles else []
    found = {r["part"]: _of_row(f"short training, {r['part']}", r, SHORT_SEEDS) for r in rows if r["part"] in CONTRASTS}
    line = "Not run."
    if found:
        inter, m = found["interaction"], {part: f"{f.estimate:+.2f}" for part, f in found.items()}
        found["interaction"] = replace(inter, word="shown" if inter.word in (BETTER, WORSE) else inter.word)
        line = (
            f"Re-balancing: it changes the error by {m['balancing at full scale']} or {m['balancing at small scale']}, "
            f"the smaller loss by {m['smaller scale, plain']} or {m['smaller scale, balanced']}; they interact "
            f"({inter.estimate:.2f} [{inter.low:.2f}, {inter.high:.2f}]; short training)."
        )
    return line, _answered(list(found.values()), "the four corners")


@statement("O3", "Table 2", "ours", "How much does choosing the best of 20 gain?")
def choice(e: Evidence):
    findings = []
    for dataset, rows in e.selection_bias.groupby("dataset"):
        what = f"{TITLES[dataset]}, bias of the best of 20 beyond the best of 5 plain"
        changes = f"of changes of {rows['change'].max():+.2f} to {rows['change'].min():+.2f}"
        findings.append(Finding(what, f"at most {rows['bias_over_plain'].max():.2f} points", notes=(changes,)))
    said = "; ".join(f"{f.what.split(',')[0]} {f.word}" for f in findings)
    return f"From the printed numbers: {said}.", weigh("print", findings, "estimated")


def method_changes(e: Evidence) -> dict[str, list[Finding]]:
    """Each method's change against plain at full protocol and imbalance 100, by data set."""
    rows = methods(e.profiles[FULL]).to_dict("records") if FULL in e.profiles else []
    rows = [r for r in rows if r["change_n"] > 0]
    return {
        dataset: [_of_row(r["method"], r, METHOD_SEEDS, "change", "change_") for r in rows if r["dataset"] == dataset]
        for dataset in TABLE2_SETS
    }


@statement("O4", "later work", "ours", "Which method today?")
def today(e: Evidence):
    by_set = {dataset: found for dataset, found in method_changes(e).items() if found}
    best = {TITLES[dataset]: min(found, key=lambda f: f.estimate) for dataset, found in by_set.items()}
    said = "; ".join(f"{title}: {f.what}, {f.estimate:+.2f} points (n = {f.n}, {f.word})" for title, f in best.items())
    line = f"The lowest error at imbalance 100, against plain. {said}." if best else "Not run yet."
    return line, _answered([f for found in by_set.values() for f in found], "plan B")


@statement("O5", "Sec. 5.2", "ours", "How does the gain depend on the length of training?")
def length(e: Evidence):
    rows = length_of_training(e.profiles).to_dict("records")
    findings = [_of_row(f"{TITLES[r['dataset']]}, {r['epochs']} epochs", r, LENGTH_SEEDS, "change") for r in rows]
    said = "; ".join(f"{f.what} {f.estimate:+.2f} (n = {f.n})" for f in findings)
    line = f"ResNet-8, imbalance 100, 0.9999 against plain: {said}." if findings else "Not run."
    return line, _answered(findings, "plan C")


@statement("O6", "Sec. 5.2", "ours", "What do the changes that other code makes cost?")
def ports(e: Evidence):
    """The authors' own shuffle is not such a change, nor are our uniform weights."""
    rows = e.profiles[SHORT].ablations.to_dict("records") if SHORT in e.profiles else []
    findings = [_of_row(f"{r['words']} ({r['label']}, beta {r['beta']:g})", r, SHORT_SEEDS)
                for r in rows if r["switch"] not in ("weights", "shuffle") and r["beta"] > 0]  # fmt: skip
    if not findings:
        return "Not run.", _answered([], "runs with one switch changed")
    shown, seen = sum(f.word == WORSE for f in findings), [f.detectable for f in findings]
    line = (f"{shown or 'None'} of {len(findings)} is shown to raise the error in short training; effects of "
            f"{min(seen):.0f} to {max(seen):.0f} points could have been seen.")  # fmt: skip
    return line, _answered(findings, "runs with one switch changed")
