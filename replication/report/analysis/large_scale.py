"""Large-scale runs as numbers: Table 3, Figure 7, and what they cost."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from replication.experiments.large_scale import PROFILE, LargeScaleExperiment, LargeScaleRecord, table3_rows
from replication.experiments.records import read_records
from replication.report.analysis import published as paper
from replication.report.analysis.measured import with_labels
from replication.report.analysis.published import TITLES
from replication.report.analysis.statistics import summary

BALANCED = "focal 0.5"
KEYS = ["dataset", "depth", "seed"]
SPLIT = 60  # epochs; claim S3


def paper_runs(records: pd.DataFrame | None, label: str, status: str = "finished") -> pd.DataFrame:
    """Paper runs at 224 of softmax (beta 0) or of CB focal (0.999, 0.5), by data set, depth and seed."""
    if records is None or not len(records):
        return pd.DataFrame(columns=[*KEYS, "error", "curve"]).set_index(KEYS)
    beta = 0.999 if label == BALANCED else 0.0
    keep = records["paper_run"] & (records["status"] == status) & (records["size"] == 224)
    keep &= (records["label"] == label) & (records["beta"] == beta)
    return records[keep].set_index(KEYS).sort_index()


def pairs(records: pd.DataFrame | None) -> pd.DataFrame:
    """CB focal minus softmax, top-1 in points, by data set, depth and seed; negative is better."""
    balanced, plain = (paper_runs(records, label)["error"].astype(float) for label in (BALANCED, "softmax"))
    return (balanced - plain).dropna().rename("difference").reset_index()


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
