"""Tables 1 and 2 and the cells of Figures 8, 9, 10: the paper's numbers, and beside them those of one profile."""

import math

import pandas as pd

from replication.experiments.experiment import PROFILES
from replication.report.analysis import published as paper
from replication.report.analysis.comparison import FACTORS, heat_map_cells, table2_rows
from replication.report.analysis.measured import paired_cells, reference
from replication.report.analysis.statistics import SEEDS
from replication.report.tables.table import NOT_MEASURED, Table, across, caption, interval, number, signed, spread

PAPER_BUDGET = (
    f"The paper's numbers: ResNet-{PROFILES['paper']['depth']}, {PROFILES['paper']['epochs']} epochs, single runs."
)
SPREAD = "Measured: mean ± sample standard deviation (n seeds) [95 % t-interval of the mean]."


def table1(records: pd.DataFrame, profile: str) -> Table:
    """Table 1: the data sets, and those that our runs used (counted from the records)."""
    rows = [
        r | {"source": "paper", "imbalance_factor": str(r["imbalance_factor"])}
        for r in paper.table1().to_dict("records")
    ]
    for dataset, group in records.groupby("dataset"):
        images, factors = group["class_counts"].map(sum), group["imbalance_factor"]
        rows.append(
            {"dataset": f"long-tailed {paper.TITLES[dataset]}", "classes": len(group["class_counts"].iloc[0]),
             "imbalance_factor": _range(factors), "train_images": _range(images), "test_images": "",
             "source": "measured"}
        )  # fmt: skip
    frame = pd.DataFrame(rows)[["source", "dataset", "classes", "imbalance_factor", "train_images", "test_images"]]
    shown = frame.rename(columns=lambda c: c.replace("_", " "))
    return Table("table1", "Table 1. Data sets", caption(records, profile), shown, frame, profile)


def _range(values) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def table2(records: pd.DataFrame, profile: str) -> Table:
    """Table 2: two lines a row, the paper's and ours; columns are imbalance factors."""
    data = table2_rows(records)
    lines = []
    for (dataset, row), group in data.groupby(["dataset", "row"], sort=False):
        by_factor = {r["imbalance_factor"]: r for r in group.to_dict("records")}
        head = {"data set": paper.TITLES[dataset], "loss": row}
        published = {f"{f:g}": _published(by_factor[f]["published"]) for f in FACTORS}
        measured = {f"{f:g}": spread(by_factor[f]) + _pick(by_factor[f]) for f in FACTORS}
        if any(v != "-" for v in published.values()):
            lines.append(head | {"source": "paper"} | published)
        if (lines and lines[-1]["loss"] == row) or any(v != NOT_MEASURED for v in measured.values()):
            lines.append(head | {"source": "measured"} | measured)
    text = caption(
        reference(records), profile, PAPER_BUDGET, SPREAD,
        "Error in percent on the test set; columns: imbalance factor.",
        '"class-balanced, lowest" is picked on the test set, by the paper from 20 single runs, by us from the cells '
        f"with {SEEDS} seeds, or the most there are; it has no interval; the table of luck says what the pick gains "
        'by luck. Rows "CB" are at one beta, fixed before our runs at what the paper advises (from its own cells, '
        'Figures 8 and 10). "-": not in the paper.',
    )  # fmt: skip
    shown = pd.DataFrame(lines)
    return Table("table2", "Table 2. Error on long-tailed CIFAR, published and measured", text, shown, data, profile)


def _published(value: float) -> str:
    return number(value) if math.isfinite(value) else "-"


def _pick(row: dict) -> str:
    return f"<br>{row['pick']}" if row["pick"] else ""


def heat_map(records: pd.DataFrame, profile: str, dataset: str) -> Table:
    """Figures 8, 9, 10 as a table: published, measured, and the paired difference to the plain loss."""
    data = heat_map_cells(records, dataset)
    lines = [
        {"imbalance": f"{row['imbalance_factor']:g}", "loss": row["label"], "beta": f"{row['beta']:g}",
         "paper": _published(row["published"]), "paper, to plain": _signed(row["published_difference"]),
         "measured": spread(row), "measured, to plain": _paired(row)}
        for row in data.to_dict("records")
    ]  # fmt: skip
    figure = f"Figure {paper.FIGURES[dataset]}" if dataset in paper.FIGURES else "Heat map"
    text = caption(reference(records[records["dataset"] == dataset]), profile, PAPER_BUDGET, SPREAD,
                   "To plain: class-balanced minus plain, points, ours by seed; negative is better.",
                   across(paired_cells(records[records["dataset"] == dataset])))  # fmt: skip
    columns = ["imbalance", "loss", "beta", "paper", "paper, to plain", "measured", "measured, to plain"]
    title = f"{figure}. Error on long-tailed {paper.TITLES[dataset]} for each loss, beta and imbalance factor"
    return Table(
        f"heat_map_{dataset}", title, text, pd.DataFrame(lines, columns=columns), data.assign(dataset=dataset), profile
    )


def _signed(value: float) -> str:
    return signed(value) if math.isfinite(value) else "-"


def _paired(row: dict) -> str:
    if row["beta"] == 0:
        return "-"
    if not row["difference_n"]:
        return NOT_MEASURED
    bounds = interval(row["difference_low"], row["difference_high"])
    return f"{signed(row['difference_mean'])}{bounds} (n = {row['difference_n']})"
