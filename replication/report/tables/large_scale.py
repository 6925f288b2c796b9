"""Table 3 beside our runs, all runs of any budget, what Table 3 costs, and what each beta does to iNaturalist."""

from itertools import product

import numpy as np
import pandas as pd

from replication.experiments.grids import BETAS
from replication.experiments.large_scale import PROFILE, table3_rows
from replication.report.analysis import published as paper
from replication.report.analysis.large_scale import ASSUMED_RATE, COLUMNS, measured_rate, relative_work, table3_cells
from replication.report.analysis.published import TITLES, class_counts
from replication.report.tables.table import Table, captioned, number, spread
from replication.theory.effective_number import class_balanced_weights, effective_number


def weights_table() -> Table:
    """What each beta does to iNaturalist: effective numbers and weights of the largest and smallest class."""
    rows = []
    for dataset, beta in product(("inat2017", "inat2018"), BETAS[1:]):
        counts = class_counts(dataset)
        effective, weights = np.asarray(effective_number(counts, beta)), class_balanced_weights(counts, beta)
        row = dict(dataset=dataset, beta=beta, largest=int(counts[0]), smallest=int(counts[-1]))
        row |= dict(effective_largest=effective[0], effective_smallest=effective[-1])
        row |= dict(weight_largest=weights[0], weight_smallest=weights[-1], ratio=weights[-1] / weights[0])
        rows.append(row | dict(average_weight=np.average(weights, weights=counts)))
    data = pd.DataFrame(rows)
    shown = data.assign(dataset=data["dataset"].map(TITLES), **data.iloc[:, 4:].map("{:.2f}".format)).astype(str)
    return captioned("inaturalist_weights", data, shown=shown.rename(columns=lambda name: name.replace("_", " ")))


def table3(records: pd.DataFrame) -> Table:
    """Table 3: the paper's line of each row and, if there is a record of the paper's budget, ours."""
    data = table3_cells(records)
    lines = []
    for (depth, size, label, beta), group in data.groupby(["depth", "size", "label", "beta"], sort=False):
        loss = label if not beta else f"CB {label}, beta {beta:g}"
        head = {"network": f"ResNet-{depth}", "loss": loss, "input": size}
        by = {f"{TITLES[r['dataset']]} {r['measure']}": r for r in group.to_dict("records")}
        lines.append(head | {"source": "paper"} | {k: number(r["published"]) for k, r in by.items()})
        if any(r["n"] for r in by.values()):
            lines.append(head | {"source": "ours"} | {k: spread(r) for k, r in by.items()})
    facts = dict(own=int(records["paper_run"].sum()), other=int((~records["paper_run"]).sum()))
    return captioned("table3", data, PROFILE, pd.DataFrame(lines), **facts)


def runs_table(records: pd.DataFrame) -> Table:
    """Every large-scale record of any budget, with its processes and speed."""
    columns = ["dataset", "depth", "label", "beta", "size", "epochs", "global_batch", "processes"]
    columns += ["error", "top5_error", "images_per_second", "device"]
    return captioned("large_scale_runs", records[columns], PROFILE)


def cost_table(records: pd.DataFrame) -> Table:
    """GPU hours of each run of Table 3, an estimate: epochs x images / (images a second) / 3600.

    The rate is that of our records, else ASSUMED_RATE, for ResNet-50 at 224 on one GPU.
    """
    found = measured_rate(records)
    rate, source = (found[0], f"measured on {found[1]}") if found else (ASSUMED_RATE, "assumed, not measured")
    images = paper.table1().set_index("dataset")["train_images"]
    data = pd.DataFrame([vars(e) for e in table3_rows()])[["dataset", "depth", "size", "loss", "beta"]]
    data["images"] = 90 * data["dataset"].map(TITLES).map(images).astype(int)
    data["images_per_second"] = rate / relative_work(data)
    data["gpu_hours"] = data["images"] / data["images_per_second"] / 3600
    hours = data.pivot_table(index=["depth", "size", "loss"], columns="dataset", values="gpu_hours", sort=False)
    shown = hours[list(COLUMNS)].map("{:.0f}".format).rename(columns=TITLES).reset_index()
    facts = dict(rate=rate, source=source, runs=len(data), hours=data["gpu_hours"].sum())
    return captioned("large_scale_cost", data, PROFILE, shown, **facts)


def tables(records: pd.DataFrame) -> list[Table]:
    """All tables of RESULTS/large-scale."""
    made = [table3(records), cost_table(records), weights_table()]
    return [*made, runs_table(records)] if len(records) else made
