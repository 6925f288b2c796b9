"""Rules on errors (R1 to R7, L4) that our runs decide: one profile's records, reference protocol.

The unit is the seed: losses and imbalance factors of one seed share their images, so they are averaged first.  A rule
that lost runs to divergence says how many and never replicates: the errors that are missing may be the bad ones.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis.ablations import PAIR
from replication.report.analysis.measured import (
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
from replication.report.analysis.published import FIGURE5_LOSSES, HEAT_MAPS, LABELS, TABLE2_SETS, TITLES
from replication.report.claims.evidence import Evidence
from replication.report.claims.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_MEASURED,
    REPLICATED,
    Finding,
    by_interval,
    capped,
    enough_of,
    judged,
    nothing,
    together,
)

SETS = tuple(HEAT_MAPS)  # the paper's; digits and others decide nothing about it
COLUMNS = {(dataset, factor) for dataset in TABLE2_SETS for factor in IMBALANCE_FACTORS}  # long-tailed, of Table 2
COLUMN = ["dataset", "imbalance_factor"]


def runs_of(
    evidence: Evidence, query: str = "imbalance_factor > 1", labels: tuple[str, ...] = LABELS
) -> tuple[pd.DataFrame, int]:
    """Finished reference runs of these losses on the paper's data sets that meet the query; how many more diverged."""
    if evidence.records is None or not len(evidence.records):
        return pd.DataFrame(columns=[*PAIR, "error"]), 0
    runs = reference(evidence.records).query("dataset in @SETS and label in @labels").query(query)
    done = finished(runs)
    return done, len(runs) - len(done)


def _pairs(evidence: Evidence) -> tuple[pd.DataFrame, int]:
    """Pairs on the long-tailed sets of Table 2, and how many more at the beta fixed beforehand lost a member."""
    if evidence.records is None or not len(evidence.records):
        return pd.DataFrame(columns=[*CELL, "seed", "precision", "difference"]), 0
    both, lost = (
        frame.query("dataset in @TABLE2_SETS and imbalance_factor > 1")
        for frame in (pairs(evidence.records), lost_pairs(evidence.records))
    )
    return both, int((lost["beta"] == lost["dataset"].map(fixed_beta)).sum())


def _well_chosen(both: pd.DataFrame, decide: Callable[[pd.DataFrame], Finding]) -> Finding:
    """Pairs of one data set, decided at the beta fixed beforehand; against the claim only if each other beta is too.

    The paper speaks of well-chosen hyperparameters: a fixed beta that fails may be the wrong one.
    """
    by_beta = {beta: decide(group) for beta, group in both.groupby("beta")}
    fixed = fixed_beta(both["dataset"].iloc[0])
    finding = by_beta.get(fixed, nothing(f"pairs at beta {fixed:g}"))
    if finding.verdict != CONTRADICTED:
        return finding
    if spared := [b for b in BETAS[1:] if b not in by_beta or by_beta[b].verdict != CONTRADICTED]:
        others = ", ".join(f"{b:g}" for b in spared)
        return finding._replace(verdict=INCONCLUSIVE, words=f"{finding.words}; not shown at beta {others}")
    return finding._replace(words=f"{finding.words}; so at each beta", p=max(f.p for f in by_beta.values()))


def _by(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Errors with a column for each value of `column`; a row is one seed in one precision, else alike."""
    index = [key for key in PAIR if key != column]
    return runs.pivot_table(index=index, columns=column, values="error")


def by_seeds(
    values: pd.Series,
    what: str = "difference",
    claimed: str = "below",
    reduce: Callable | None = None,
    points: Finding | None = None,
) -> Finding:
    """`by_interval` of one value per seed, the mean over the settings; their losses are named.

    No verdict while a setting that was begun lacks seeds that others have: the rest must not decide without it.

    reduce: of the table of settings by seeds, what the mean is taken over instead.  points: see `by_interval`.
    """
    begun = settings_by_seeds(values)
    table = complete(begun)
    means = (reduce(table) if reduce else table).mean()
    finding = by_interval(means, f"{what} ({', '.join(table.index.unique('label'))})", claimed, points)
    return enough_of(finding, len(table), len(begun), "settings that have these seeds", (REPLICATED, CONTRADICTED))


def r1_runs(evidence: Evidence) -> Finding:
    both, lost = _pairs(evidence)
    parts, done = {}, set()
    for (dataset, factor), group in both.groupby(["dataset", "imbalance_factor"]):
        if (group["beta"] == fixed_beta(dataset)).any():
            parts[f"{TITLES[dataset]} at {factor:g}"] = _well_chosen(group, lambda rows: by_seeds(differences(rows)))
            done.add((dataset, factor))
    finding = enough_of(together(parts), len(COLUMNS & done), len(COLUMNS), "columns of Table 2")
    return capped(finding, lost, "pairs")


def r2_runs(evidence: Evidence) -> Finding:
    runs, lost = runs_of(evidence)
    wide = _by(runs, "label")
    if "softmax" not in wide or wide.shape[1] < 2:
        return capped(nothing("softmax beside sigmoid or focal"), lost)
    others = {label: wide[label] - wide["softmax"] for label in wide if label != "softmax"}
    both = pd.concat(others, names=["label"]).dropna()
    done = COLUMNS & set(both.groupby(level=COLUMN).groups)
    words = "share of settings with sigmoid and focal, averaged, above softmax, less the share below"
    points = by_interval(complete(settings_by_seeds(both)).groupby(level=COLUMN).mean().mean(), "in points")
    finding = by_seeds(both, words, reduce=_share_above, points=points)  # pairs of a seed share their softmax
    finding = finding._replace(words=f"{finding.words}; {points.words}")
    most = len(COLUMNS) // 2 + 1
    return capped(enough_of(finding, len(done), most, "columns of Table 2", (REPLICATED, CONTRADICTED)), lost)


def _share_above(table: pd.DataFrame) -> pd.DataFrame:
    """Of differences, settings by seeds: their signs after the mean over losses; columns of Table 2 count alike."""
    signs = np.sign(table.groupby(level=["dataset", "imbalance_factor", "beta"]).mean())
    return signs.groupby(level=COLUMN).mean()


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
    return capped(enough_of(together(parts), done, len(IMBALANCE_FACTORS), "imbalance factors"), lost)


def _gains(runs: pd.DataFrame, betas: tuple[float, ...], above: tuple[float, ...] = ()) -> dict[str, Finding]:
    """For each beta measured, class-balanced minus plain by seed; the claim is "below", but "above" for those."""
    wide = _by(runs, "beta")
    return {
        f"beta {b:g}": by_seeds(wide[b] - wide[0.0], claimed="above" if b in above else "below")
        for b in betas
        if {b, 0.0} <= set(wide)
    }


def r4_runs(evidence: Evidence) -> Finding:
    runs, lost = runs_of(evidence, "dataset == 'cifar10' and imbalance_factor == 50", FIGURE5_LOSSES)
    parts, wide = _gains(runs, BETAS[1:]), _by(runs, "beta")
    steps = [(a, b) for a, b in pairwise(BETAS[1:]) if {a, b} <= set(wide)]
    parts |= {f"{a:g} to {b:g}": by_seeds(wide[b] - wide[a], "change") for a, b in steps}
    return capped(enough_of(together(parts), len(parts), 7, "comparisons"), lost)


def r5_runs(evidence: Evidence) -> Finding:
    runs, lost = runs_of(evidence, "dataset == 'cifar100' and imbalance_factor == 50 and beta != 0.9", FIGURE5_LOSSES)
    parts = _gains(runs, BETAS[2:], above=(0.9999,))
    return capped(enough_of(together(parts), len(parts), 3, "betas"), lost)


def r6_runs(evidence: Evidence) -> Finding:
    runs, lost = runs_of(evidence, "imbalance_factor > 1 and beta in (0.9, 0.9999)")
    parts = {}
    for dataset, side in (("cifar10", "below"), ("cifar20", "above"), ("cifar100", "above")):
        here = _by(runs[runs["dataset"] == dataset], "beta")
        if {0.9, 0.9999} <= set(here):
            both = (here[0.9999] - here[0.9]).dropna()
            done = both.index.unique("imbalance_factor")
            finding = by_seeds(both, "0.9999 minus 0.9", side, lambda t: t.groupby(level="imbalance_factor").mean())
            parts[TITLES[dataset]] = enough_of(
                finding, len(done), len(IMBALANCE_FACTORS), "imbalance factors", (REPLICATED, CONTRADICTED)
            )
        else:
            parts[TITLES[dataset]] = nothing("runs at 0.9 and 0.9999")
    return capped(together(parts), lost)


def r7_runs(evidence: Evidence) -> Finding:
    both, lost = _pairs(evidence)
    parts = {TITLES[dataset]: _well_chosen(group, _grows) for dataset, group in both.groupby("dataset")}
    done = sum(finding.verdict != NOT_MEASURED for finding in parts.values())
    if not done:
        return capped(nothing("three imbalance factors with pairs"), lost, "pairs")
    return capped(enough_of(together(parts), done, len(TABLE2_SETS), "data sets of Table 2"), lost, "pairs")


def _grows(both: pd.DataFrame) -> Finding:
    """Does the gain grow with imbalance?  Pairs of one data set and beta; losses with three factors or more.

    One slope per seed over log10 imbalance, each loss's own, averaged over the losses; only seeds that have all of
    these cells.  A line may rise over gains that fall at their end: a step that falls is told and does not replicate.
    """
    gains = -both.pivot_table(index="seed", columns=["label", "imbalance_factor"], values="difference")
    factors = gains.columns.to_frame(index=False).groupby("label").size()
    gains = gains.loc[:, gains.columns.get_level_values("label").isin(factors.index[factors >= 3])].dropna()
    if not gains.size:
        return nothing("three imbalance factors with pairs")
    slopes, steps = {}, {}
    for label, table in gains.T.groupby(level="label"):
        table = table.droplevel("label")  # imbalance factors, rising, by seeds
        slopes[label] = np.polyfit(np.log10(table.index), table, 1)[0]
        steps[label] = table.diff().iloc[1:]
    means = gains.T.groupby(level="imbalance_factor").mean().mean(axis=1)
    words = f"gain {', '.join(f'{gain:+.2f} at {factor:g}' for factor, gain in means.items())}; more gain for ten times"
    finding = by_interval(pd.DataFrame(slopes, gains.index).mean(axis=1), f"{words} the imbalance", "above")
    falling = [
        f"{factor:g}"
        for factor, step in pd.concat(steps).groupby(level="imbalance_factor").mean().iterrows()
        if by_interval(step, claimed="above").verdict == CONTRADICTED
    ]
    if not falling:
        return finding
    verdict = INCONCLUSIVE if finding.verdict == REPLICATED else finding.verdict
    return finding._replace(verdict=verdict, words=f"{finding.words}; but less at {', '.join(falling)} than before it")


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
