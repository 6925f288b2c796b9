"""The paper's printed numbers, and later reruns of them, as DataFrames in the same columns as our records' cells.

Columns of a cell: dataset, loss, gamma (NaN except for focal), label ("focal 0.5"), beta (0: the plain loss),
imbalance_factor, error (percent of the test set).
"""

from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

from replication.experiments.experiment import loss_label


def table(path: str, **how) -> pd.DataFrame:
    """Read a CSV file of this package; `how` goes to pandas."""
    with (files("replication.report") / f"{path}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, **how)


HEAT_MAPS = {"cifar10": "figure8_cifar10", "cifar20": "figure9_cifar20", "cifar100": "figure10_cifar100"}
FIGURES = {"cifar10": 8, "cifar20": 9, "cifar100": 10}  # number of each heat map in the paper
LABELS = ("softmax", "sigmoid", "focal 0.5", "focal 1.0", "focal 2.0")  # the five losses in the paper's order
TABLE2_SETS = ("cifar10", "cifar100")
FIGURE5_LOSSES = ("softmax", "sigmoid", "focal 0.5")
SIZES = {"cifar10": (5000, 10), "cifar20": (2500, 20), "cifar100": (500, 100)}  # images of the largest class, classes
TITLES = table("analysis/datasets").set_index("dataset")["title"].to_dict()
_read = cache(lambda name: table(f"published/{name}"))  # read once; callers get a copy


def published(name: str) -> pd.DataFrame:
    """Return a copy of a table of published/, as printed.

    table1: data sets, classes, imbalance factors, images.  table3: top-1 and top-5 error (percent) of three ResNets on
    iNaturalist 2017, 2018 and ILSVRC 2012.  For Table 2 and the heat maps see the functions below.
    """
    return _read(name).copy()


def _cells(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.rename(columns={"imbalance": "imbalance_factor", "error_percent": "error"})
    labels = [loss_label(loss, gamma) for loss, gamma in zip(frame["loss"], frame["gamma"], strict=True)]
    frame = frame.assign(label=labels, imbalance_factor=frame["imbalance_factor"].astype(float))
    keys = ["dataset", "loss", "gamma", "label", "beta", "imbalance_factor", "error"]
    return frame[keys + [c for c in frame if c not in keys]]


@cache
def heat_map(dataset: str) -> pd.DataFrame:
    """Return the 125 cells of Figure 8 ("cifar10"), 9 ("cifar20") or 10 ("cifar100"), cached: do not modify them.

    Raises:
        ValueError: the paper has no heat map of that data set.

    >>> len(heat_map("cifar10"))
    125
    """
    if dataset not in HEAT_MAPS:
        raise ValueError(f"dataset must be one of {', '.join(HEAT_MAPS)}, got {dataset!r}")
    return _cells(published(HEAT_MAPS[dataset]).assign(dataset=dataset))


def heat_maps() -> pd.DataFrame:
    """Return the 375 cells of Figures 8, 9 and 10."""
    return pd.concat([heat_map(dataset) for dataset in HEAT_MAPS], ignore_index=True)


def table2() -> pd.DataFrame:
    """Table 2: five plain losses and the "class_balanced" row, CIFAR-10 and -100, six imbalance factors."""
    return _cells(published("table2"))


def reruns() -> pd.DataFrame:
    """Later single runs of the authors' code, CIFAR-10 at imbalance 50: by the authors and a user (their issue 5)."""
    return _cells(published("reruns"))


def difference_to_plain(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the class-balanced cells with `plain` and `difference`, class-balanced minus plain (points).

    A cell whose plain partner (same data set, loss and imbalance) is missing has NaN in both.
    """
    keys = ["dataset", "label", "imbalance_factor"]
    partner = cells[cells["beta"] == 0].set_index(keys)["error"].rename("plain")
    joined = cells[cells["beta"] > 0].join(partner, on=keys)
    return joined.assign(difference=joined["error"] - joined["plain"])


def lowest(cells: pd.DataFrame, value: str = "error") -> pd.DataFrame:
    """Return the lowest class-balanced cell of each data set and imbalance factor; `of` counts the cells."""
    cells = cells[cells["beta"] > 0].dropna(subset=[value])
    groups = cells.groupby(["dataset", "imbalance_factor"], sort=False)[value]
    return cells.assign(of=groups.transform("size")).loc[groups.idxmin()].reset_index(drop=True)


@cache
def class_counts(dataset: str) -> np.ndarray:
    """Return the class counts of inat2017 or inat2018, largest first, from the authors' lists: (C,) int64."""
    frame = published("inaturalist_counts").query("dataset == @dataset")
    if not len(frame):
        raise ValueError(f"dataset must be inat2017 or inat2018, got {dataset!r}")
    return np.repeat(frame["images_per_class"].to_numpy(), frame["classes"].to_numpy())[::-1]
