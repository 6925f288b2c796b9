"""Rules on errors (R1 to R7, L4) that our runs decide: one profile's records, reference protocol.

The unit is the seed: losses and imbalance factors of one seed share their images, so they are averaged first.  A rule
that lost runs to divergence says how many and never replicates: the errors that are missing may be the bad ones.
"""

from itertools import pairwise

import numpy as np
import pandas as pd

from replication.report.controls import PAIR
from replication.report.measured import (
    CELL,
    complete,
    differences,
    finished,
    fixed_beta,
    lost_pairs,
    pairs,
    reference,
    settings_by_seeds,
)
from replication.report.paper import TABLE2_SETS, TITLES
from replication.report.verdicts import (
    CONTRADICTED,
    REPLICATED,
    Evidence,
    Finding,
    by_interval,
    capped,
    covered,
    judged,
    nothing,
    together,
)
from replication.training.experiment import BETAS, IMBALANCE_FACTORS

SETS = ("cifar10", "cifar20", "cifar100")  # the paper's; digits and others decide nothing about it
COLUMNS = {(dataset, factor) for dataset in TABLE2_SETS for factor in IMBALANCE_FACTORS}  # long-tailed, of Table 2


def runs_of(evidence: Evidence, query: str = "imbalance_factor > 1") -> tuple[pd.DataFrame, int]:
    """Finished reference runs on the paper's data sets that meet the query, and how many more of them diverged."""
    if evidence.records is None or not len(evidence.records):
        return pd.DataFrame(columns=[*PAIR, "error"]), 0
    runs = reference(evidence.records).query("dataset in @SETS").query(query)
    done = finished(runs)
    return done, len(runs) - len(done)


def _pairs(evidence: Evidence) -> tuple[pd.DataFrame, int]:
    """Pairs on the paper's long-tailed sets at the beta fixed beforehand, and how many more lost a member."""
    if evidence.records is None or not len(evidence.records):
        return pd.DataFrame(columns=[*CELL, "seed", "precision", "difference"]), 0
    both, lost = (
        frame[frame["beta"] == frame["dataset"].map(fixed_beta)].query("dataset in @SETS and imbalance_factor > 1")
        for frame in (pairs(evidence.records), lost_pairs(evidence.records))
    )
    return both, len(lost)


def _by(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Errors with a column for each value of `column`; a row is one seed in one precision, else alike."""
    index = [key for key in PAIR if key != column]
    return runs.pivot_table(index=index, columns=column, values="error")


def by_seeds(
    values: pd.Series, what: str = "difference", claimed: str = "below", equal: tuple[str, ...] = ()
) -> Finding:
    """`by_interval` of one value per seed, the mean over the settings; their losses are named.

    No verdict while a setting that was begun lacks seeds that others have: the rest must not decide without it.

    equal: levels of the index whose groups count alike, however many settings each holds.
    """
    begun = settings_by_seeds(values)
    table = complete(begun)
    means = table.groupby(level=list(equal)).mean() if equal else table
    finding = by_interval(means.mean(), f"{what} ({', '.join(table.index.unique('label'))})", claimed)
    return covered(finding, len(table), len(begun), "settings that have these seeds", (REPLICATED, CONTRADICTED))


def r1_runs(evidence: Evidence) -> Finding:
    both, lost = _pairs(evidence)
    groups = both.groupby(["dataset", "imbalance_factor"])
    parts = {f"{TITLES[d]} at {f:g}": by_seeds(differences(g)) for (d, f), g in groups}
    finding = covered(together(parts), len(COLUMNS & set(groups.groups)), len(COLUMNS), "columns of Table 2")
    return capped(finding, lost, "pairs")


def r2_runs(evidence: Evidence) -> Finding:
    runs, lost = runs_of(evidence)
    wide = _by(runs, "label")
    if "softmax" not in wide or wide.shape[1] < 2:
        return capped(nothing("softmax beside sigmoid or focal"), lost)
    others = {label: wide[label] - wide["softmax"] for label in wide if label != "softmax"}
    both = pd.concat(others, names=["label"]).dropna()
    column = ("dataset", "imbalance_factor")
    done = COLUMNS & set(both.groupby(level=list(column)).groups)
    finding = by_seeds(both, "sigmoid and focal minus softmax", equal=column)  # pairs of a seed share their softmax
    most = len(COLUMNS) // 2 + 1
    finding = covered(finding, len(done), most, "columns of Table 2", (REPLICATED, CONTRADICTED))
    return capped(finding, lost)


def r3_runs(evidence: Evidence) -> Finding:
    runs, lost = runs_of(evidence, "dataset == 'cifar10' and beta > 0 and imbalance_factor > 1")
    parts = {}
    for factor, group in runs.groupby("imbalance_factor"):
        wide = _by(group, "beta")
        if set(BETAS[1:]) <= set(wide):
            table = wide[list(BETAS[1:])].dropna()
            for rival in BETAS[1:-1]:
                parts[f"at {factor:g}, 0.9999 against {rival:g}"] = by_seeds(table[0.9999] - table[rival])
    if not parts:
        return capped(nothing("imbalance factor with all four betas"), lost)
    done = len(parts) // len(BETAS[1:-1])
    return capped(covered(together(parts), done, len(IMBALANCE_FACTORS), "imbalance factors"), lost)


def _gains(runs: pd.DataFrame, betas: tuple[float, ...], above: tuple[float, ...] = ()) -> dict[str, Finding]:
    """For each beta measured, class-balanced minus plain by seed; the claim is "below", but "above" for those."""
    wide = _by(runs, "beta")
    return {
        f"beta {b:g}": by_seeds(wide[b] - wide[0.0], claimed="above" if b in above else "below")
        for b in betas
        if {b, 0.0} <= set(wide)
    }


def r4_runs(evidence: Evidence) -> Finding:
    runs, lost = runs_of(evidence, "dataset == 'cifar10' and imbalance_factor == 50")
    parts, wide = _gains(runs, BETAS[1:]), _by(runs, "beta")
    steps = [(a, b) for a, b in pairwise(BETAS[1:]) if {a, b} <= set(wide)]
    parts |= {f"{a:g} to {b:g}": by_seeds(wide[b] - wide[a], "change") for a, b in steps}
    return capped(covered(together(parts), len(parts), 7, "comparisons"), lost)


def r5_runs(evidence: Evidence) -> Finding:
    runs, lost = runs_of(evidence, "dataset == 'cifar100' and imbalance_factor == 50 and beta != 0.9")
    parts = _gains(runs, BETAS[2:], above=(0.9999,))
    return capped(covered(together(parts), len(parts), 3, "betas"), lost)


def r6_runs(evidence: Evidence) -> Finding:
    runs, lost = runs_of(evidence, "imbalance_factor > 1 and beta in (0.9, 0.9999)")
    parts = {}
    for dataset, side in (("cifar10", "below"), ("cifar20", "above"), ("cifar100", "above")):
        here = _by(runs[runs["dataset"] == dataset], "beta")
        if {0.9, 0.9999} <= set(here):
            parts[TITLES[dataset]] = by_seeds(here[0.9999] - here[0.9], "0.9999 minus 0.9", side)
        else:
            parts[TITLES[dataset]] = nothing("runs at 0.9 and 0.9999")
    return capped(together(parts), lost)


def r7_runs(evidence: Evidence) -> Finding:
    both, lost = _pairs(evidence)
    parts = {}
    for dataset, group in both.groupby("dataset"):
        slopes = _slopes(group)
        if len(slopes):
            words = "change of class-balanced minus plain for ten times the imbalance"
            parts[TITLES[dataset]] = by_interval(slopes, words)
    if not parts:
        return capped(nothing("three imbalance factors with pairs"), lost, "pairs")
    done = sum(TITLES[dataset] in parts for dataset in TABLE2_SETS)
    return capped(covered(together(parts), done, len(TABLE2_SETS), "data sets of Table 2"), lost, "pairs")


def _slopes(group: pd.DataFrame) -> pd.Series:
    """Slope of the difference over log10 imbalance, one value per seed: each loss's own, averaged over the losses.

    Only losses with three imbalance factors or more; only seeds that have all of these cells.
    """
    wide = group.pivot_table(index="seed", columns=["label", "imbalance_factor"], values="difference")
    factors = wide.columns.to_frame(index=False).groupby("label").size()
    wide = wide.loc[:, wide.columns.get_level_values("label").isin(factors.index[factors >= 3])].dropna()
    slopes = {
        label: np.polyfit(np.log10(table.index.get_level_values("imbalance_factor")), table, 1)[0]
        for label, table in wide.T.groupby(level="label")
    }
    return pd.DataFrame(slopes, index=wide.index).mean(axis=1).dropna()  # empty without such a loss


def l4_runs(evidence: Evidence) -> Finding:
    if evidence.records is None or not len(evidence.records):
        return nothing("class-balanced runs at imbalance 1")
    runs = evidence.records.query("imbalance_factor == 1")
    lost = lost_pairs(runs)
    if not len(pairs(runs)):
        return capped(nothing("class-balanced runs at imbalance 1"), len(lost), "pairs")
    same = pd.concat([pairs(on_one) for _, on_one in runs.groupby("device")])  # another machine may round otherwise
    if not len(same):
        return capped(nothing("pair of such runs on one kind of hardware"), len(lost), "pairs")
    equal = int((same["difference"] == 0).sum())
    words = f"{equal} of {len(same)} pairs on like hardware end with the same error to the last digit"
    return capped(judged(equal == len(same), words), len(lost), "pairs")
