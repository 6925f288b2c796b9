"""iNaturalist's class counts, from the authors' lists, and what each beta makes of them."""

import math

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
    for dataset in ("inat2017", "inat2018"):
        counts = class_counts(dataset)
        for beta in BETAS[1:]:
            effective, weights = effective_number(counts, beta), class_balanced_weights(counts, beta)
            rows.append(
                dict(
                    dataset=dataset,
                    beta=beta,
                    largest=int(counts[0]),
                    smallest=int(counts[-1]),
                    effective_largest=effective[0],
                    effective_smallest=effective[-1],
                    weight_largest=weights[0],
                    weight_smallest=weights[-1],
                    ratio=weights[-1] / weights[0],
                    average_weight=float(np.average(weights, weights=counts)),
                )
            )
    data = pd.DataFrame(rows)
    shown = data.assign(
        dataset=data["dataset"].map(TITLES), **{c: data[c].map(lambda v: f"{v:.2f}") for c in data.columns[4:]}
    )
    text = "Largest and smallest class: images, effective number, weight (scaled to sum to C); average over images."
    shown.columns = [c.replace("_", " ") for c in shown.columns]
    return Table("inaturalist_weights", "Class-balanced weights on iNaturalist", text, shown.astype(str), data)


def table3(records: pd.DataFrame) -> Table:
    """Table 3: two lines a row, the paper's and ours; "not measured" where there is no record of the paper's budget."""
    data = table3_cells(records)
    lines = []
    for (depth, size, label, beta), group in data.groupby(["depth", "size", "label", "beta"], sort=False):
        loss = label if not beta else f"CB {label}, beta {beta:g}"
        head = {"network": f"ResNet-{depth}", "loss": loss, "input": size}
        by = {f"{TITLES[r['dataset']]} {r['measure']}": r for r in group.to_dict("records")}
        lines.append(head | {"source": "paper"} | {k: number(r["published"]) for k, r in by.items()})
        lines.append(head | {"source": "measured"} | {k: spread(r) for k, r in by.items()})
    text = (
        f"Error in percent on the validation set, last of 90 epochs, batch 1024. {_what_there_is(records)} "
        "Measured: mean ± sample standard deviation (n seeds) [95 % t-interval of the mean]."
    )
    return Table(
        "table3", "Table 3. Large-scale data sets, published and measured", text, pd.DataFrame(lines), data, PROFILE
    )


def _what_there_is(records: pd.DataFrame) -> str:
    own, other = int(records["paper_run"].sum()), int((~records["paper_run"]).sum())
    return f"{own} runs of the paper's budget on the whole data set; {other} of another budget, which are in no cell."


def runs_table(records: pd.DataFrame) -> Table:
    """Every large-scale record there is, whatever its budget, with its processes and speed."""
    columns = [
        "data set",
        "network",
        "loss",
        "beta",
        "size",
        "epochs",
        "batch",
        "processes",
        "images",
        "top-1",
        "top-5",
        "images/s",
        "device",
    ]
    rows = [
        (
            TITLES[r["dataset"]],
            f"ResNet-{r['depth']}",
            r["label"],
            f"{r['beta']:g}",
            r["size"],
            r["epochs"],
            r["global_batch"],
            r["processes"],
            sum(r["class_counts"]),
            number(r["error"]),
            number(r["top5_error"]),
            number(r["images_per_second"], 1),
            r["device"],
        )
        for r in records.to_dict("records")
    ]
    shown = pd.DataFrame(rows, columns=columns)
    text = "Error in percent of the last epoch. Runs of less than the paper's budget or data say nothing about Table 3."
    return Table("large_scale_runs", "Large-scale runs on record", text, shown, shown, PROFILE)


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
    rows = []
    for e in table3_rows():
        work = multiply_adds(e.depth, e.size) / multiply_adds(50, 224)
        n = int(images[TITLES[e.dataset]])
        rows.append(
            dict(
                dataset=e.dataset,
                depth=e.depth,
                size=e.size,
                loss=e.loss,
                beta=e.beta,
                images=e.epochs * n,
                images_per_second=rate / work,
                gpu_hours=e.epochs * n * work / rate / 3600,
            )
        )
    data = pd.DataFrame(rows)
    hours = data.pivot_table(index=["depth", "size", "loss"], columns="dataset", values="gpu_hours", sort=False)
    shown = hours[list(COLUMNS)].map(lambda h: f"{h:.0f}").rename(columns=TITLES).reset_index()
    text = (
        f"An estimate, in hours of one GPU: 90 epochs x training images / r / 3600, r = {rate:.0f} images a second of "
        f"ResNet-50 at 224 ({source}) x its multiply-adds / those of the row's network and size. Training passes only; "
        f"it holds where decoding images keeps up. All 27 runs: {data['gpu_hours'].sum():.0f} GPU hours."
    )
    return Table("large_scale_cost", "What Table 3 costs", text, shown, data, PROFILE)
