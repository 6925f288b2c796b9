"""Tables 1 and 2 and the cells of Figures 8, 9, 10: the paper's numbers, and beside them those of one profile."""

import math

import pandas as pd

from replication.report import paper
from replication.report.measured import CELL, budget, cells, enough, fixed_beta, paired_cells, reference
from replication.report.verdicts import SEEDS
from replication.report.writing import NOT_MEASURED, Table, interval, number, signed, spread
from replication.training.experiment import IMBALANCE_FACTORS, PROFILES

PAPER_BUDGET = (
    f"The paper's numbers: ResNet-{PROFILES['paper']['depth']}, {PROFILES['paper']['epochs']} epochs, single runs."
)
SPREAD = "Measured: mean ± sample standard deviation (n seeds) [95 % t-interval of the mean]."
FACTORS = (*IMBALANCE_FACTORS, 1.0)


def caption(records: pd.DataFrame, profile: str, *more: str) -> str:
    """What every caption holds: the budget of the records, then whatever else the table needs."""
    return " ".join(filter(None, [budget(records, profile), *more]))


def across(data: pd.DataFrame) -> str:
    """How many of a table's pairs (columns n, across) differ in hardware, or in torch.compile, and so in rounding."""
    crossed = int(data["across"].sum())
    words = f"{crossed} ran on two kinds of hardware, or one of the two with torch.compile"
    return f"Of {data['n'].sum():.0f} pairs {words}." if crossed else ""


def datasets(records: pd.DataFrame, first=("cifar10", "cifar100")) -> list[str]:
    """The paper's data sets of a table, then whatever else was measured."""
    return [*first, *sorted(set(records["dataset"]) - set(first))]


def by_cell(frame: pd.DataFrame) -> dict:
    """(data set, label, beta, imbalance factor) -> its row as a dict."""
    return {tuple(row[k] for k in CELL): row for row in frame.to_dict("records")}


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
