"""Questions of ours, beside the paper's statements: growth with imbalance, re-balancing, the pick, methods, length."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from replication.report.analysis.ablations import CONTRASTS
from replication.report.analysis.comparison import forest, length_of_training
from replication.report.analysis.methods import methods
from replication.report.analysis.published import TITLES
from replication.report.analysis.statistics import SIGNIFICANCE
from replication.report.claims.evidence import Evidence, Weighing, statement
from replication.report.claims.finding import BETTER, NOT_RUN, UNDECIDED, WORSE, Finding, of_row, of_seeds, tally

SHORT_SEEDS, METHOD_SEEDS, LENGTH_SEEDS = 3, 3, 5  # fixed beforehand: the short study's, and those of plans B and C


def _answered(findings: list[Finding]) -> Weighing | None:
    words = {f.word for f in findings}
    word = words.pop() if len(words) == 1 else tally(findings) or UNDECIDED
    return Weighing("runs", word, findings) if findings else None


@statement("O1")
def growth(e: Evidence):
    """Table 2 in print, and the slope of the short study's change over log10 imbalance, one per seed."""
    printed, runs = [], list[Finding]()
    for dataset, rows in e.selection_bias.sort_values("imbalance_factor").groupby("dataset"):
        changes = rows.set_index("imbalance_factor")["change"]
        found = stats.kendalltau(range(len(changes)), -changes, method="exact")
        word = UNDECIDED if found.pvalue >= SIGNIFICANCE else "grows" if found.statistic > 0 else "falls"
        notes = (_listed(changes), f"Kendall's tau {found.statistic:+.2f}, p = {found.pvalue:.2g}")
        printed.append(Finding(f"{TITLES[dataset]}, best of 20 minus best plain", word, notes=notes))
    columns = forest(e.short).query("dataset == 'cifar10'").set_index("imbalance_factor")
    if len(columns) > 2 and columns["labels"].nunique() == 1:  # a slope over the losses that all columns share
        table = pd.DataFrame(columns["values"].to_dict()).dropna().sort_index(axis=1)
        slopes = np.polyfit(np.log10(table.columns.to_numpy()), table.T, 1)[0]
        what = "short training, for ten times the imbalance"
        runs = [of_seeds(what, slopes, SHORT_SEEDS, notes=(_listed(table.mean()),))]
    word = runs[0].word if runs else NOT_RUN
    numbers = dict(in_print=" and ".join(dict.fromkeys(f.word for f in printed)))
    numbers |= dict(in_runs={BETTER: "it grows", WORSE: "it falls"}.get(word, word))
    return numbers, dict(print=Weighing("print", UNDECIDED, printed), runs=_answered(runs))


def _listed(changes: pd.Series) -> str:
    return ", ".join(f"{change:+.2f} at {factor:g}" for factor, change in changes.items())


@statement("O2")
def rebalancing(e: Evidence):
    """The 2 x 2 of scale and weights, with its interaction."""
    rows = [row for row in e.short.scale_by_weights.to_dict("records") if row["part"] in CONTRASTS]
    found = {row["part"]: of_row(f"short training, {row['part']}", row, SHORT_SEEDS) for row in rows}
    if found and found["interaction"].word in (BETTER, WORSE):
        found["interaction"] = replace(found["interaction"], word="shown")
    return found, dict(runs=_answered(list(found.values())))


@statement("O3")
def choice(e: Evidence):
    findings = []
    for dataset, rows in e.selection_bias.groupby("dataset"):
        what = f"{TITLES[dataset]}, bias of the best of 20 beyond the best of 5 plain"
        changes = f"of changes of {rows['change'].max():+.2f} to {rows['change'].min():+.2f}"
        findings.append(Finding(what, f"at most {rows['bias_over_plain'].max():.2f} points", notes=(changes,)))
    gains = "; ".join(f"{f.what.split(',')[0]} {f.word}" for f in findings)
    return dict(gains=gains), dict(print=Weighing("print", "estimated", findings))


def method_changes(e: Evidence) -> dict[str, list[Finding]]:
    """Each method's change against plain at full protocol and imbalance 100, by data set; those that are measured."""
    found: dict[str, list[Finding]] = {}
    for row in methods(e.full).query("change_n > 0").to_dict("records"):
        changes = {name: row[f"change_{name}"] for name in ("low", "high", "n")} | {"mean": row["change"]}
        found.setdefault(row["dataset"], []).append(of_row(row["method"], row | changes, METHOD_SEEDS))
    return found


@statement("O4")
def today(e: Evidence):
    best = {dataset: min(found, key=lambda f: f.estimate) for dataset, found in method_changes(e).items()}
    said = "; ".join(f"{TITLES[d]}: {f.what}, {f.estimate:+.2f} points (n = {f.n}, {f.word})" for d, f in best.items())
    return dict(best=said), dict(runs=_answered([f for found in method_changes(e).values() for f in found]))


@statement("O5")
def length(e: Evidence):
    rows = length_of_training(e.profiles).to_dict("records")
    findings = [of_row(f"{TITLES[r['dataset']]}, {r['epochs']} epochs", r, LENGTH_SEEDS, notes=_shift(r)) for r in rows]
    changes = "; ".join(f"{f.what} {f.estimate:+.2f} ({'; '.join([f'n = {f.n}', *f.notes])})" for f in findings)
    open_still = "" if any(f.notes for f in findings) else f"Open until two lengths share {LENGTH_SEEDS} seeds. "
    return dict(changes=changes, open_still=open_still), dict(runs=_answered(findings))


def _shift(row: dict) -> tuple[str, ...]:
    """Say what happens to an effect with longer training, by the interval of its shift, if that has all seeds."""
    first, mean, low, high = (row[f"shift_{name}"] for name in ("first", "mean", "low", "high"))
    word = "changes sign" if first * (first + mean) < 0 else "shrinks" if first * mean < 0 else "grows"
    said = f"{word if low * high > 0 else 'no shift shown'}, {mean:+.2f} [{low:+.2f}, {high:+.2f}]"
    return (said,) if row["shift_n"] >= LENGTH_SEEDS else ()


@statement("O6")
def ports(e: Evidence):
    """The authors' own shuffle is not such a change, nor are our uniform weights."""
    rows = e.short.ablations.query("switch not in ('weights', 'shuffle') and beta > 0").to_dict("records")
    findings = [of_row(f"{r['words']} ({r['label']}, beta {r['beta']:g})", r, SHORT_SEEDS) for r in rows]
    shown, seen = sum(f.word == WORSE for f in findings), [f.detectable for f in findings]
    numbers = dict(shown=shown or "None", switches=len(findings), least=min(seen, default=0), most=max(seen, default=0))
    return numbers, dict(runs=_answered(findings))
