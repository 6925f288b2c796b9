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
from replication.report.claims.evidence import FULL, SHORT, Evidence, Weighing, statement, weigh
from replication.report.claims.finding import BETTER, NOT_RUN, UNDECIDED, WORSE, Finding, interval_word, of_seeds, tally

SHORT_SEEDS, METHOD_SEEDS, LENGTH_SEEDS = 3, 3, 5  # fixed beforehand: the short study's, and those of plans B and C


def _of_row(what: str, row: dict, planned: int, name: str = "mean", prefix: str = "") -> Finding:
    """A finding from a row of numbers with low, high, n and detectable."""
    low, high, n = (row[f"{prefix}{key}"] for key in ("low", "high", "n"))
    n = int(n) if np.isfinite(n) else 0
    word = interval_word(low, high, n, planned)
    return Finding(what, word, row[name], low, high, n, planned, detectable=row["detectable"])


def _answered(findings: list[Finding], missing: str) -> Weighing:
    findings = findings or [Finding(missing, NOT_RUN)]
    words = {f.word for f in findings}
    return weigh("runs", findings, words.pop() if len(words) == 1 else tally(findings) or UNDECIDED)


def table2_changes(table2: pd.DataFrame) -> pd.DataFrame:
    """Table 2's class-balanced row minus its best plain row (points), data sets x imbalance factors, rising."""
    rows = table2.query("imbalance_factor > 1")
    keys = ["dataset", "imbalance_factor"]
    plain = rows[rows["row"] != "class_balanced"].groupby(keys)["error"].min()
    return (rows[rows["row"] == "class_balanced"].set_index(keys)["error"] - plain).unstack().sort_index(axis=1)


@statement("O1", "Table 2", "ours", "Does the gain grow with imbalance?")
def growth(e: Evidence):
    """Was R7: Table 2 in print, and the slope of the short study's change over log10 imbalance, one per seed."""
    printed = []
    for dataset, changes in table2_changes(e.table2).iterrows():
        found = stats.kendalltau(range(len(changes)), -changes, method="exact")
        said = ", ".join(f"{change:+.2f} at {factor:g}" for factor, change in changes.items())
        word = UNDECIDED if found.pvalue >= 0.05 else "grows" if found.statistic > 0 else "falls"
        printed.append(Finding(f"{TITLES[dataset]}, best of 20 minus best plain", word, p=float(found.pvalue),
                               notes=(said, f"Kendall's tau {found.statistic:+.2f}, p = {found.pvalue:.2g}")))  # fmt: skip
    runs, beta = [], fixed_beta("cifar10")
    if SHORT in e.profiles:
        both = e.profiles[SHORT].pairs.query("dataset == 'cifar10' and beta == @beta and imbalance_factor > 1")
        table = complete(settings_by_seeds(differences(both[both["label"].isin(LABELS)])))
        shared = table.unstack("imbalance_factor").dropna().stack("imbalance_factor")  # losses measured at each factor
        means = shared.groupby(level="imbalance_factor").mean()  # (factors, seeds)
        if len(means) > 2:
            slopes = np.polyfit(np.log10(means.index), means, 1)[0]
            said = ", ".join(f"{v:+.2f} at {f:g}" for f, v in means.mean(axis=1).items())
            runs.append(of_seeds("short training, change for ten times the imbalance", slopes, SHORT_SEEDS, notes=(said,)))
    word = runs[0].word if runs else NOT_RUN
    line = {BETTER: "In short training it grows with imbalance", WORSE: "In short training it falls with imbalance"}.get(
        word, f"Short training leaves it {word}")  # fmt: skip
    line += f"; in print it is {' and '.join(dict.fromkeys(f.word for f in printed))}."
    return line, weigh("print", printed, UNDECIDED), _answered(runs, "runs at three imbalances")


@statement("O2", "Sec. 4", "ours", "Is the gain re-balancing, or the smaller loss that the weights bring?")
def rebalancing(e: Evidence):
    """The 2 x 2 of scale and weights, with its interaction."""
    rows = e.profiles[SHORT].scale_by_weights if SHORT in e.profiles else pd.DataFrame()
    rows = {r["part"]: r for r in rows.to_dict("records") if r["part"] in CONTRASTS}
    findings = [_of_row(f"short training, {part}", row, SHORT_SEEDS) for part, row in rows.items()]
    findings = [replace(f, word="shown") if "interaction" in f.what and f.word in (BETTER, WORSE) else f for f in findings]
    line = "Not run."
    if rows:
        m = {part: f"{row['mean']:+.2f}" for part, row in rows.items()}
        inter = rows["interaction"]
        line = (
            f"Re-balancing: it changes the error by {m['balancing at full scale']} or {m['balancing at small scale']}, the "
            f"smaller loss by {m['smaller scale, plain']} or {m['smaller scale, balanced']}; they interact "
            f"({inter['mean']:.2f} [{inter['low']:.2f}, {inter['high']:.2f}]; short training)."
        )
    return line, _answered(findings, "the four corners")


@statement("O3", "Table 2", "ours", "How much does choosing the best of 20 gain?")
def choice(e: Evidence):
    bias, findings, said = e.selection_bias, [], []
    for dataset in TABLE2_SETS:
        rows = bias[bias["dataset"] == dataset]
        most = rows["bias_over_plain"].max()
        what = f"{TITLES[dataset]}, bias of the best of 20 beyond the best of 5 plain"
        findings.append(Finding(what, f"at most {most:.2f} points", notes=(
            f"of changes of {rows['change'].max():+.2f} to {rows['change'].min():+.2f}",)))  # fmt: skip
        said.append(f"at most {most:.1f} points on {TITLES[dataset]}")
    return f"Little: {', '.join(said)}, from the printed numbers.", weigh("print", findings, "estimated")


def method_changes(e: Evidence) -> dict[str, list[Finding]]:
    """Each method's change against plain at full protocol and imbalance 100, by data set."""
    table = methods(e.profiles[FULL]) if FULL in e.profiles else pd.DataFrame({"dataset": [], "change_n": []})
    return {
        dataset: [_of_row(r["method"], r, METHOD_SEEDS, "change", "change_")
                  for r in table[table["dataset"].eq(dataset) & (table["change_n"] > 0)].to_dict("records")]
        for dataset in TABLE2_SETS
    }  # fmt: skip


@statement("O4", "later work", "ours", "Which method today?")
def today(e: Evidence):
    findings, lines = [], []
    for dataset, found in method_changes(e).items():
        findings += found
        if found:
            best = min(found, key=lambda f: f.estimate)
            lines.append(f"{TITLES[dataset]}: {best.what}, {best.estimate:+.2f} points (n = {best.n}, {best.word})")
    line = f"The lowest error at imbalance 100: {'; '.join(lines)}." if lines else "Not run yet."
    return line, _answered(findings, "plan B")


@statement("O5", "Sec. 5.2", "ours", "How does the gain depend on the length of training?")
def length(e: Evidence):
    rows = length_of_training(e.profiles).to_dict("records")
    findings = [_of_row(f"{TITLES[r['dataset']]}, {r['epochs']} epochs", r, LENGTH_SEEDS, "change") for r in rows]
    said = "; ".join(f"{f.what} {f.estimate:+.2f} (n = {f.n})" for f in findings)
    line = f"ResNet-8, imbalance 100, 0.9999 against plain: {said}." if findings else "Not run."
    return line, _answered(findings, "plan C")


@statement("O6", "Sec. 5.2", "ours", "What do the changes that other code makes cost?")
def ports(e: Evidence):
    """Changes that other code makes; the authors' own shuffle is not one, nor are our uniform weights."""
    rows = e.profiles[SHORT].ablations if SHORT in e.profiles else pd.DataFrame({"switch": [], "beta": []})
    rows = rows[~rows["switch"].isin(("weights", "shuffle")) & (rows["beta"] > 0)].to_dict("records")
    findings = [_of_row(f"{r['words']} ({r['label']}, beta {r['beta']:g})", r, SHORT_SEEDS) for r in rows]
    line = "Not run."
    if findings:
        shown = sum(f.word == "worse" for f in findings)
        seen = [f.detectable for f in findings]
        line = (f"{shown or 'None'} of {len(findings)} is shown to raise the error in short training; effects of "
                f"{min(seen):.0f} to {max(seen):.0f} points could have been seen.")  # fmt: skip
    return line, _answered(findings, "runs with one switch changed")
