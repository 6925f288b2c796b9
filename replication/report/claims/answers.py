"""The front page as data: seven answers, where the paper is wrong or loose, which beta, which method, what ran.

Every word is computed from findings: an answer of six words or fewer, what the paper prints, what we found.
"""

from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.comparison import forest
from replication.report.analysis.selection import difference_by_imbalance, improvements
from replication.report.claims import loss, ours, results, theory
from replication.report.claims.evidence import SHORT, Evidence
from replication.report.claims.finding import (
    AWAITING,
    BETTER,
    CONFIRMED,
    INCONSISTENT,
    NOT_RUN,
    PROVED,
    REFUTED,
    WORSE,
    Finding,
    interval_word,
)
from replication.report.claims.planned import RULES
from replication.theory.covering import check

HURTS = 1.0  # points: a mean change of a beta at one imbalance that counts as harm in `which_beta`
SAFE = 24  # of 25 cells that improve: a beta that helps
LOGIT_SHIFTS = {"balanced softmax", "logit adjustment after training"}  # by the logarithm of the class prior
LARGEST = {"cifar10": 5000, "cifar20": 2500, "cifar100": 500}  # training images of the largest class


class Answer(NamedTuple):
    """A row of the front page's table; `link` is a path below results/, or empty."""

    question: str
    answer: str
    paper: str
    ours: str
    link: str = ""


class BetaAdvice(NamedTuple):
    """What the printed cells of a data set say of beta."""

    dataset: str
    largest_class: int
    helped: str
    hurt: str


def _span(values) -> str:
    """Write the range of changes in error, the smaller effect first: "-1.4 to -7.7"."""
    ends = (f"{v:+.1f}" for v in sorted((min(values), max(values)), key=abs))
    return " to ".join(dict.fromkeys(ends))


def _verdict(findings: list[Finding]) -> str:
    """Return at most six words on comparisons that should be better."""
    words = [f.word for f in findings if f.word != NOT_RUN]
    known, better = [w for w in words if w != AWAITING], words.count(BETTER)
    if not known:
        return "Seeds still missing" if words else "Not run yet"
    if better:
        return f"Yes, {'' if better == len(known) else 'clearly '}in {better} of {len(known)}"
    return "No" if WORSE in known else "Undecided"


def _shown(findings: list[Finding], name) -> str:
    """The measured comparisons and their seeds; the forest plot beneath has the intervals."""
    known = [f for f in findings if f.n]
    seeds = [f" ({f.n}{f'/{f.planned}' if f.n < f.planned else ''} seeds)" for f in known]
    once = len(set(seeds)) == 1  # stated once, at the end
    said = [f"{f.estimate:+.1f} {name(f)}{'' if once else n}" for f, n in zip(known, seeds, strict=True)]
    return ", ".join(said) + (seeds[0] if once else "") or NOT_RUN


def _fixed(e: Evidence, dataset: str, beta: float = 0.9999) -> list[Finding]:
    """Full protocol: softmax at one beta against plain on a data set, from R1's comparisons."""
    wanted = [c for c in RULES["R1"].beside if (c.plus[0].dataset, c.plus[0].beta) == (dataset, beta)]
    return [c.finding(e.errors) for c in wanted if c.plus[0].loss == "softmax"]


def _imbalance(finding: Finding) -> str:
    return "at " + finding.what.split("imbalance ")[1].split(",")[0]


def _formula(e: Evidence) -> Answer:
    answer = "Yes, under its assumption" if set(theory.t1(e).words.values()) == {PROVED, CONFIRMED} else "Not confirmed"
    rows = e.covering.get("verify")
    said = "not simulated" if rows is None else f"{len(rows)} simulations, largest z {check(rows).largest_z:.1f}"
    return Answer("Is the formula right?", answer, "derived", said, "covering/README.md")


def _cifar10(e: Evidence) -> Answer:
    printed = paper.difference_to_plain(paper.heat_map("cifar10")).query("label == 'softmax' and beta == 0.9999")
    found, question = _fixed(e, "cifar10"), "Lower error on CIFAR-10?"
    return Answer(question, _verdict(found), _span(printed["difference"]), _shown(found, _imbalance), "paper/README.md")


def _short(e: Evidence) -> Answer:
    rows = forest(e.profiles[SHORT]).query("dataset == 'cifar10'") if SHORT in e.profiles else pd.DataFrame()
    found = [Finding("", interval_word(r["low"], r["high"], r["n"], ours.SHORT_SEEDS)) for r in rows.to_dict("records")]
    said = NOT_RUN
    if found:
        said = f"{_span(rows['estimate'])} ({e.profiles[SHORT].budget}, {rows['n'].min()} seeds)"
    return Answer("... after short training?", _verdict(found), "-", said, "cpu/README.md")


def _cifar100(e: Evidence) -> Answer:
    hurt = beta_harm("cifar100")
    printed, said = f"up to {hurt.max():+.1f}", _shown(_fixed(e, "cifar100"), _imbalance)
    answer = "No" if len(hurt) else "Yes"
    return Answer("0.9999 for 100 classes?", answer, printed, said, "published/README.md")


def _rebalancing(e: Evidence) -> Answer:
    by = {f.what.removeprefix("short training, "): f for f in ours.rebalancing(e).weighings[0].findings}
    if "interaction" not in by:
        return Answer("Re-balancing, or a smaller loss?", "Not run yet", "-", NOT_RUN)
    effects = {
        "Re-balancing": [by["balancing at full scale"], by["balancing at small scale"]],
        "a smaller loss": [by["smaller scale, plain"], by["smaller scale, balanced"]],
    }
    words = {name: {f.word for f in parts} for name, parts in effects.items()}
    answer = (
        " and ".join(name for name, found in words.items() if BETTER in found and WORSE not in found) or "Undecided"
    )
    answer += "; they interact" if by["interaction"].word == "shown" else ""
    numbers = [" or ".join(f"{f.estimate:+.1f}" for f in parts) for parts in effects.values()]
    said = "balancing {}, scale {} (short training)".format(*numbers)
    return Answer("Re-balancing, or a smaller loss?", answer, "-", said, "cpu/README.md")


def _choice(e: Evidence) -> Answer:
    most, question = e.selection_bias["bias_over_plain"].max(), "Gain from choosing among 20?"
    answer, printed = f"At most {most:.1f} points", f"{_span(e.selection_bias['change'])}"
    return Answer(question, answer, printed, "from print", "published/README.md")


def _method(e: Evidence) -> Answer:
    best = {d: min(found, key=lambda f: f.estimate) for d, found in ours.method_changes(e).items() if found}
    names = {f.what for f in best.values() if f.word == BETTER}
    answer = names.copy().pop().capitalize() if len(names) == 1 else "It depends on the data"
    answer = "Shift the logits by the class prior" if len(names) > 1 and names <= LOGIT_SHIFTS else answer
    found = [replace(f, what=f"on {paper.TITLES[d]}") for d, f in best.items()]
    said, answer = _shown(found, lambda f: f.what), answer if names else _verdict(found)
    return Answer("Which method today?", answer, "-", said, "paper/README.md")


def answers(evidence: Evidence) -> list[Answer]:
    """The seven answers of the front page."""
    makers = (_formula, _cifar10, _short, _cifar100, _rebalancing, _choice, _method)
    return [make(evidence) for make in makers]


def wrong_or_loose(evidence: Evidence) -> list[str]:
    """Say in two sentences where the paper is wrong or loose; each is left out if the evidence does not support it."""
    said = []
    if loss.l2(evidence).words["derivation"] == REFUTED:
        shrink = 1 / loss.average_weight(evidence, "cifar10", 100, 0.9999)
        said.append(f"Weights that sum to C make the loss {shrink:.1f} times smaller (CIFAR-10 at 100, beta 0.9999).")
    if results.r5b(evidence).words["print"] == INCONSISTENT:
        said.append("Figure 5's caption advises 0.999 for CIFAR-100, which raises all 3 printed errors.")
    return said


def beta_harm(dataset: str, beta: float = 0.9999) -> pd.Series:
    """Mean printed change of a beta over five losses (points) at the imbalance factors where it hurts, rising."""
    rows = difference_by_imbalance().query("dataset == @dataset and beta == @beta and mean_difference >= @HURTS")
    return rows.set_index("imbalance_factor")["mean_difference"].sort_index()


def which_beta() -> list[BetaAdvice]:
    """Return the betas that the printed cells favour, one row per data set.

    >>> which_beta()[0].helped
    '0.999, 0.9999 (25 of 25)'
    """
    advice = []
    for dataset, rows in improvements().groupby("dataset", sort=False):
        good = rows[rows["improved"] >= min(SAFE, rows["improved"].max())]
        betas = ", ".join(f"{beta:g}" for beta in good["beta"])
        helped = f"{betas} ({good['improved'].min()} of {good['of'].max()})"
        worst = {beta: harm.max() for beta in rows["beta"] if len(harm := beta_harm(dataset, beta))}
        hurt = ", ".join(f"{beta:g}: {most:+.1f}" for beta, most in worst.items())
        advice.append(BetaAdvice(paper.TITLES[dataset], LARGEST[dataset], helped, hurt or "-"))
    return advice


def beta_warning() -> str:
    """Return the warning beside the advice: what 0.9999 does to CIFAR-100."""
    return f"0.9999 costs CIFAR-100 up to {beta_harm('cifar100').max():.1f} points."


def method_sentence(evidence: Evidence) -> str:
    """Say in one sentence which method to use today."""
    return ours.today(evidence).bottom_line


def scope(evidence: Evidence) -> pd.DataFrame:
    """Return what ran, one row per profile without smoke."""
    rows = []
    for p in (p for name, p in evidence.profiles.items() if name != "smoke"):
        seeds, precision, hardware = (
            ", ".join(map(str, sorted(set(p.records[c])))) for c in ("seed", "precision", "device")
        )
        counts = (len(p.records), len(p.diverged), f"{p.wall_hours:.1f}")
        rows.append((p.name, p.title, p.budget, *counts, seeds, precision, hardware))
    columns = ["profile", "study", "budget", "records", "diverged", "wall hours", "seeds", "precision", "hardware"]
    return pd.DataFrame(rows, columns=columns)
