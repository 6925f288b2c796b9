"""iNaturalist's class counts, from the authors' lists, and what each beta makes of them."""

import math
from itertools import product

import numpy as np
import pandas as pd

from replication.experiments.grids import BETAS
from replication.experiments.large_scale import PROFILE, table3_rows
from replication.report.analysis import published as paper
from replication.report.analysis.large_scale import ASSUMED_RATE, COLUMNS, measured_rate, multiply_adds, table3_cells
from replication.report.analysis.published import TITLES, class_counts
from replication.report.tables.table import Table, number, spread
from replication.theory.effective_number import class_balanced_weights, effective_number


def weights_table() -> Table:
    """What each beta does to iNaturalist: effective numbers and weights of the largest and smallest class."""
    rows = []
    for dataset, beta in product(("inat2017", "inat2018"), BETAS[1:]):
        counts = class_counts(dataset)
        effective, weights = np.asarray(effective_number(counts, beta)), class_balanced_weights(counts, beta)
        ends = dict(largest=int(counts[0]), smallest=int(counts[-1]))
        ends |= dict(effective_largest=effective[0], effective_smallest=effective[-1])
        ends |= dict(weight_largest=weights[0], weight_smallest=weights[-1], ratio=weights[-1] / weights[0])
        average = float(np.average(weights, weights=counts))
        rows.append(dict(dataset=dataset, beta=beta, **ends, average_weight=average))
    data = pd.DataFrame(rows)
    shown = data.assign(dataset=data["dataset"].map(TITLES), **data.iloc[:, 4:].map("{:.2f}".format)).astype(str)
    text = "Largest and smallest class: images, effective number, weight (scaled to sum to C); average over images."
    shown = shown.rename(columns=lambda name: name.replace("_", " "))
    return Table("inaturalist_weights", "Class-balanced weights on iNaturalist", text, shown, data)


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
    text = (
        f"Error in percent on the validation set, last of 90 epochs, batch 1024. {_what_there_is(records)} "
        "Ours: mean ± sample standard deviation (n seeds) [95 % t-interval of the mean]."
    )
    return Table("table3", "Table 3: large-scale data sets", text, pd.DataFrame(lines), data, PROFILE)


def _what_there_is(records: pd.DataFrame) -> str:
    own, other = int(records["paper_run"].sum()), int((~records["paper_run"]).sum())
    return f"{own} runs of the paper's budget on the whole data set; {other} of another budget, which are in no cell."


def runs_table(records: pd.DataFrame) -> Table:
    """Every large-scale record of any budget, with its processes and speed."""
    names = {"label": "loss", "global_batch": "batch", "error": "top-1", "top5_error": "top-5"}
    columns = [
        "dataset",
        "depth",
        "label",
        "beta",
        "size",
        "epochs",
        "global_batch",
        "processes",
        "error",
        "top5_error",
    ]
    data = records[[*columns, "images_per_second", "device"]]
    shown = data.assign(dataset=data["dataset"].map(TITLES)).round(2).astype(str)
    shown = shown.rename(columns=lambda name: names.get(name, name.replace("_", " ")))
    text = "Error in percent of the last epoch. Runs of less than the paper's budget or data say nothing about Table 3."
    return Table("large_scale_runs", "Large-scale runs on record", text, shown, data, PROFILE)


def cost_table(records: pd.DataFrame, rate: float | None = None) -> Table:
    """GPU hours of each run of Table 3, an estimate: epochs x images / (images a second) / 3600.

    Args:
        rate: training images a second of ResNet-50 at 224 on one GPU; default: measured, else ASSUMED_RATE.

    Raises:
        ValueError: rate <= 0.
    """
    found = None if rate is not None else measured_rate(records)
    source = f"measured on {found[1]}" if found else "given" if rate is not None else "assumed, not measured"
    rate = found[0] if found else ASSUMED_RATE if rate is None else rate
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"rate must be a finite number > 0 (images a second), got {rate!r}")
    images = paper.table1().set_index("dataset")["train_images"]
    data = pd.DataFrame([vars(e) for e in table3_rows()])[["dataset", "depth", "size", "loss", "beta"]]
    work = [multiply_adds(d, s) / multiply_adds(50, 224) for d, s in zip(data["depth"], data["size"], strict=True)]
    data = data.assign(
        images=90 * data["dataset"].map(TITLES).map(images).astype(int), images_per_second=rate / np.array(work)
    )
    data = data.assign(gpu_hours=data["images"] / data["images_per_second"] / 3600)
    hours = data.pivot_table(index=["depth", "size", "loss"], columns="dataset", values="gpu_hours", sort=False)
    shown = hours[list(COLUMNS)].map(lambda h: f"{h:.0f}").rename(columns=TITLES).reset_index()
    text = (
        f"An estimate, in hours of one GPU: 90 epochs x training images / r / 3600, r = {rate:.0f} images a second of "
        f"ResNet-50 at 224 ({source}) x its multiply-adds / those of the row's network and size. Training passes only; "
        f"it holds where decoding images keeps up. All 27 runs: {data['gpu_hours'].sum():.0f} GPU hours."
    )
    return Table("large_scale_cost", "What Table 3 costs", text, shown, data, PROFILE)


def tables(records: pd.DataFrame) -> list[Table]:
    """All tables of RESULTS/large-scale."""
    made = [table3(records), cost_table(records), weights_table()]
    return [*made, runs_table(records)] if len(records) else made
