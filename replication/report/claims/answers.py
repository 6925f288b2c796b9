"""The answers of the front page as data: seven questions, where the paper is loose, which beta, which method, scope.

Every word is computed from findings: an answer of six words or fewer, what the paper prints, what we found.
"""

import math
from dataclasses import dataclass

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.comparison import forest
from replication.report.analysis.selection import difference_by_imbalance, improvements
from replication.report.claims import ours, results, theory
from replication.report.claims.evidence import SHORT, Evidence
from replication.report.claims.finding import (
    ALIKE,
    AWAITING,
    BETTER,
    CONFIRMED,
    NOT_RUN,
    PROVED,
    UNDECIDED,
    WORSE,
    Finding,
    interval_word,
)
from replication.report.claims.planned import RULES
from replication.theory.covering import check

HURTS = 1.0  # points: a mean change of a beta at one imbalance that counts as harm in `which_beta`
SAFE = 24  # of 25 cells that improve: a beta that helps


@dataclass(frozen=True)
class Answer:
    """A row of the front page's table; `link` is a path below results/, or empty."""

    question: str
    answer: str
    paper: str
    ours: str
    link: str = ""


@dataclass(frozen=True)
class BetaAdvice:
    """What the printed cells of a data set say of beta."""

    dataset: str
    largest_class: int
    helped: str
    hurt: str


def _signed(value: float) -> str:
    return f"{value:+.1f}"


def _span(values) -> str:
    """The two ends of changes in error, the smaller effect first: "-1.4 to -7.7"."""
    ends = sorted((min(values), max(values)), key=abs)
    return _signed(ends[0]) if ends[0] == ends[1] else f"{_signed(ends[0])} to {_signed(ends[1])}"


def _verdict(findings: list[Finding]) -> str:
    """Six words at most on comparisons that should be better."""
    words = [f.word for f in findings if f.word != NOT_RUN]
    known = [w for w in words if w in (BETTER, WORSE, ALIKE, UNDECIDED)]
    if not words:
        return "Not run yet"
    if not known:
        return "Seeds still missing"
    if known.count(BETTER) == len(known):
        return f"Yes, in {len(known)} of {len(known)}"
    if BETTER in known:
        return f"Yes, clearly in {known.count(BETTER)} of {len(known)}"
    return "No" if WORSE in known else "Undecided"


def _shown(findings: list[Finding], name) -> str:
    """The measured comparisons, each with interval and n."""
    said = []
    for f in findings:
        if f.n:
            bounds = f" [{_signed(f.low)}, {_signed(f.high)}]" if math.isfinite(f.low) else ""
            seeds = f"n = {f.n} of {f.planned}" if f.n < f.planned else f"n = {f.n}"
            said.append(f"{_signed(f.estimate)}{bounds} {name(f)} ({seeds})")
    return "; ".join(said) or "not run"


def _fixed(e: Evidence, dataset: str) -> list[Finding]:
    """Full protocol: softmax at one beta against plain on a data set, from R1's comparisons."""
    wanted = [c for c in RULES["R1"].beside if c.plus[0].dataset == dataset and "plain loss" not in c.what]
    return [c.finding(e.errors) for c in wanted]


def _imbalance(finding: Finding) -> str:
    return "at " + finding.what.split("imbalance ")[1].split(",")[0]


def _formula(e: Evidence) -> Answer:
    words = set(theory.t1(e).words.values())
    answer = "Yes, under its assumption" if words == {PROVED, CONFIRMED} else "Not confirmed"
    rows = e.covering.get("verify")
    said = "not simulated" if rows is None else f"{len(rows)} simulated settings, largest z {check(rows).largest_z:.1f}"
    return Answer("Is the effective-number formula right?", answer, "derived", said, "covering/README.md")


def _cifar10(e: Evidence) -> Answer:
    printed = paper.difference_to_plain(paper.heat_map("cifar10")).query("label == 'softmax' and beta == 0.9999")
    found = _fixed(e, "cifar10")
    return Answer("Does it lower the error on CIFAR-10 (softmax, beta 0.9999)?", _verdict(found),
                  _span(printed["difference"]), _shown(found, _imbalance), "paper/README.md")  # fmt: skip


def _short(e: Evidence) -> Answer:
    rows = forest(e.profiles[SHORT]).query("dataset == 'cifar10'") if SHORT in e.profiles else pd.DataFrame()
    found = [Finding("", interval_word(r["low"], r["high"], r["n"], ours.SHORT_SEEDS), r["estimate"], n=r["n"])
             for r in rows.to_dict("records")]  # fmt: skip
    said = "not run"
    if found:
        profile = e.profiles[SHORT]
        said = f"{_span([f.estimate for f in found])} ({profile.title}: {profile.budget}, n = {min(f.n for f in found)})"
    return Answer("... and after short training?", _verdict(found), "not reported", said, "cpu/README.md")


def _cifar100(e: Evidence) -> Answer:
    hurt = beta_harm("cifar100")
    found = [f for f in _fixed(e, "cifar100") if "0.9999" in f.what]
    return Answer("Is 0.9999 a safe default for 100 classes?", "No" if len(hurt) else "Yes",
                  f"up to {_signed(hurt.max())} on CIFAR-100", _shown(found, _imbalance), "published/README.md")  # fmt: skip


def _rebalancing(e: Evidence) -> Answer:
    findings = ours.rebalancing(e).weighings[0].findings
    question = "Is it re-balancing, or a smaller loss?"
    if len(findings) < 2:
        return Answer(question, "Not run yet", "not tested", "not run")
    by = {f.what.removeprefix("short training, "): f for f in findings}
    balance = [by[f"balancing at {scale} scale"] for scale in ("full", "small")]
    smaller = [by[f"smaller scale, {kind}"] for kind in ("plain", "balanced")]
    helps = [name for name, parts in (("Re-balancing", balance), ("a smaller loss", smaller))
             if BETTER in {f.word for f in parts} and WORSE not in {f.word for f in parts}]  # fmt: skip
    answer = " and ".join(helps) or "Undecided"
    answer += "; they interact" if by["interaction"].word == "shown" else ""
    numbers = [" or ".join(_signed(f.estimate) for f in parts) for parts in (balance, smaller)]
    said = f"balancing {numbers[0]}, smaller loss {numbers[1]} (short training)"
    return Answer(question, answer, "not tested", said, "cpu/README.md")


def _choice(e: Evidence) -> Answer:
    most, change = e.selection_bias["bias_over_plain"].max(), e.selection_bias["change"]
    answer = f"{'Little: at' if most < 0.5 else 'At'} most {most:.1f} points"
    return Answer("How much does choosing the best of 20 gain?", answer, f"reports {_span(change)}",
                  "computed from the printed numbers", "published/README.md")  # fmt: skip


def _method(e: Evidence) -> Answer:
    by_set, names = ours.method_changes(e), []
    best = {d: min(f, key=lambda f: f.estimate) for d, f in by_set.items() if f}
    names = list(dict.fromkeys(f.what for f in best.values() if f.word == BETTER))
    answer = names[0].capitalize() if len(names) == 1 else "It depends on the data" if names else "Undecided"
    if not best:
        answer = "Not run yet"
    elif {f.word for f in best.values()} == {AWAITING}:
        answer = "Seeds still missing"
    said = _shown(list(best.values()), lambda f: f.what)
    return Answer("Which method today?", answer, "not compared", said, "paper/README.md")


def answers(evidence: Evidence) -> list[Answer]:
    """The seven answers of the front page."""
    makers = (_formula, _cifar10, _short, _cifar100, _rebalancing, _choice, _method)
    return [make(evidence) for make in makers]


def wrong_or_loose(evidence: Evidence) -> list[str]:
    """Where the paper is wrong or loose, in two sentences; a sentence falls away where the evidence does not say so."""
    said = []
    if theory.l2(evidence).words["derivation"] == "refuted":
        shrink = 1 / theory.average_weight(evidence, "cifar10", 100, 0.9999)
        said.append("Weights that sum to C do not keep the loss at the same scale: on CIFAR-10 at imbalance 100 and beta "
                    f"0.9999 it starts {shrink:.1f} times smaller.")  # fmt: skip
    if results.r5b(evidence).words["print"] == "inconsistent":
        said.append("Figure 5's caption recommends beta 0.999 for CIFAR-100, which raises all three printed errors; and "
                    "beta 0.9 cannot help CIFAR-10 at imbalance 50, where all its weights are alike.")  # fmt: skip
    return said


def beta_harm(dataset: str, beta: float = 0.9999) -> pd.Series:
    """Mean printed change of a beta over five losses (points) at the imbalance factors where it hurts, rising."""
    rows = difference_by_imbalance().query("dataset == @dataset and beta == @beta and mean_difference >= @HURTS")
    return rows.set_index("imbalance_factor")["mean_difference"].sort_index()


def which_beta() -> list[BetaAdvice]:
    """Which betas the printed cells favour, a row a data set.

    >>> which_beta()[0].helped
    '0.999 (25 of 25 cells), 0.9999 (25 of 25 cells)'
    """
    counts, advice = improvements(), []
    for dataset in paper.HEAT_MAPS:
        rows = counts[counts["dataset"] == dataset]
        good = rows[rows["improved"] >= SAFE] if (rows["improved"] >= SAFE).any() else rows.nlargest(1, "improved")
        helped = ", ".join(f"{r.beta:g} ({r.improved} of {r.of} cells)" for r in good.itertuples())
        harms = {beta: beta_harm(dataset, beta) for beta in rows["beta"]}
        hurt = "; ".join(f"{beta:g} at {', '.join(f'{f:g}' for f in harm.index)}: up to {_signed(harm.max())}"
                         for beta, harm in harms.items() if len(harm))  # fmt: skip
        advice.append(BetaAdvice(paper.TITLES[dataset], LARGEST[dataset], helped, hurt or "none"))
    return advice


LARGEST = {"cifar10": 5000, "cifar20": 2500, "cifar100": 500}  # training images of the largest class


def beta_warning() -> str:
    """The warning beside the advice: what 0.9999 does to CIFAR-100."""
    harm = beta_harm("cifar100")[::-1]
    changes, factors = (", ".join(f"{v:{fmt}}" for v in values) for values, fmt in ((harm, "+.1f"), (harm.index, "g")))
    return f"Beta 0.9999 changes CIFAR-100's printed error by {changes} points at imbalance {factors} (mean of five losses)."


def method_sentence(evidence: Evidence) -> str:
    """Which method today, in one sentence."""
    return ours.today(evidence).bottom_line


def scope(evidence: Evidence) -> pd.DataFrame:
    """What ran: one row a profile, smoke left out."""
    shown = [p for name, p in evidence.profiles.items() if name != "smoke"]
    each = lambda p, column: ", ".join(str(v) for v in sorted(set(p.records[column])))  # noqa: E731
    return pd.DataFrame(
        [
            {"profile": p.name, "study": p.title, "budget": p.budget, "records": len(p.records),
             "diverged": len(p.diverged), "wall hours": f"{p.wall_hours:.1f}", "seeds": each(p, "seed"),
             "precision": each(p, "precision"), "hardware": each(p, "device")}
            for p in shown
        ],
        columns=["profile", "study", "budget", "records", "diverged", "wall hours", "seeds", "precision", "hardware"],
    )  # fmt: skip


