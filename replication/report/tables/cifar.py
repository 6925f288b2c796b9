"""Table 2 and the cells of Figures 8, 9, 10: the paper's numbers, and beside them those of one profile."""

import math
from dataclasses import replace

import pandas as pd

from replication.experiments.experiment import PROFILES
from replication.report.analysis import published as paper
from replication.report.analysis.comparison import FACTORS, heat_map_cells, table2_rows
from replication.report.analysis.profile import Profile
from replication.report.tables.table import PHRASES, Table, across, budget, captioned, number, rendered, spread


def _study(profile: Profile, records: pd.DataFrame) -> str:
    facts = dict(own=budget(profile, records), beside=profile.comparable, paper=PROFILES["paper"])
    return rendered(PHRASES["study"], **facts)


def table2(profile: Profile) -> Table:
    """Table 2, the rows that are measured: two lines each, the paper's and ours; columns are imbalance factors."""
    data = table2_rows(profile.records)
    lines, usual = [], data.loc[data["n"] > 0, "n"].mode().max()
    for (dataset, row), group in data.groupby(["dataset", "row"], sort=False):
        cells = group.set_index("imbalance_factor").loc[list(FACTORS)].to_dict("index")
        head = {"data set": paper.TITLES[dataset], "loss": row}
        published = {f"{factor:g}": number(cell["published"]) for factor, cell in cells.items()}
        ours = {f"{factor:g}": _entry(cell, usual) for factor, cell in cells.items()}
        if set(ours.values()) == {"-"}:
            continue
        if profile.comparable and set(published.values()) != {"-"}:
            lines.append(head | {"source": "paper"} | published)
        lines.append(head | {"source": "ours"} | ours)
    printed = data[data["published"].notna()]
    facts = dict(study=_study(profile, profile.reference), both=(printed["n"] > 0).sum(), printed=len(printed))
    return captioned("table2", data, profile.name, pd.DataFrame(lines), usual=usual, **facts)


def _entry(cell: dict, usual: int) -> str:
    """Write an entry of ours, which must be short: its interval is in the CSV file, the usual n in the caption."""
    said = spread(cell | dict(low=math.nan)).removesuffix(f" (n = {usual})")
    return f"{said}<br>{cell['pick']}" if cell["pick"] else said


def heat_map(profile: Profile, dataset: str) -> Table:
    """The measured cells of Figures 8, 9, 10: published, ours, and the paired change from the plain loss."""
    data = heat_map_cells(profile, dataset).assign(dataset=dataset)
    facts = dict(
        study=_study(profile, profile.reference[profile.reference["dataset"] == dataset]),
        across=across(profile.paired_cells.query("dataset == @dataset")),
        figure=f"Figure {paper.FIGURES[dataset]}" if dataset in paper.FIGURES else "Heat map",
        set=paper.TITLES[dataset],
    )
    made = captioned("heat_map", data.query("n > 0 or diverged > 0"), profile.name, **facts)
    made = replace(made, name=f"heat_map_{dataset}", data=data)
    return made if profile.comparable else made.without("paper", "paper, change")
