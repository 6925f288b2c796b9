"""Measured cells beside the paper's: Table 2 and Figures 8 to 10 as numbers."""

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


def datasets(records: pd.DataFrame, first=("cifar10", "cifar100")) -> list[str]:
    """The paper's data sets of a table, then whatever else was measured."""
    return [*first, *sorted(set(records["dataset"]) - set(first))]


def by_cell(frame: pd.DataFrame) -> dict:
    """(data set, label, beta, imbalance factor) -> its row as a dict."""
    return {tuple(row[k] for k in CELL): row for row in frame.to_dict("records")}


def table2_rows(records: pd.DataFrame) -> pd.DataFrame:
    """Table 2 as facts: one row per data set, row of the table and imbalance factor; published beside measured.

    Rows: the five plain losses; "class-balanced, lowest": the lowest of the class-balanced cells with enough seeds
    (three, or the most that any has), picked on the test set as the paper does, of how many, without an interval,
    which would not hold after a pick; "CB <loss>": at the one beta fixed beforehand, nothing picked by us.
    """
    ours = cells(records)
    measured, printed = by_cell(ours), by_cell(pd.concat([paper.heat_maps(), _balanced_column()]))
    best_ours = _lookup_best(paper.lowest(_with_most_seeds(ours), "mean").assign(low=math.nan, high=math.nan))
    table2 = paper.table2()
    best_paper = {
        (r["dataset"], r["imbalance_factor"]): r for r in table2[table2["row"] == "class_balanced"].to_dict("records")
    }
    rows = []
    for dataset in datasets(records):
        for factor in FACTORS:
            for label in paper.LABELS:
                for beta, row in ((0.0, label), (fixed_beta(dataset), f"CB {label}, beta {fixed_beta(dataset):g}")):
                    key = (dataset, label, beta, factor)
                    rows.append(_beside(dataset, row, factor, printed.get(key), measured.get(key)))
            key = (dataset, factor)
            pick = best_ours.get(key)
            rows.append(_beside(dataset, "class-balanced, lowest", factor, best_paper.get(key), pick))
    order = [*paper.LABELS, "class-balanced, lowest"]
    frame = pd.DataFrame(rows)
    return frame.sort_values(["dataset", "row"], key=lambda c: c.map({k: i for i, k in enumerate(order)}).fillna(9)
                             if c.name == "row" else c, kind="stable").reset_index(drop=True)  # fmt: skip


def _with_most_seeds(ours: pd.DataFrame) -> pd.DataFrame:
    ours = ours[(ours["beta"] > 0) & (ours["imbalance_factor"] > 1)]  # at 1 all betas are one loss
    return ours[ours.groupby(["dataset", "imbalance_factor"])["n"].transform(enough).astype(bool)]


def _balanced_column() -> pd.DataFrame:
    table = paper.table2()
    return table[(table["imbalance_factor"] == 1) & (table["row"] != "class_balanced")]


def _lookup_best(best: pd.DataFrame) -> dict:
    return {(row["dataset"], row["imbalance_factor"]): row for row in best.to_dict("records")}


def _beside(dataset: str, row: str, factor: float, published: dict | None, ours: dict | None) -> dict:
    ours = ours or {}
    pick = f"{ours['label']}, beta {ours['beta']:g}, lowest of {ours['of']}" if "of" in ours else ""
    return {
        "dataset": dataset, "row": row, "imbalance_factor": factor,
        "published": published["error"] if published else math.nan,
        "mean": ours.get("mean", math.nan), "sd": ours.get("sd", math.nan), "n": ours.get("n", 0),
        "low": ours.get("low", math.nan), "high": ours.get("high", math.nan),
        "diverged": ours.get("diverged", 0), "seeds": ours.get("seeds", ""), "pick": pick,
    }  # fmt: skip


def heat_map_cells(records: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The 125 cells of a heat map: published and measured, each with its difference to plain (ours paired by seed)."""
    cell = ["label", "beta", "imbalance_factor"]
    here, differences = (f[f["dataset"] == dataset] for f in (cells(records), paired_cells(records)))
    renamed = differences.set_index(cell)[["mean", "low", "high", "n"]].add_prefix("difference_")
    if dataset in paper.HEAT_MAPS:
        printed = paper.heat_map(dataset)
        against = paper.difference_to_plain(printed).set_index(cell)["difference"].rename("published_difference")
        frame = printed.set_index(cell)[["error"]].rename(columns={"error": "published"}).join(against)
    else:
        frame = pd.DataFrame(
            index=pd.MultiIndex.from_frame(here[cell]), columns=["published", "published_difference"], dtype=float
        )
    extra = here.set_index(cell)[["mean", "sd", "n", "low", "high", "diverged", "seeds"]]
    frame = frame.join(extra, how="left").join(renamed, how="left").reset_index()
    for count in ("n", "diverged", "difference_n"):
        frame[count] = pd.to_numeric(frame[count]).fillna(0).astype(int)
    return frame.assign(seeds=frame["seeds"].fillna(""))


def forest(profile: Profile) -> pd.DataFrame:
    """Class-balanced minus plain at the beta fixed beforehand, one row per column of Table 2: ours and printed.

    The mean over one set of losses a data set where all its columns share some, else over the column's own; one value
    per seed.  Columns: dataset, imbalance_factor, beta, labels, estimate, sd, n, low, high, detectable, printed (the
    paper's mean difference over the same losses).
    """
    rows, keys = [], ["dataset", "label", "imbalance_factor"]
    printed = paper.difference_to_plain(paper.heat_maps()).set_index([*keys, "beta"])["difference"]
    long_tailed = profile.pairs.query("imbalance_factor > 1 and label in @paper.LABELS and dataset in @paper.HEAT_MAPS")
    for dataset, both in long_tailed.groupby("dataset"):
        beta = fixed_beta(dataset)
        columns = {
            factor: complete(settings_by_seeds(differences(group))).droplevel(["dataset", "beta", "imbalance_factor"])
            for factor, group in both[both["beta"] == beta].groupby("imbalance_factor")
        }
        shared = set.intersection(*(set(table.index) for table in columns.values())) if columns else set()
        for factor, table in sorted(columns.items(), reverse=True):
            labels = tuple(label for label in paper.LABELS if label in (shared or set(table.index)))
            s = summary(table.loc[list(labels)].mean())
            row = dict(dataset=dataset, imbalance_factor=factor, beta=beta, labels=labels, estimate=s.mean, sd=s.sd)
            print_mean = float(np.mean([printed.get((dataset, label, factor, beta), math.nan) for label in labels]))
            rows.append(row | dict(n=s.n, low=s.low, high=s.high, detectable=detectable_effect(s.sd, s.n),
                                   printed=print_mean))  # fmt: skip
    columns = ["dataset", "imbalance_factor", "beta", "labels", "estimate", "sd", "n", "low", "high", "detectable"]
    return pd.DataFrame(rows, columns=[*columns, "printed"])
