"""Table 3 and what it would cost: the paper's large-scale numbers beside those of our records (Section 5.4).

Only runs of the paper's own budget on the whole data set stand beside the paper's; others are listed apart.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from replication.report import paper
from replication.report.measured import with_labels
from replication.report.statistics import summary
from replication.report.writing import Table, number, spread
from replication.training.large_scale_experiment import PROFILE, LargeScaleExperiment, LargeScaleRecord, table3_rows
from replication.training.records import read_records

TITLES = {
    "inat2017": "iNaturalist 2017",
    "inat2018": "iNaturalist 2018",
    "ilsvrc2012": "ILSVRC 2012",
    "folder": "folder of images",
}
COLUMNS = {"inat2017": "inat17", "inat2018": "inat18", "ilsvrc2012": "ilsvrc"}  # of published/table3.csv
CELL = ["dataset", "depth", "size", "label", "beta"]
BUDGET = (
    "epochs",
    "batch_size",
    "base_learning_rate",
    "weight_decay",
)  # what a run of the paper's protocol shares with it
# Training images a second of ResNet-50 at 224 on one current data-centre GPU: an assumption, nothing measured.
ASSUMED_RATE = 2500.0


def large_scale_records(results: Path | str) -> pd.DataFrame:
    """The records of RESULTS/large-scale/runs, with the loss's `label` and whether each is a `paper_run`."""
    records = with_labels(read_records(Path(results) / PROFILE / "runs", LargeScaleRecord))
    whole = [_is_paper_run(row) for row in records.to_dict("records")]
    return records.assign(paper_run=pd.Series(whole, index=records.index, dtype=bool))


def _is_paper_run(row: dict) -> bool:
    """The paper's budget, and Table 1's numbers of classes and images, none of them skipped."""
    if row["dataset"] not in COLUMNS or row["skipped_images"]:
        return False
    wanted = paper.table1().set_index("dataset").loc[TITLES[row["dataset"]]]
    counts = row["class_counts"]
    protocol = LargeScaleExperiment(row["dataset"], loss=row["loss"], gamma=0.5 if row["loss"] == "focal" else None)
    budget = all(row[name] == getattr(protocol, name) for name in BUDGET)
    tested = row["status"] != "finished" or row["test_images"] == int(wanted["test_images"])  # diverged: none counted
    return budget and tested and (len(counts), sum(counts)) == (int(wanted["classes"]), int(wanted["train_images"]))


def measured_cells(records: pd.DataFrame) -> pd.DataFrame:
    """One row per cell of finished paper runs: summary of the last epoch's top-1 and top-5 error, seeds."""
    rows = []
    done = records[records["paper_run"] & (records["status"] == "finished")]
    for key, group in done.groupby(CELL, sort=True):
        for column, name in (("error", "top1"), ("top5_error", "top5")):
            row = dict(zip(CELL, key, strict=True)) | summary(group[column].astype(float))._asdict()
            rows.append(row | dict(measure=name, seeds=" ".join(map(str, sorted(group["seed"])))))
    columns = [*CELL, "measure", "mean", "sd", "n", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def table3_cells(records: pd.DataFrame) -> pd.DataFrame:
    """The 54 numbers of Table 3 as facts: published, and mean, sd, n, low, high of ours (NaN, 0 where not measured)."""
    printed = paper.table3().assign(depth=lambda t: t["net"].str.removeprefix("ResNet-").astype(int))
    measured = measured_cells(records).set_index([*CELL, "measure"])
    rows = []
    for e in table3_rows():
        label = "softmax" if e.loss == "softmax" else f"focal {e.gamma:.1f}"
        line = printed[
            (printed["depth"] == e.depth) & (printed["input"] == e.size) & ((printed["beta"] == e.beta) | (e.beta == 0))
        ]
        line = line[line["loss"].eq("Softmax") == (e.loss == "softmax")].iloc[0]
        for measure in ("top1", "top5"):
            key = (e.dataset, e.depth, e.size, label, e.beta, measure)
            ours = (
                measured.loc[key].to_dict()
                if key in measured.index
                else dict(n=0, seeds="") | dict.fromkeys(["mean", "sd", "low", "high"], math.nan)
            )
            rows.append(
                dict(zip([*CELL, "measure"], key, strict=True))
                | dict(published=line[f"{COLUMNS[e.dataset]}_{measure}"])
                | ours
            )
    return pd.DataFrame(rows)


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


def multiply_adds(depth: int, size: int) -> int:
    """Multiply-adds of one forward pass of one image: convolutions, and a dense layer to 1000 classes.

    >>> round(multiply_adds(50, 224) / 1e9, 2)
    4.09
    """
    blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}[depth]
    grow = 4 if depth >= 50 else 1
    side, channels = size // 4, 64
    count = 3 * 64 * 49 * (size // 2) ** 2
    for stage, repeats in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(repeats):
            before, side = side, side // 2 if stage and not block else side
            if grow == 4:
                count += channels * width * before**2 + (9 * width * width + width * grow * width) * side**2
            else:
                count += (9 * channels * width + 9 * width * width) * side**2
            if channels != grow * width:  # projection
                count += channels * grow * width * side**2
            channels = grow * width
    return count + 1000 * channels


def measured_rate(records: pd.DataFrame) -> tuple[float, str] | None:
    """The best images a second of one GPU on record, as of ResNet-50 at 224, and the GPU; None without such runs.

    Only of networks and sizes of Table 3: a small one waits for images, and for its own start.
    """
    large = (records["depth"] >= 50) & (records["size"] >= 224) & records["images_per_second"].notna()
    gpu = records[large & ~records["device"].astype(str).str.contains("CPU")]
    if not len(gpu):
        return None
    work = [multiply_adds(d, s) for d, s in zip(gpu["depth"], gpu["size"], strict=True)]
    rate = (
        (gpu["images_per_second"].astype(float) / gpu["processes"].astype(float))
        * np.array(work)
        / multiply_adds(50, 224)
    )
    return float(rate.max()), str(gpu.loc[rate.idxmax(), "device"])


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
