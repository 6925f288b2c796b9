"""The front page as data: seven answers, where the paper is inaccurate, which beta, which method, what ran.

Every word is computed from findings: an answer of six words or fewer, what the paper prints, what we found.
"""

from typing import NamedTuple

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.comparison import forest
from replication.report.analysis.measured import conditions
from replication.report.analysis.selection import difference_by_imbalance, improvements
from replication.report.claims import finding as words
from replication.report.claims import loss, ours, results, theory
from replication.report.claims.evidence import Evidence
from replication.report.claims.finding import AWAITING, BETTER, NOT_RUN, WORSE, Finding, of_row
from replication.report.claims.planned import RULES
from replication.theory.covering import check

HURTS = 1.0  # points: a mean change of a beta at one imbalance that counts as harm in `which_beta`
SAFE = 24  # of 25 cells that improve: a beta that helps
LOGIT_SHIFTS = {"balanced softmax", "logit adjustment after training"}  # by the logarithm of the class prior


class Answer(NamedTuple):
    """A row of the front page's table."""

    question: str
    answer: str
    paper: str
    ours: str
    page: str  # a folder below results/


def _span(values) -> str:
    """Write the range of changes in error, the smaller effect first: "-1.4 to -7.7"."""
    return " to ".join(dict.fromkeys(f"{v:+.1f}" for v in sorted((min(values), max(values)), key=abs)))


def verdict(findings: list[Finding]) -> str:
    """Return at most six words on comparisons that should be better."""
    known = [f.word for f in findings if f.word not in (NOT_RUN, AWAITING)]
    if not known:
        return "Seeds still missing" if AWAITING in [f.word for f in findings] else "Not run yet"
    better, worse = known.count(BETTER), known.count(WORSE)
    if better > worse:
        return f"Yes, in {better} of {len(known)} columns"
    return "No" if worse else "Undecided"


def _shown(findings: dict[str, Finding]) -> str:
    """The measured comparisons by name, and their seeds; the forest plot beneath has the intervals."""
    known = {name: f for name, f in findings.items() if f.n}
    seeds = [f" ({f.n}{f'/{f.planned}' if f.n < f.planned else ''} seeds)" for f in known.values()]
    once = len(set(seeds)) == 1  # stated once, at the end
    said = [f"{f.estimate:+.1f} {name}{'' if once else n}" for (name, f), n in zip(known.items(), seeds, strict=True)]
    return ", ".join(said) + (seeds[0] if once else "") or NOT_RUN


def _fixed(e: Evidence, dataset: str) -> dict[str, Finding]:
    """Full protocol, R1's comparisons: softmax at 0.9999 against plain on a data set, by imbalance."""
    runs = [(c.plus[0], c) for c in RULES["R1"].beside]
    wanted = [(run, c) for run, c in runs if (run.dataset, run.loss, run.beta) == (dataset, "softmax", 0.9999)]
    return {f"at {run.imbalance_factor:g}": c.finding(e.errors) for run, c in wanted}


def _formula(e: Evidence) -> Answer:
    right = set(theory.t1(e).words.values()) == {words.PROVED, words.CONFIRMED}
    rows = e.covering.get("verify")
    said = "not simulated" if rows is None else f"{len(rows)} simulations, largest z {check(rows).largest_z:.1f}"
    answer = "Yes, under its assumption" if right else "Not confirmed"
    return Answer("Is the formula right?", answer, "derived", said, "covering")


def _cifar10(e: Evidence) -> Answer:
    printed = paper.difference_to_plain(paper.heat_map("cifar10")).query("label == 'softmax' and beta == 0.9999")
    found, span = _fixed(e, "cifar10"), _span(printed["difference"])
    return Answer("Lower error on CIFAR-10?", verdict(list(found.values())), span, _shown(found), "paper")


def _short(e: Evidence) -> Answer:
    rows = forest(e.short).query("dataset == 'cifar10'")
    found = [of_row("", row, ours.SHORT_SEEDS) for row in rows.to_dict("records")]
    said = f"{_span(rows['mean'])} ({rows['n'].min()} seeds)" if found else NOT_RUN
    return Answer("... after short training?", verdict(found), "-", said, "cpu")


def _cifar100(e: Evidence) -> Answer:
    most, shown = worst_changes()["cifar100", 0.9999], _shown(_fixed(e, "cifar100"))
    return Answer("0.9999 for 100 classes?", "No" if most >= HURTS else "Yes", f"up to {most:+.1f}", shown, "published")


def _rebalancing(e: Evidence) -> Answer:
    by = {f.what.removeprefix("short training, "): f for f in ours.rebalancing(e).weighings[0].findings}
    answer, said = "Not run yet", NOT_RUN
    if "interaction" in by:
        effects = {"Re-balancing": ("balancing at full scale", "balancing at small scale")}
        effects["a smaller loss"] = ("smaller scale, plain", "smaller scale, balanced")
        seen = {name: [by[part].word for part in parts] for name, parts in effects.items()}
        helps = [name for name, found in seen.items() if BETTER in found and WORSE not in found]
        together = "; they interact" if by["interaction"].word == "shown" else ""
        answer = f"{' and '.join(helps) or 'Undecided'}{together}"
        first, last = (by[part].estimate for part in effects["Re-balancing"])
        whole = first + by["smaller scale, balanced"].estimate
        said = f"{whole:+.1f}, re-balancing alone {first:+.1f} or {last:+.1f} (short training)"
    return Answer("Re-balancing, or a smaller loss?", answer, "-", said, "cpu")


def _choice(e: Evidence) -> Answer:
    most, span = e.selection_bias["bias_over_plain"].max(), _span(e.selection_bias["change"])
    sets = "CIFAR-10, -100, resampled"
    return Answer("Gain from choosing among 20?", f"At most {most:.1f} points", span, sets, "published")


def _method(e: Evidence) -> Answer:
    changes = ours.method_changes(e)
    best = [min(found, key=lambda f: f.estimate) for found in changes.values()]
    names = {f.what for f in best if f.word == BETTER}
    answer = "Shift logits by the class prior" if names <= LOGIT_SHIFTS else "It depends on the data"
    if len(names) < 2:
        answer = names.pop().capitalize() if names else verdict(best)
    means = pd.DataFrame({d: {f.what: f.estimate for f in found} for d, found in changes.items()}).mean(1, skipna=False)
    lowest = means.idxmin() if means.notna().any() else ""  # one method for all sets, lest the best be picked twice
    shown = {paper.TITLES[d]: f for d, found in changes.items() for f in found if f.what == lowest}
    return Answer("Which method today?", answer, "-", _shown(shown), "paper")


def answers(evidence: Evidence) -> list[Answer]:
    """The seven answers of the front page."""
    return [ask(evidence) for ask in (_formula, _cifar10, _short, _cifar100, _rebalancing, _choice, _method)]


def in_short(found: list[Answer]) -> str:
    """Say in one sentence what the answers on the formula, on CIFAR-10 and -100, and on methods come to."""
    formula, cifar10, _, cifar100, *_, method = (answer.answer for answer in found)
    parts = ["The formula holds" if formula.startswith("Yes") else "The formula is not confirmed"]
    harm = ", not on CIFAR-100 at 0.9999" if cifar100 == "No" else ""
    if cifar10.startswith("Yes"):
        parts.append(f"the loss helps on CIFAR-10{harm}")
    if method.startswith("Shift logits"):
        parts.append("later methods do better")
    return "; ".join(parts) + "."


def wrong_or_loose(evidence: Evidence) -> list[str]:
    """Say in two sentences where the paper is inaccurate; each is left out if the evidence does not support it."""
    said = []
    if loss.l2(evidence).words["derivation"] == words.REFUTED:
        shrink = 1 / loss.average_weight(evidence, "cifar10", 100, 0.9999)
        said.append(f"Weights summing to C make the loss {shrink:.1f} times smaller (CIFAR-10 at 100, 0.9999).")
    if results.r5b(evidence).words["print"] == words.INCONSISTENT:
        rises = results.figure5_differences(evidence, "cifar100").query("beta == 0.999")["difference"] > 0
        said.append(f"Figure 5's caption advises 0.999 for CIFAR-100: {rises.sum()} of {len(rises)} errors rise.")
    return said


def worst_changes() -> pd.Series:
    """Return the largest change at any imbalance by data set and beta: printed, mean over five losses, points."""
    return difference_by_imbalance().groupby(["dataset", "beta"])["mean_difference"].max()


def which_beta() -> list[dict]:
    """Return the betas that the printed cells favour: dataset, largest_class, helped, hurt.

    >>> which_beta()[0]["helped"]
    '0.999, 0.9999 (25)'
    """
    advice, worst = [], worst_changes()
    for dataset, rows in improvements().groupby("dataset", sort=False):
        good = rows[rows["improved"] >= min(SAFE, rows["improved"].max())]
        helped = f"{', '.join(f'{beta:g}' for beta in good['beta'])} ({good['improved'].min()})"
        hurt = ", ".join(f"{beta:g}: {most:+.1f}" for beta, most in worst[dataset].items() if most >= HURTS) or "-"
        title, largest = paper.TITLES[dataset], paper.SIZES[dataset][0]
        advice.append(dict(dataset=title, largest_class=largest, helped=helped, hurt=hurt))
    return advice


def scope(evidence: Evidence) -> pd.DataFrame:
    """Return what ran, one row per profile."""
    rows = []
    for p in evidence.profiles.values():
        diverged = int((p.records["status"] != "finished").sum())
        hours = f"{p.records['wall_seconds'].sum() / 3600:.1f}"  # runs at once on one machine each count in full
        rows.append((p.title, p.budget, len(p.records), diverged, hours, *conditions(p.records)))
    columns = ["study", "budget", "records", "diverged", "wall hours", "seeds", "precision", "hardware"]
    return pd.DataFrame(rows, columns=columns)
