"""Table 2 and the cells of Figures 8, 9, 10: the paper's numbers, and beside them those of one profile."""

import pandas as pd

from replication.experiments.experiment import PROFILES
from replication.report.analysis import published as paper
from replication.report.analysis.comparison import FACTORS, heat_map_cells, table2_rows
from replication.report.analysis.profile import Profile
from replication.report.tables.table import Table, across, budget, interval, number, signed, spread

PAPER_BUDGET = f"The paper's numbers: ResNet-{PROFILES['paper']['depth']}, {PROFILES['paper']['epochs']} epochs."
APART = "The paper's sizes do not stand beside those of another budget."
SPREAD = "Ours: mean ± sample standard deviation (n seeds) [95 % t-interval of the mean]."


def compares(profile: Profile) -> bool:
    """Whether the paper's numbers are shown beside the profile's, which needs the same budget."""
    return profile.name == "paper"


def _study(profile: Profile, records: pd.DataFrame) -> str:
    return f"{budget(profile, records)} {PAPER_BUDGET if compares(profile) else APART} {SPREAD}"


def table2(profile: Profile) -> Table:
    """Table 2, the rows that are measured: two lines each, the paper's and ours; columns are imbalance factors."""
    data = table2_rows(profile.records)
    lines, compared = [], compares(profile)
    for (dataset, row), group in data.groupby(["dataset", "row"], sort=False):
        by_factor = {r["imbalance_factor"]: r for r in group.to_dict("records")}
        factors = [f for f in FACTORS if f in by_factor]
        if not any(by_factor[f]["n"] or by_factor[f]["diverged"] for f in factors):
            continue
        head = {"data set": paper.TITLES[dataset], "loss": row}
        published = {f"{f:g}": number(by_factor[f]["published"]) for f in factors}
        if compared and any(v != "-" for v in published.values()):
            lines.append(head | {"source": "paper"} | published)
        ours = {f"{f:g}": spread(by_factor[f]) + _pick(by_factor[f]) for f in factors}
        lines.append(head | {"source": "ours"} | ours)
    printed = int(data["published"].notna().sum())
    both = int((data["published"].notna() & (data["n"] > 0)).sum())
    text = (
        f"{_study(profile, profile.reference)} {both} of the {printed} printed entries are measured; "
        '"-": no number. Columns: imbalance factor. "class-balanced, lowest" is the lowest of several cells on the '
        'test set, by the paper\'s choice and by ours. Rows "CB" are at one beta, fixed before our runs.'
    )
    columns = ["data set", "loss", "source", *(f"{f:g}" for f in FACTORS)]
    shown = pd.DataFrame(lines, columns=columns)
    return Table("table2", "Table 2: error on long-tailed CIFAR, percent", text, shown, data, profile.name)


def _pick(row: dict) -> str:
    return f"<br>{row['pick']}" if row["pick"] else ""


def heat_map(profile: Profile, dataset: str) -> Table:
    """The measured cells of Figures 8, 9, 10: published, ours, and the paired change from the plain loss."""
    data = heat_map_cells(profile.records, dataset)
    lines = [
        {
            "imbalance": f"{row['imbalance_factor']:g}",
            "loss": row["label"],
            "beta": f"{row['beta']:g}",
            "paper": number(row["published"]),
            "paper, change": signed(row["published_difference"]),
            "ours": spread(row),
            "ours, change": _paired(row),
        }
        for row in data[(data["n"] > 0) | (data["diverged"] > 0)].to_dict("records")
    ]
    figure = f"Figure {paper.FIGURES[dataset]}" if dataset in paper.FIGURES else "Heat map"
    of_set = profile.reference[profile.reference["dataset"] == dataset]
    text = (
        f"{_study(profile, of_set)} Change: class-balanced minus plain, points, ours paired by seed; minus is better. "
        f"{across(profile.paired_cells.query('dataset == @dataset'))}"
    ).rstrip()
    columns = ["imbalance", "loss", "beta", "paper", "paper, change", "ours", "ours, change"]
    columns = [c for c in columns if compares(profile) or "paper" not in c]
    title = f"{figure}: long-tailed {paper.TITLES[dataset]}, each loss, beta and imbalance factor that is measured"
    shown = pd.DataFrame(lines, columns=columns)
    return Table(f"heat_map_{dataset}", title, text, shown, data.assign(dataset=dataset), profile.name)


def _paired(row: dict) -> str:
    if not row["difference_n"]:
        return "-"
    bounds = interval(row["difference_low"], row["difference_high"])
    return f"{signed(row['difference_mean'])}{bounds} (n = {row['difference_n']})"
