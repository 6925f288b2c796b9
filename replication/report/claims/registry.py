"""Every claim of the paper: where it stands, what decides it, the rule in words and as code, and the verdict.

One claim may rest on several kinds of evidence, each with a verdict of its own: `exact` (arithmetic), `simulation`
(covering, near-duplicates), `published` (the paper's printed numbers), `large-scale runs` and `runs` (records of one
profile).  It may stand on the one and fall on the other.
"""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from replication.report.claims import large_scale as s
from replication.report.claims import published as p
from replication.report.claims import runs as r
from replication.report.claims import stability as q
from replication.report.claims import theory as t
from replication.report.claims.evidence import Evidence
from replication.report.claims.verdicts import Finding

KINDS = ("exact", "simulation", "published", "large-scale runs", "runs")
PARTS = (
    "Of a rule in several parts all must hold, each at its own 5 % (an intersection-union test needs no correction); "
    "one part contradicts it only with its p-value times the number of parts below 5 % (Bonferroni). Where runs that "
    "a rule bears on diverged, it says how many and does not replicate; while a loss or beta that was begun lacks "
    "seeds that others have, it decides nothing. Seeds that all give one number have no spread: the sign test decides."
)
INTERVAL = "the 95 % t-interval over seeds, three or more, lies on the claimed side of 0; contradicted if on the other"
WELL_CHOSEN = INTERVAL + ", and so at each of the four betas (the claim is of well-chosen ones)"


class Rule(NamedTuple):
    """One kind of evidence: the rule in words, and the same as code."""

    kind: str
    words: str
    decide: Callable[[Evidence], Finding]


class Claim(NamedTuple):
    """A claim in our words, its place in the paper, and a rule for each kind of evidence."""

    id: str
    place: str
    statement: str
    rules: tuple[Rule, ...]


CLAIMS = (
    Claim("T1", "Prop. 1", "Without partial overlap E_n = (1 - beta^n)/(1 - beta) with beta = (N - 1)/N.", (
        Rule("exact", "equal to exact fractions for small N and n, to 1e-12 relative", t.t1_exact),
        Rule("simulation", "all z, and all variances where chi-square holds, within the bound at level 1e-4 "
             "for the whole table", t.t1_simulation))),
    Claim("T2", "Eq. 3, 4", "The j-th sample adds beta^(j-1); the total volume is N = 1/(1 - beta).", (
        Rule("exact", "increments and total right to 1e-10", t.t2_exact),
        Rule("simulation", "rows with n >= 5 N pass the same check as T1", t.t2_simulation))),
    Claim("T3", "Impl. 1", "E_n = 1 for N = 1, and E_n -> n as N -> infinity.", (
        Rule("exact", "1 exactly at beta 0; within 1e-7 of n at N = 1e12, n <= 1e5", t.t3_exact),
        Rule("simulation", "mean 1 exactly at N = 1; within 1 % of n where N >= 1e4 and n <= N/100", t.t3_simulation))),
    Claim("T4", "Sec. 3.1", "With partial overlap the expected volume is hard and depends on shape and dimension.", (
        Rule("simulation", "judged on a homogeneous space: contradicted if the mean is E_n for every shape and "
             "dimension there (check of T1, three shapes or more); replicated if it departs; what an edge does is "
             "told beside it and moves no verdict", t.t4_simulation),)),
    Claim("T5", "Sec. 3.1", "Stronger augmentation means a smaller N.", (
        Rule("simulation", "CIFAR-10, all copies of an image counted as it: at every radius N falls beyond both "
             "intervals in most of five or more classes; contradicted if in most it does not fall at all (it cannot "
             "rise)", t.t5_near_duplicates),)),
    Claim("T6", "Sec. 5.3", "A fine-grained data set has a smaller N per class than a coarse one.", (
        Rule("simulation", "median N of CIFAR-100's classes below CIFAR-10's at every radius, Mann-Whitney over "
             "classes at 5 %; CIFAR-20's are made of CIFAR-100's, so that they have the larger N is nearly "
             "arithmetic: told, not judged", t.t6_near_duplicates),)),
    Claim("L1", "Sec. 4",
          "beta = 0 is no re-weighting, beta -> 1 inverse class frequency, with a smooth way between.", (
        Rule("exact", "weights exactly 1 at 0, inverse frequency within 1e-6 near 1, tail over head never falls",
             t.l1_exact),)),
    Claim("L2", "Sec. 4", "Weights that sum to C keep the loss at roughly the same scale.", (
        Rule("exact", "average loss weight on long-tailed CIFAR-10 within a factor of 2 at every imbalance",
             t.l2_exact),)),
    Claim("L3", "Sec. 4.3", "CB focal is alpha-balanced focal with alpha_t = (1 - beta)/(1 - beta^n).", (
        Rule("exact", "class-balanced weights over alpha are one constant, to 1e-12; that the losses then are too, "
             "the tests of the losses show", t.l3_exact),)),
    Claim("L4", "Table 2", "At imbalance 1 the term is 1 and the loss is the plain one.", (
        Rule("exact", "weights exactly 1", t.l4_exact),
        Rule("published", "the class-balanced entries are those of the best plain loss", p.l4_published),
        Rule("runs", "every pair on like hardware ends with the same error", r.l4_runs))),
    Claim("P1", "Sec. 5.2", "With a drop of 0.1 the test error rises after the drop; 0.01 cures it.", (
        Rule("runs", "rise from first to last of two or more evaluations between the drops at 0.1, and its excess "
             "over 0.01 (that it is most at high imbalance is not judged): " + INTERVAL, q.p1_runs),)),
    Claim("P2", "Sec. 5.2",
          "A last bias of 0 makes sigmoid and focal training unstable at the start; -log(C - 1) does not.", (
        Rule("runs", "a seed is unstable if in the first quarter any of its runs diverges or its training loss rises; "
             "exact McNemar test over six seeds or more, of sigmoid and focal, at 5 %; contradicted too if none is "
             "unstable with bias 0",
             q.p2_runs),)),
    Claim("R1", "Table 2", "With well-chosen hyperparameters the class-balanced loss improves each long-tailed set.", (
        Rule("published", "best of 20 below best of 5 plain in every column after the luck of the larger choice is "
             "taken off, and more often than chance (sign test over columns at 5 %); contradicted if that test goes "
             "against it, or one column's interval at 5 % over their number", p.r1_published),
        Rule("runs", "at the beta fixed beforehand, in each of the ten columns, all measured: " + WELL_CHOSEN,
             r.r1_runs))),
    Claim("R2", "Sec. 5.3", "Sigmoid and focal beat softmax in most cases.", (
        Rule("published", "sign test over data sets, betas and imbalances, their average against softmax",
             p.r2_published),
        Rule("runs", "share of settings with their average above softmax less the share below, over six or more of the "
             "ten columns of Table 2, each alike: " + INTERVAL + "; where all seeds have one share and are too few for "
             "the sign test, the points decide if they agree", r.r2_runs))),
    Claim("R3", "Sec. 5.3", "On CIFAR-10 the best beta is 0.9999 at every imbalance.", (
        Rule("published", "literally, at each imbalance", p.r3_published),
        Rule("runs", "0.9999 against each other beta, at each of five imbalances, all measured: " + INTERVAL,
             r.r3_runs))),
    Claim("R4", "Fig. 5", "CIFAR-10 at imbalance 50: the term always improves, more with larger beta.", (
        Rule("published", "literally, all twelve cells and nine steps of Figure 5", p.r4_published),
        Rule("runs", "Figure 5's losses, each of four betas against plain, each of three steps to a larger beta: "
             + INTERVAL,
             r.r4_runs))),
    Claim("R5", "Fig. 5", "CIFAR-100 at imbalance 50: 0.99 or 0.999 improves, larger hurts.", (
        Rule("published", "literally, all nine cells of Figure 5 at these betas", p.r5_published),
        Rule("runs", "Figure 5's losses, at 0.99 and 0.999 better, at 0.9999 worse: " + INTERVAL, r.r5_runs))),
    Claim("R6", "App. A", "In general larger beta is better on CIFAR-10; CIFAR-20 and -100 need smaller.", (
        Rule("published", "0.9999 against 0.9, sign test over 25 cells of each, the way the claim says in all three",
             p.r6_published),
        Rule("runs", "0.9999 against 0.9 on each data set, mean over five imbalances, all measured: " + INTERVAL,
             r.r6_runs))),
    Claim("R7", "Table 2", "The gain grows with imbalance.", (
        Rule("published", "best plain minus class-balanced row of Table 2 over five imbalance factors: Kendall's tau, "
             "exact test at 5 %, both sets; contradicted if one falls with twice its p below 5 %", p.r7_published),
        Rule("runs", "slope of the gain at the beta fixed beforehand over log imbalance on both data sets, three "
             "factors or more, one slope per seed: " + WELL_CHOSEN + "; not replicated where the gain "
             "falls from one factor to the next, by such an interval", r.r7_runs))),
    Claim("R8", "Fig. 6", "At 0.9999 effective numbers on CIFAR-10 are near the counts; small betas make them alike.", (
        Rule("exact", f"E_n/n at least {t.NEAR} of every class at 0.9999; largest over smallest up to {t.ALIKE} at 0.9",
             t.r8_exact),)),
    Claim("S1", "Table 3", "CB focal (0.999, 0.5) beats softmax on iNaturalist 2017, 2018 and ILSVRC at each depth.", (
        Rule("published", "literally, top-1 and top-5 at 224", p.s1_published),
        Rule("large-scale runs", "on each data set and depth of Table 3, all measured: " + INTERVAL,
             lambda e: s.s1_runs(e.large_scale)))),
    Claim("S2", "Sec. 5.4",
          "ResNet-50 with it is comparable to ResNet-152 with softmax on iNaturalist, to ResNet-101 on ILSVRC.", (
        Rule("published", f"it closes {p.CLOSED:.0%} or more of the gap in top-1 on each", p.s2_published),
        Rule("large-scale runs", f"points gained less {p.CLOSED:.0%} of those that depth gains: " + INTERVAL,
             lambda e: s.s2_runs(e.large_scale)))),
    Claim("S3", "Fig. 7",
          "Its advantage shows after 60 epochs.", (
        Rule("large-scale runs", "mean difference of epochs 61 to 90, alone and less that of 31 to 60: " + INTERVAL,
             lambda e: s.s3_runs(e.large_scale)),)),
)  # fmt: skip


def judge(evidence: Evidence) -> pd.DataFrame:
    """One row per claim and kind of evidence: id, place, claim, evidence, verdict, finding, rule."""
    rows = []
    for claim in CLAIMS:
        for rule in claim.rules:
            finding = rule.decide(evidence)
            rows.append((claim.id, claim.place, claim.statement, rule.kind, finding.verdict, finding.words, rule.words))
    return pd.DataFrame(rows, columns=["id", "place", "claim", "evidence", "verdict", "finding", "rule"])
