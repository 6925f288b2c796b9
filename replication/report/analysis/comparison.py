"""Compare measured cells with the paper's: Table 2, Figures 8 to 10 and the rows of a forest plot as numbers."""

import math

import numpy as np
import pandas as pd

from replication.experiments.grids import IMBALANCE_FACTORS
from replication.report.analysis import published as paper
from replication.report.analysis.measured import (
    CELL,
    cells,
    complete,
    differences,
    enough,
    fixed_beta,
    paired_cells,
    settings_by_seeds,
)
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import detectable_effect, summary

FACTORS = (*IMBALANCE_FACTORS, 1.0)
COLUMN = ["dataset", "imbalance_factor"]
LOWEST = "class-balanced, lowest"
MEASURED = ["mean", "sd", "n", "low", "high", "diverged", "seeds"]


def _rows_by(frame: pd.DataFrame, keys: list[str]) -> dict[tuple, dict]:
    return {tuple(row[k] for k in keys): row for row in frame.to_dict("records")}


def table2_rows(records: pd.DataFrame) -> pd.DataFrame:
    """Return Table 2, one row per data set, row of the table and imbalance factor, published beside measured.

    Rows: the five plain losses; "class-balanced, lowest": the lowest of the class-balanced cells with enough seeds
    (three, or the most that any has), picked on the test set as the paper does, with the number of cells but without an
    interval, which would not be valid after a pick; "CB <loss>": at the one beta fixed beforehand, without a pick.
    """
    ours, table2 = cells(records), paper.table2()
    balanced = table2["row"] == "class_balanced"
    at_one = table2[~balanced & (table2["imbalance_factor"] == 1)]
    measured, printed = _rows_by(ours, CELL), _rows_by(pd.concat([paper.heat_maps(), at_one]), CELL)
    best_ours, best_paper = _rows_by(_lowest(ours), COLUMN), _rows_by(table2[balanced], COLUMN)
    datasets = [*paper.TABLE2_SETS, *sorted(set(records["dataset"]) - set(paper.TABLE2_SETS))]
    rows = []
    for dataset in datasets:
        beta = fixed_beta(dataset)
        wanted: list[tuple] = [(label, label, 0.0) for label in paper.LABELS]
        wanted += [(LOWEST, None, None), *((f"CB {label}, beta {beta:g}", label, beta) for label in paper.LABELS)]
        for row, label, b in wanted:
            for factor in FACTORS:
                key = (dataset, factor) if row == LOWEST else (dataset, label, b, factor)
                theirs, mine = (best_paper, best_ours) if row == LOWEST else (printed, measured)
                rows.append(_beside(dataset, row, factor, theirs.get(key), mine.get(key, {})))
    return pd.DataFrame(rows)


def _lowest(ours: pd.DataFrame) -> pd.DataFrame:
    """Return the lowest class-balanced cell that has enough seeds; at imbalance 1 all betas are one loss."""
    ours = ours[(ours["beta"] > 0) & (ours["imbalance_factor"] > 1)]
    ours = ours[ours.groupby(COLUMN)["n"].transform(enough).astype(bool)]
    return paper.lowest(ours, "mean").assign(low=math.nan, high=math.nan)


def _beside(dataset: str, row: str, factor: float, published: dict | None, ours: dict) -> dict:
    pick = f"{ours['label']}, beta {ours['beta']:g}, lowest of {ours['of']}" if "of" in ours else ""
    head = {"dataset": dataset, "row": row, "imbalance_factor": factor}
    missing = dict.fromkeys(MEASURED, math.nan) | {"n": 0, "diverged": 0, "seeds": ""}
    numbers = {name: ours.get(name, missing[name]) for name in MEASURED}
    return head | {"published": published["error"] if published else math.nan} | numbers | {"pick": pick}


def heat_map_cells(records: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return a heat map's 125 cells, published and measured, with differences to plain (ours paired by seed)."""
    cell = ["label", "beta", "imbalance_factor"]
    here, changes = (f[f["dataset"] == dataset].set_index(cell) for f in (cells(records), paired_cells(records)))
    frame = here[[]].assign(published=math.nan, published_difference=math.nan)
    if dataset in paper.HEAT_MAPS:
        printed = paper.heat_map(dataset)
        to_plain = paper.difference_to_plain(printed).set_index(cell)["difference"].rename("published_difference")
        frame = printed.set_index(cell)[["error"]].rename(columns={"error": "published"}).join(to_plain)
    frame = (
        frame.join(here[MEASURED]).join(changes[["mean", "low", "high", "n"]].add_prefix("difference_")).reset_index()
    )
    counts = {name: pd.to_numeric(frame[name]).fillna(0).astype(int) for name in ("n", "diverged", "difference_n")}
    return frame.assign(seeds=frame["seeds"].fillna(""), **counts)


def forest(profile: Profile) -> pd.DataFrame:
    """Return class-balanced minus plain at the beta fixed beforehand, ours and printed, one row per column of Table 2.

    The mean over the losses that all columns of a data set share, if they share any, else over the column's own; one
    value per seed.  Columns: dataset, imbalance_factor, beta, labels, estimate, sd, n, low, high, detectable, printed
    (the paper's mean difference over the same losses).
    """
    rows, keys = [], ["dataset", "label", "imbalance_factor"]
    printed = paper.difference_to_plain(paper.heat_maps()).set_index([*keys, "beta"])["difference"]
    pairs = profile.pairs[profile.pairs["beta"] == profile.pairs["dataset"].map(fixed_beta)]
    pairs = pairs[
        pairs["label"].isin(paper.LABELS) & pairs["dataset"].isin(paper.HEAT_MAPS) & pairs["imbalance_factor"].gt(1)
    ]
    for dataset, both in pairs.groupby("dataset"):
        columns = {
            factor: complete(settings_by_seeds(differences(group))).droplevel(["dataset", "beta", "imbalance_factor"])
            for factor, group in both.groupby("imbalance_factor")
        }
        shared, beta = set.intersection(*(set(table.index) for table in columns.values())), fixed_beta(dataset)
        for factor, table in sorted(columns.items(), reverse=True):
            labels = tuple(label for label in paper.LABELS if label in (shared or set(table.index)))
            s = summary(table.loc[list(labels)].mean())
            row = dict(
                dataset=dataset, imbalance_factor=factor, beta=beta, labels=labels, estimate=s.mean, sd=s.sd, n=s.n
            )
            row |= dict(low=s.low, high=s.high, detectable=detectable_effect(s.sd, s.n))
            theirs = [printed.get((dataset, label, factor, beta), math.nan) for label in labels]
            rows.append(row | dict(printed=float(np.mean(theirs))))
    names = ["dataset", "imbalance_factor", "beta", "labels", "estimate", "sd", "n", "low", "high", "detectable"]
    return pd.DataFrame(rows, columns=[*names, "printed"])
