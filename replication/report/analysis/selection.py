"""What the choice of the best of 20 on the test set does to Table 2's class-balanced row, and what is left without it.

The paper sets the lowest of 20 class-balanced errors (5 losses x 4 betas) beside single runs of the plain losses.
"""

import math

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.measured import (
    complete,
    differences,
    finished,
    fixed_beta,
    of_one_precision,
    pairs,
    per_seed,
    settings_by_seeds,
)
from replication.report.analysis.statistics import (
    CONFIDENCE,
    additive_fit,
    additive_residual_sd,
    expected_minimum,
    luck_beyond,
    luck_of_the_best,
    pooled_sd,
    summary,
)


def improvements(maps: pd.DataFrame | None = None) -> pd.DataFrame:
    """Of the cells at each beta and data set, how many lie below their plain loss, and the mean difference (points).

    >>> improvements().query("dataset == 'cifar10'")["improved"].tolist()
    [11, 16, 25, 25]
    """
    rows = paper.difference_to_plain(paper.heat_maps() if maps is None else maps).dropna(subset=["difference"])
    groups = rows.groupby(["dataset", "beta"], sort=False)["difference"]
    return groups.agg(improved=lambda d: int((d < 0).sum()), of="size", mean_difference="mean").reset_index()


def difference_by_imbalance(maps: pd.DataFrame | None = None) -> pd.DataFrame:
    """Mean over the losses of class-balanced minus plain (points) for each data set, beta and imbalance factor."""
    rows = paper.difference_to_plain(paper.heat_maps() if maps is None else maps).dropna(subset=["difference"])
    keys = ["dataset", "beta", "imbalance_factor"]
    return rows.groupby(keys, sort=False)["difference"].agg(mean_difference="mean", losses="size").reset_index()


def rerun_sd() -> tuple[float, int]:
    """Run-to-run standard deviation (points) from the paper's cells and later runs of the authors' code, and its df.

    CIFAR-10 at imbalance 50.  The authors draw the subset without a seed, so it is part of the spread.
    """
    later = paper.reruns()
    printed = paper.heat_map("cifar10").query("imbalance_factor == 50")
    both = pd.concat([printed, later])
    return pooled_sd(group["error"] for _, group in both.groupby(["label", "beta"]))


def published_luck(maps: pd.DataFrame | None = None, level: float = CONFIDENCE) -> pd.DataFrame:
    """How much the best of 20 gains by luck in each column of the heat maps, from their printed numbers alone.

    Columns: `sd` of the residuals from loss + beta (an estimate of a run's noise that holds some interaction);
    `luck_equal` = -sd x expected_minimum(20), were all 20 equally good; `luck`, `luck_low`, `luck_high`: bootstrap of
    the winner's curse around the additive fit; `gain` = best plain minus best class-balanced; `fair_luck` = luck of
    the best of 20 less luck of the best of 5 plain, to be taken off the gain; `left`, `left_low`, `left_high` = gain
    less that luck, and its bounds at `level`; `fixed_gain` = mean over the losses at the one beta that the
    paper advises (no choice but that advice, which rests on these cells); all in points.
    """
    maps = paper.heat_maps() if maps is None else maps
    fixed = difference_by_imbalance(maps).set_index(["dataset", "beta", "imbalance_factor"])["mean_difference"]
    rows = []
    for (dataset, factor), column in maps.groupby(["dataset", "imbalance_factor"], sort=False):
        table = paper.balanced(column).pivot(index="label", columns="beta", values="error").to_numpy()
        plain = paper.plain(column)["error"].to_numpy()
        sd, _ = additive_residual_sd(table)
        luck, fair = luck_of_the_best(additive_fit(table), sd), luck_beyond(additive_fit(table), plain, sd, level)
        gain = float(plain.min() - table.min())
        rows.append(
            {"dataset": dataset, "imbalance_factor": factor, "sd": sd, "luck_equal": -sd * expected_minimum(table.size),
             "luck": luck.mean, "luck_low": luck.low, "luck_high": luck.high, "gain": gain,
             "fair_luck": fair.mean, "left": gain - fair.mean, "left_low": gain - fair.high,
             "left_high": gain - fair.low, "fixed_beta": fixed_beta(dataset),
             "fixed_gain": -float(fixed[dataset, fixed_beta(dataset), factor])}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _grids(records: pd.DataFrame):
    """(data set, imbalance factor), and its class-balanced errors without gaps: (label, beta) by seed."""
    done = finished(of_one_precision(records)).query("beta > 0")
    for key, group in done.groupby(["dataset", "imbalance_factor"]):
        yield key, complete(settings_by_seeds(group.set_index(["label", "beta", "seed"])["error"]))


def measured_luck(records: pd.DataFrame) -> pd.DataFrame:
    """The same for our runs: best of the k class-balanced cells that have enough seeds, luck from their own noise.

    Columns: k (cells), sd (of one run, after the effects of cell and seed: what all cells of a seed share favours none
    of them), luck_equal, luck, luck_low, luck_high (a pick among single runs around our cell means), and the gain at
    the fixed beta with its interval over seeds; NaN without two cells and two seeds.
    """
    rows, both = [], pairs(records)
    for (dataset, factor), table in _grids(records):
        known = min(table.shape) > 1
        sd = additive_residual_sd(table)[0] if known else math.nan
        luck = luck_of_the_best(table.mean(axis=1), sd) if known else (math.nan,) * 3
        beta = fixed_beta(dataset)
        here = both.query("dataset == @dataset and imbalance_factor == @factor and beta == @beta")
        fixed = summary(-per_seed(differences(here)))
        equal = -sd * expected_minimum(len(table)) if known else math.nan
        rows.append(
            {"dataset": dataset, "imbalance_factor": factor, "k": len(table), "sd": sd, "luck_equal": equal,
             "luck": luck[0], "luck_low": luck[1], "luck_high": luck[2], "fixed_beta": beta, "fixed_gain": fixed.mean,
             "fixed_sd": fixed.sd, "fixed_low": fixed.low, "fixed_high": fixed.high, "fixed_n": fixed.n}
        )  # fmt: skip
    columns = ["dataset", "imbalance_factor", "k", "sd", "luck_equal", "luck", "luck_low", "luck_high", "fixed_beta"]
    return pd.DataFrame(rows, columns=[*columns, "fixed_gain", "fixed_sd", "fixed_low", "fixed_high", "fixed_n"])


def selected_seeds(records: pd.DataFrame) -> pd.DataFrame:
    """Pick the best class-balanced cell on one seed and read its error on the others: the luck of the pick, measured.

    One row per data set, imbalance factor and picking seed: the pick, its error on that seed, its mean on the other
    seeds, `shrinkage` = the latter minus the former (points; positive: the pick was partly luck).
    """
    rows = []
    for (dataset, factor), wide in _grids(records):
        if min(wide.shape) < 2:
            continue
        for seed in wide:
            pick = wide[seed].idxmin()
            others = float(wide.drop(columns=seed).loc[pick].mean())
            rows.append(
                {"dataset": dataset, "imbalance_factor": factor, "seed": seed, "of": len(wide), "label": pick[0],
                 "beta": pick[1], "picked": float(wide.loc[pick, seed]), "others": others,
                 "shrinkage": others - float(wide.loc[pick, seed])}
            )  # fmt: skip
    columns = ["dataset", "imbalance_factor", "seed", "of", "label", "beta", "picked", "others", "shrinkage"]
    return pd.DataFrame(rows, columns=columns)
