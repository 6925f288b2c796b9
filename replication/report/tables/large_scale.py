"""Table 3 beside our runs, all runs of any budget, and what Table 3 costs."""

import pandas as pd

from replication.experiments.large_scale import PROFILE, table3_rows
from replication.report.analysis import published as paper
from replication.report.analysis.large_scale import ASSUMED_RATE, COLUMNS, relative_work, table3_cells
from replication.report.analysis.published import TITLES
from replication.report.tables.table import Table, captioned, number, spread


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


def cost_table() -> Table:
    """GPU hours of each run of Table 3, an estimate: epochs x images / (images a second) / 3600."""
    images = paper.published("table1").set_index("dataset")["train_images"]
    data = pd.DataFrame([vars(e) for e in table3_rows()])[["dataset", "depth", "size", "loss", "beta"]]
    data["images"] = data["dataset"].map(TITLES).map(images).astype(int) * [e.epochs for e in table3_rows()]
    data["images_per_second"] = [ASSUMED_RATE / relative_work(e.depth, e.size) for e in table3_rows()]
    data["gpu_hours"] = data["images"] / data["images_per_second"] / 3600
    hours = data.pivot_table(index=["depth", "size", "loss"], columns="dataset", values="gpu_hours", sort=False)
    shown = hours[list(COLUMNS)].map("{:.0f}".format).rename(columns=TITLES).reset_index()
    facts = dict(rate=ASSUMED_RATE, runs=len(data), hours=data["gpu_hours"].sum())
    return captioned("large_scale_cost", data, PROFILE, shown, **facts)
