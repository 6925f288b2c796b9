"""Statements on errors: R1 to R6 from the paper's printed numbers and the plan's runs."""

from collections.abc import Callable
from functools import wraps

import numpy as np
import pandas as pd
from scipy import stats

from replication.data.long_tail import long_tailed_counts
from replication.report.analysis import published as paper
from replication.report.analysis.measured import fixed_beta
from replication.report.analysis.selection import agreement_probability, replicate_sd
from replication.report.claims.evidence import Evidence, Weighing, settle, statement, weigh
from replication.report.claims.finding import AWAITING, BETTER, NOT_RUN, Finding, from_bool, tally
from replication.report.claims.planned import RULES

HIGH, LOW = (200.0, 100.0, 50.0), (20.0, 10.0)  # imbalance factors that R6 treats separately


def on_errors(id: str, place: str, text: str) -> Callable:
    """Make a function that weighs print into a statement that the runs of RULES decide too, and that says so."""

    def decorate(weigh_print: Callable) -> Callable:
        @wraps(weigh_print)
        def weigh_both(e: Evidence):
            line, *weighings = weigh_print(e)
            runs, ran = _runs(e, id)
            return f"{line}{ran}.", *weighings, runs

        return statement(id, place, "results", text)(weigh_both)

    return decorate


def _runs(e: Evidence, id: str) -> tuple[Weighing, str]:
    """Return the word of runs and its clause for a bottom line, with the number of comparisons that are as claimed."""
    rule = RULES[id]
    word, findings = rule.decide(e.errors)
    counted = tally(findings)
    if any(c.claimed != BETTER for c in rule.parts):
        pairs = zip(rule.parts, findings, strict=False)
        right = [f.word == c.claimed for c, f in pairs if f.word not in (NOT_RUN, AWAITING)]
        counted = f"{sum(right)} of {len(right)} as claimed" if right else ""
    said = f"our runs await their planned seeds ({counted})" if word == AWAITING else f"our runs: {word} ({counted})"
    if word == NOT_RUN:
        said = f"at one fixed beta, our runs: {counted}" if counted else ""
    return weigh("runs", findings, word), f"; {said.removesuffix(' ()')}" if said else ""


def _differences(e: Evidence, dataset: str) -> pd.DataFrame:
    """Return class-balanced minus plain in the cells of Figure 5: imbalance 50, three losses."""
    maps = e.heat_maps.query("imbalance_factor == 50 and label in @paper.FIGURE5_LOSSES")
    return paper.difference_to_plain(maps[maps["dataset"] == dataset])


@on_errors("R1", "Table 2",
           "With its chosen loss, beta and gamma the class-balanced loss improves each long-tailed set.")  # fmt: skip
def r1(e: Evidence):
    bias, chance = e.selection_bias, agreement_probability(replicate_sd()[0])
    better, left = int((bias["change"] < 0).sum()), int((bias["change_corrected"] < 0).sum())
    alone, fixed = int((bias["change_corrected_high"] < 0).sum()), bias["fixed_change"]
    printed = from_bool(
        "print", better == len(bias), f"best of 20 below the best of 5 plain in {better} of {len(bias)} columns",
        f"without the bias of choosing among 20, {left} of {len(bias)} are lower, {alone} with an interval below 0",
        'chosen "via cross-validation" (caption, Section 5.3), yet all are the lowest test error (Appendix A): a '
        f"validation pick as noisy as the test would do that with probability {chance:.0e}",
        "how many runs are behind a cell is not said",
    )  # fmt: skip
    word = f"{int((fixed < 0).sum())} of {len(fixed)} better, {int((fixed > 0).sum())} worse"
    what = f"one beta ({fixed_beta('cifar10'):g}; {fixed_beta('cifar100'):g}), mean over five losses"
    beside = Finding(what, word, notes=(f"by {fixed.min():+.2f} to {fixed.max():+.2f} points",))
    line = f"In print {better} of {len(bias)} columns improve, {alone} clearly beyond the choice of the best"
    return line, weigh("print", (printed, beside), printed.word)


@on_errors("R2", "Sec. 5.3", "Sigmoid and focal beat softmax in most cases.")
def r2(e: Evidence):
    plain = e.heat_maps.query("beta == 0 and dataset in @paper.TABLE2_SETS")
    wide = plain.pivot_table(index=["dataset", "imbalance_factor"], columns="label", values="error")
    d = wide.drop(columns="softmax").mean(axis=1) - wide["softmax"]
    lower, n = int((d < 0).sum()), len(d)
    what = f"plain losses of Table 2, {lower} of {n} columns lower"
    printed = settle("print", lower > n / 2, what, f"mean {d.mean():+.2f} points; weak")
    p = stats.binomtest(lower, n).pvalue
    return f"Sigmoid and focal beat softmax in {lower} of {n} printed columns (sign test p = {p:.2f})", printed


def printed_regret(e: Evidence) -> pd.Series:
    """Return the lowest printed error at 0.9999 minus the lowest at any other beta above 0, by imbalance, CIFAR-10."""
    cells = e.heat_maps.query("beta > 0 and dataset == 'cifar10'")
    lowest = cells.groupby(["imbalance_factor", "beta"])["error"].min().unstack()
    return lowest[0.9999] - lowest.drop(columns=0.9999).min(axis=1)


@on_errors("R3", "Sec. 5.3", "On CIFAR-10 the best beta is 0.9999 at every imbalance.")
def r3(e: Evidence):
    regret = printed_regret(e)
    said = ", ".join(f"{value:+.2f} at {factor:g}" for factor, value in regret[::-1].items())
    printed = settle("print", bool((regret <= 0).all()), "error at 0.9999 less the best other beta's", said)
    return f"In print 0.9999 is best on CIFAR-10, by {-regret.max():.2f} point at the closest", printed


@on_errors("R4", "Fig. 5", "CIFAR-10 at imbalance 50: the term always improves, more with larger beta.")
def r4(e: Evidence):
    gap = float(np.abs(e.class_balanced_weights(long_tailed_counts(5000, 10, 50), 0.9) - 1).max())
    here = _differences(e, "cifar10")
    d, none = here[here["beta"] > 0.9], here[here["beta"] == 0.9]
    steps = d.pivot(index="label", columns="beta", values="error").sort_index(axis=1).diff(axis=1).iloc[:, 1:]
    better, down = int((d["difference"] < 0).sum()), int((steps.to_numpy() < 0).sum())
    at_09 = ", ".join(f"{r.label} {r.plain:.2f} -> {r.error:.2f}" for r in none.itertuples())
    exact = settle("derivation", gap > 1e-3, "at beta 0.9 all weights are alike, so no effect is possible",
                   f"equal within {gap:.0e}; {at_09} are second runs (sd {replicate_sd()[0]:.2f})")  # fmt: skip
    printed = settle("print", better == len(d) and down == steps.size, f"0.99 to 0.9999, {better} of {len(d)} lower",
                     f"{down} of {steps.size} steps to a larger beta lower the error")  # fmt: skip
    line = f"Beta 0.9 cannot improve CIFAR-10 at 50 (weights alike); {better} of {len(d)} larger betas do in print"
    return line, exact, printed


@on_errors("R5a", "Fig. 5, text", "CIFAR-100 at imbalance 50: only small beta improves.")
def r5a(e: Evidence):
    d = _differences(e, "cifar100")
    right = int(((d["difference"] < 0) == (d["beta"] < 0.995)).sum())
    what = f"0.9 and 0.99 lower, 0.999 and 0.9999 higher, in {right} of {len(d)} cells"
    line = f"On CIFAR-100 at 50 {right} of {len(d)} printed cells agree that only small beta improves"
    return line, settle("print", right == len(d), what)


@on_errors("R5b", "Fig. 5, caption", "CIFAR-100 at imbalance 50: 0.99 or 0.999 improves.")
def r5b(e: Evidence):
    d = _differences(e, "cifar100").query("beta in (0.99, 0.999)")
    printed = []
    for beta, group in d.groupby("beta"):
        said = ", ".join(f"{r.label} {r.difference:+.2f}" for r in group.itertuples())
        printed.append(from_bool("print", bool((group["difference"] < 0).all()), f"beta {beta:g} against plain", said))
    worse = int((d.loc[d["beta"] == 0.999, "difference"] > 0).sum())
    return f"0.999 raises {worse} of 3 printed errors on CIFAR-100 at 50", weigh("print", printed)


@on_errors("R6", "App. A", "Larger beta is better on CIFAR-10; CIFAR-20 and CIFAR-100 need smaller.")
def r6(e: Evidence):
    cells = e.heat_maps.pivot(index=["dataset", "label", "imbalance_factor"], columns="beta", values="error")
    difference, high, low = (
        (cells[0.9999] - cells[0.99]).rename("difference").reset_index(),
        list[Finding](),
        list[Finding](),
    )
    for dataset, sign in (("cifar10", -1), ("cifar20", 1), ("cifar100", 1)):
        for factors, findings in ((HIGH, high), (LOW, low)):
            part = difference.query("dataset == @dataset and imbalance_factor in @factors")["difference"]
            what = f"{paper.TITLES[dataset]} at imbalance {max(factors):g} to {min(factors):g}, 0.9999 minus 0.99"
            note = f"{int((sign * part > 0).sum())} of {len(part)} cells as the paper says"
            findings.append(from_bool("print", sign * part.mean() > 0, what, note, estimate=float(part.mean())))
    word = weigh("print", high).word
    but = [f.what.split(" at ")[0] for f in low if f.word != word]
    said = f", but not on {', '.join(but)} at 20 and 10" if but else ""
    line = f"Larger beta for CIFAR-10, smaller for the others: {word} in print at 200 to 50{said}"
    return line, weigh("print", [f for both in zip(high, low, strict=True) for f in both], word)
