"""How choosing the best of 20 biases Table 2's class-balanced row, and the change without that bias.

The paper sets the lowest of 20 class-balanced errors (5 losses x 4 betas) beside its plain losses.  All numbers here
are points of error; changes are class-balanced minus plain, minus is better; a bias says how much too low a pick is.
"""

import math
from functools import cache

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.measured import complete, finished, fixed_beta, of_one_precision, pairs
from replication.report.analysis.statistics import SelectionBias, additive_fit, same_pick, selection_bias, summary

COLUMN = ["dataset", "imbalance_factor"]


def improvements() -> pd.DataFrame:
    """Count the printed cells of each beta and data set that lie below their plain loss, and average the difference.

    >>> improvements().query("dataset == 'cifar10'")["improved"].tolist()
    [11, 16, 25, 25]
    """
    rows = paper.difference_to_plain(paper.heat_maps())
    groups = rows.groupby(["dataset", "beta"], sort=False)["difference"]
    return groups.agg(improved=lambda d: int((d < 0).sum()), of="size", mean_difference="mean").reset_index()


def difference_by_imbalance(maps: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return class-balanced minus plain (points), mean over losses, for each data set, beta and imbalance factor."""
    rows = paper.difference_to_plain(paper.heat_maps() if maps is None else maps)
    groups = rows.groupby(["dataset", "beta", "imbalance_factor"], sort=False)["difference"]
    return groups.mean().rename("mean_difference").reset_index()


def rerun_sd() -> tuple[float, int]:
    """Return the sd of a run (points) and its degrees of freedom from reruns of the paper's cells, CIFAR-10 at 50.

    It mixes subsets, which the authors draw without a seed, and versions of their code.
    """
    both = pd.concat([paper.heat_map("cifar10").query("imbalance_factor == 50"), paper.reruns()])
    return _pooled_sd(both, ["label", "beta"])


def replicate_sd(factors: tuple[float, ...] = (10, 20, 50)) -> tuple[float, int]:
    """Return the paper's own noise, sd of a run (points) and degrees of freedom, from cells that repeat one loss.

    At beta 0.9 the weights on CIFAR-10 are 1 within 2e-5 at imbalance 10 to 50, so each of these cells is a second run
    of its plain loss.

    >>> round(replicate_sd()[0], 2), round(replicate_sd((10, 20, 50, 100, 200))[0], 2)
    (0.26, 0.38)
    """
    cells = paper.heat_map("cifar10").query("beta in (0, 0.9) and imbalance_factor in @factors")
    return _pooled_sd(cells, ["label", "imbalance_factor"])


def _pooled_sd(cells: pd.DataFrame, by: list[str]) -> tuple[float, int]:
    """Return the standard deviation of the errors within groups, pooled, and its degrees of freedom."""
    groups = cells.groupby(by)["error"]
    freedom = len(cells) - groups.ngroups
    return math.sqrt(((cells["error"] - groups.transform("mean")) ** 2).sum() / freedom), freedom


@cache
def agreement_probability(sd: float) -> float:
    """Return the probability that ten picks on validation data as noisy as the test set are all the lowest test error.

    Appendix A says that Table 2's class-balanced entries are the lowest test errors of the ten columns; the caption
    says that they were chosen by cross-validation.  Both readings have independent noise `sd`; see `same_pick`.
    """
    maps = paper.heat_maps().query("beta > 0 and dataset in @paper.TABLE2_SETS")
    tables = [g.pivot(index="label", columns="beta", values="error") for _, g in maps.groupby(COLUMN)]
    return math.prod(same_pick(table, sd) for table in tables)


def published_selection_bias(maps: pd.DataFrame | None = None) -> pd.DataFrame:
    """Estimate what choosing the best of 20 gains by chance in each column of the printed heat maps.

    Columns: `sd` of the residuals from loss + beta (a run's noise and some interaction); `bias`, `bias_low`,
    `bias_high`: bootstrap of the winner's curse around the additive fit; `change`: best class-balanced minus best
    plain; `bias_over_plain`: bias beyond that of the best of 5 plain; `change_corrected`, `_low`, `_high`: the change
    without it; `fixed_change`: mean over the losses at the one beta that the paper advises from these cells.
    """
    maps = paper.heat_maps() if maps is None else maps
    fixed = difference_by_imbalance(maps).set_index(["dataset", "beta", "imbalance_factor"])["mean_difference"]
    rows = []
    for (dataset, factor), column in maps.groupby(COLUMN, sort=False):
        table = column[column["beta"] > 0].pivot(index="label", columns="beta", values="error").to_numpy()
        plain = column.loc[column["beta"] == 0, "error"].to_numpy()
        (fit, sd), change = additive_fit(table), float(table.min() - plain.min())
        bias, beyond, beta = selection_bias(fit, sd), selection_bias(fit, sd, plain), fixed_beta(dataset)
        row = dict(dataset=dataset, imbalance_factor=factor, sd=sd, **_named("bias", bias), change=change)
        row |= _named("change_corrected", SelectionBias(*(change + end for end in beyond)))
        row |= dict(bias_over_plain=beyond.mean, fixed_beta=beta, fixed_change=float(fixed[dataset, beta, factor]))
        rows.append(row)
    return pd.DataFrame(rows)


def _named(name: str, bias: SelectionBias) -> dict[str, float]:
    return {name: bias.mean, f"{name}_low": bias.low, f"{name}_high": bias.high}


def measured_selection_bias(records: pd.DataFrame) -> pd.DataFrame:
    """Estimate, for our runs, what choosing the best of the k class-balanced cells with enough seeds gains by chance.

    Columns: k; sd of one run, without the effects of cell and seed; bias, bias_low, bias_high of a pick among single
    runs around our cell means; shrinkage: how much worse the pick of one seed is on the others, averaged; the change at
    the fixed beta with its interval (fixed_*).  NaN without two cells and two seeds.
    """
    rows, both = [], pairs(records)
    done = finished(of_one_precision(records)).query("beta > 0 and imbalance_factor > 1")
    for (dataset, factor), group in done.groupby(COLUMN):
        table, beta = complete(group, "error"), fixed_beta(dataset)  # cells x seeds
        known, row = min(table.shape) > 1, dict(dataset=dataset, imbalance_factor=factor, k=len(table))
        sd = additive_fit(table)[1] if known else math.nan
        bias = selection_bias(table.mean(axis=1), sd) if known else SelectionBias(math.nan, math.nan, math.nan)
        row |= dict(sd=sd, **_named("bias", bias), shrinkage=_shrinkage(table) if known else math.nan, fixed_beta=beta)
        here = both.query("dataset == @dataset and imbalance_factor == @factor and beta == @beta")
        fixed = summary(complete(here).mean())
        rows.append(row | dict(fixed_change=fixed.mean, fixed_low=fixed.low, fixed_high=fixed.high, fixed_n=fixed.n))
    columns = ["dataset", "imbalance_factor", "k", "sd", "bias", "bias_low", "bias_high", "shrinkage"]
    return pd.DataFrame(rows, columns=[*columns, "fixed_beta", "fixed_change", "fixed_low", "fixed_high", "fixed_n"])


def _shrinkage(table: pd.DataFrame) -> float:
    """Average over seeds the error of a seed's best setting on the other seeds, minus its error on that seed."""
    own, best = table.min().to_numpy(), table.to_numpy()[table.to_numpy().argmin(axis=0)]  # row s: the pick of seed s
    return float(((best.sum(axis=1) - own) / (table.shape[1] - 1) - own).mean())
